"""Judges gaps: pass, fail or inconclusive, each family of tests corrected for being many.

A family is what one model is judged by under one condition: all gaps of the metrics that have a
margin. The verdict is that of an equivalence test (two one-sided tests, Schuirmann 1987, J.
Pharmacokin. Biopharm. 15), whose interval is the 90 % one:

- pass: the whole interval lies within the margin: the gap is shown to be small.
- fail: the whole interval lies beyond the margin, and the gap differs from 0 after Holm's
  correction: it is shown to be large, and no artefact of looking at many.
- inconclusive: neither is shown. `minimum_detectable_effect` says how large a gap would have to be
  to be seen.

Where a metric is judged without a margin, what differs from 0 after the correction fails, and
nothing passes: no test against 0 can show that a gap is small. With margins by permutation, a gap
fails where it is larger than what speakers with shuffled groups show (see `permuting`), and passes
only where the given margin holds its whole interval: how much the speakers scatter says nothing
about how large a gap is fair.

The tests of residuals are families of their own (RESIDUAL_TESTS); they are corrected, not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from pipelines.audit_config import SIGNIFICANCE, AuditConfig, is_judged, margin_of
from pipelines.transforms.residuals import RESIDUAL_TESTS
from pipelines.transforms.tables import PERMUTATION_ROWS, to_batch, to_table
from ser_model.metrics.intervals import Estimate
from ser_model.metrics.significance import benjamini_hochberg, holm
from ser_model.schema import STATISTICS

Row = dict[str, Any]
GapKey = tuple[str, str, str, str]
"""slice_by, slice, target, metric."""

STATISTICS_SIDE = "statistics"
PERMUTATIONS_SIDE = "permutations"


def judge_family(
    element: tuple[tuple[str, str], Mapping[str, Iterable[pa.RecordBatch]]], config: AuditConfig
) -> pa.RecordBatch:
    """Return all statistics of a model under a condition, with the verdicts on its gaps.

    Args:
        element: model version and condition; the rows of schema.STATISTICS, and PERMUTATION_ROWS
            where margins are by permutation.
        config: the margins.
    """
    _, sides = element
    statistics = to_table(sides[STATISTICS_SIDE], STATISTICS)
    permuted = to_table(sides[PERMUTATIONS_SIDE], PERMUTATION_ROWS)
    return to_batch(judge_gaps(statistics, config, permuted))


def judge_gaps(
    statistics: pa.Table, config: AuditConfig, permutations: pa.Table | None = None
) -> pa.Table:
    """Judge the gaps of one family.

    Args:
        statistics: schema.STATISTICS of one model and condition.
        config: the margins.
        permutations: PERMUTATION_ROWS; none where margins are given.
    """
    rows = statistics.to_pylist()
    for metric in RESIDUAL_TESTS:
        tested = [row for row in rows if row["metric"] == metric and row["p_value"] is not None]
        correct(tested)
    judged = [row for row in rows if _is_tested(row, config)]
    correct(judged)
    found = {} if permutations is None else {_key(row): row for row in permutations.to_pylist()}
    for row in judged:
        estimate = Estimate(
            value=row["value"],
            standard_error=row["standard_error"],
            degrees_of_freedom=row["degrees_of_freedom"],
        )
        given = margin_of(row["metric"], config.margins)
        row["margin"] = given
        row["minimum_detectable_effect"] = estimate.minimum_detectable_effect
        permuted = found.get(_key(row))
        if permuted is None:
            row["verdict"] = verdict(estimate, given, row["p_adjusted"])
        else:
            row["p_adjusted"], row["margin"] = permuted["p_adjusted"], permuted["margin"]
            row["verdict"] = permuted_verdict(estimate, given, row["p_adjusted"])
    return pa.Table.from_pylist(rows, schema=STATISTICS)


def correct(rows: list[Row]) -> None:
    """Fill the adjusted p-values of a family of rows, each of which has a p-value."""
    p_values = [row["p_value"] for row in rows]
    columns = {"p_adjusted": holm(p_values), "p_adjusted_fdr": benjamini_hochberg(p_values)}
    for name, values in columns.items():
        for row, value in zip(rows, values.tolist(), strict=True):
            row[name] = value


def verdict(gap: Estimate, margin: float | None, p_adjusted: float) -> str:
    """Return the verdict on a gap with a given margin, or with none.

    Example:
        >>> gap = Estimate(value=.01, standard_error=.02, degrees_of_freedom=30)
        >>> verdict(gap, .075, 1.0), verdict(gap, .02, 1.0), verdict(gap, None, 1.0)
        ('pass', 'inconclusive', 'inconclusive')
    """
    is_different = p_adjusted < SIGNIFICANCE
    if margin is None:
        return "fail" if is_different else "inconclusive"
    low, high = gap.interval(1.0 - 2.0 * SIGNIFICANCE)
    if -margin < low and high < margin:
        return "pass"
    is_beyond = low > margin or high < -margin
    return "fail" if is_beyond and is_different else "inconclusive"


def permuted_verdict(gap: Estimate, margin: float | None, p_adjusted: float) -> str:
    """Return the verdict on a gap that was held against those of shuffled groups."""
    if p_adjusted < SIGNIFICANCE:
        return "fail"
    return "pass" if verdict(gap, margin, 1.0) == "pass" else "inconclusive"


def _is_tested(row: Row, config: AuditConfig) -> bool:
    return row["p_value"] is not None and is_judged(row["metric"], config.margins)


def _key(row: Mapping[str, Any]) -> GapKey:
    return row["slice_by"], row["slice"], row["target"], row["metric"]
