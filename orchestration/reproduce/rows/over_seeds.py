"""One number of several trainings of a system: mean over folds, then over seeds; and tests."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestration.reproduce.rows.planned import OurNumber
from ser_model.metrics.two_samples import independent_t_test

Row = Mapping[str, Any]
"""Of statistics: value, ci_low, ci_high, p_value, reason."""

_AVERAGED = ("value", "ci_low", "ci_high")


def plain_row(value: float | None, reason: str = "") -> Row:
    """Return a row that has a value alone; without one, the reason."""
    return {**dict.fromkeys((*_AVERAGED, "p_value")), "value": value, "reason": reason or None}


def by_seed(found: Sequence[Row], seeds: Sequence[int | None]) -> list[Row]:
    """Return a row a seed: its only one, or the mean of those of its folds.

    Args:
        found: a row a training.
        seeds: of each of them.
    """
    groups: dict[int | None, list[Row]] = {}
    for row, seed in zip(found, seeds, strict=True):
        groups.setdefault(seed, []).append(row)
    return [_mean_row(rows) for rows in groups.values()]


def mean_of(found: Sequence[Row]) -> OurNumber:
    """Return the mean over seeds of rows of statistics.

    Several trainings are measured on the same speakers, so the mean of their intervals says how
    another sample of speakers would move each of them, and about how it would move the mean.

    Args:
        found: a row a seed.
    """
    row = _mean_row(found)
    if row["value"] is None:
        return OurNumber(reason=row["reason"])
    values = [row["value"] for row in found]
    return OurNumber(
        value=row["value"],
        standard_deviation=statistics.stdev(values) if len(values) > 1 else None,
        ci_low=row["ci_low"],
        ci_high=row["ci_high"],
        p_value=row["p_value"],
        num_seeds=len(found),
    )


def p_value_of_difference(found: Sequence[Row], other: Sequence[Row]) -> float | None:
    """Return the two-sided p-value of a t-test over the trainings of two systems.

    Args:
        found: a row a seed.
        other: likewise, of the other system.

    Returns:
        None where a system has one training, or a training no value; and without any spread.
    """
    samples = [[row["value"] for row in rows] for rows in (found, other)]
    if min(map(len, samples)) < 2 or any(None in sample for sample in samples):
        return None
    estimate = independent_t_test(*samples)
    return None if estimate is None else estimate.p_value


def _mean_row(rows: Sequence[Row]) -> Row:
    if len(rows) == 1:
        return rows[0]
    empty = next((row for row in rows if row["value"] is None), None)
    if empty is not None:
        return {**dict.fromkeys((*_AVERAGED, "p_value")), "reason": empty["reason"]}
    return {
        **{name: _mean(row[name] for row in rows) for name in _AVERAGED},
        "p_value": None,
        "reason": None,
    }


def _mean(values: Iterable[float | None]) -> float | None:
    listed = list(values)
    known = [value for value in listed if value is not None]
    return statistics.fmean(known) if len(known) == len(listed) else None
