"""One test of a suite: a statistic, a threshold, and what its interval says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ser_model.schema import CLEAN

Row = Mapping[str, Any]


class Comparison(StrEnum):
    """How a value passes."""

    ABOVE = ">"
    BELOW = "<"
    WITHIN = "|x|<"


class Outcome(StrEnum):
    """What a test comes out as."""

    PASS = "pass"  # noqa: S105  no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_ADMISSIBLE = "not admissible"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteTest:
    """One test of one target.

    Attributes:
        family: "fairness sex".
        name: as the suite calls it.
        target: a dimension or "emotion".
        metric: the statistic of statistics.parquet that is tested.
        comparison: how it passes ...
        threshold: ... against what.
        slice_by: of the statistic.
        slice: of the statistic.
        condition: of the statistic.
        point_slice: where the number stands that the suite's authors would hold against the
            threshold, if not in `slice`.
        if_absent: what it means that the statistic is not there.
    """

    family: str
    name: str
    target: str
    metric: str
    comparison: Comparison
    threshold: float
    slice_by: str = ""
    slice: str = ""
    condition: str = CLEAN
    point_slice: str | None = None
    if_absent: str = "it was not computed"


def outcome_of_value(value: float, comparison: Comparison, threshold: float) -> Outcome:
    """Hold a number against a threshold, as it is.

    >>> str(outcome_of_value(-.08, Comparison.WITHIN, .075))
    'fail'
    """
    if comparison is Comparison.ABOVE:
        is_passed = value > threshold
    elif comparison is Comparison.BELOW:
        is_passed = value < threshold
    else:
        is_passed = abs(value) < threshold
    return Outcome.PASS if is_passed else Outcome.FAIL


def outcome_of_interval(
    low: float, high: float, comparison: Comparison, threshold: float
) -> Outcome:
    """Hold an interval against a threshold: all of it must pass, or all of it fail.

    Example:
        >>> str(outcome_of_interval(.45, .6, Comparison.ABOVE, .5))
        'inconclusive'
        >>> str(outcome_of_interval(-.2, -.1, Comparison.WITHIN, .075))
        'fail'
    """
    ends = {outcome_of_value(end, comparison, threshold) for end in (low, high)}
    holds_zero = low < 0.0 < high
    if len(ends) > 1 or (comparison is Comparison.WITHIN and ends == {Outcome.FAIL} and holds_zero):
        return Outcome.INCONCLUSIVE
    (outcome,) = ends
    return outcome
