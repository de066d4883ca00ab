"""From which severity on does a condition cost a model more than it may?

The conditions of a family (see `severities`) are tested from the harshest to the mildest: is the
metric shown to drop by more than BREAK_DROP, that is, does the whole 95 % interval of its change
lie below that? The first that is not shown ends it, and the break point is the mildest that is. In
such a fixed sequence no test needs a correction for those before it (Maurer, Hothorn & Lehmacher
1995; Westfall & Krishen 2001, J. Stat. Plan. Inference 99): with 2.5 % at most any of the levels is
wrongly said to cost more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipelines.transforms.severities import families_of, severity_of
from ser_model.schema import CLEAN, STATISTICS, SUPPRESSED

BREAK_DROP = 0.05
"""What ser-tests lets background noise cost in CCC or UAR."""

METRICS = ("concordance_cc", "pearson_cc", "unweighted_average_recall")

HARMLESS = f"each level is shown to cost less than {BREAK_DROP}"
UNSHOWN = f"inconclusive: that the harshest level costs more than {BREAK_DROP} is not shown"
FROM_THE_MILDEST = "from the mildest level that was scored on"

Row = Mapping[str, Any]


def with_break_points(changes: pa.RecordBatch) -> pa.RecordBatch:
    """Add the break points to the comparisons of a family of tests.

    Args:
        changes: schema.STATISTICS: all that is compared of one model (or between models under a
            condition, which has none).
    """
    rows = list(break_point_rows(changes.to_pylist()))
    added = pa.RecordBatch.from_pylist(rows, schema=STATISTICS)
    return pa.Table.from_batches([changes, added]).combine_chunks().to_batches()[0]


def break_point_rows(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield the break point of each family, slice, target and metric of a model.

    Args:
        rows: METRIC_change of one model under all conditions; what is none does not count.
    """
    found: dict[tuple[str, str, str, str], dict[str, Row]] = {}
    for row in rows:
        metric = row["metric"].removesuffix("_change")
        start = f"condition={row['condition']}-condition={CLEAN}"
        rest = row["slice"].removeprefix(start)
        if metric in METRICS and row["metric"] != metric and row["slice"] == start + rest:
            key = (row["slice_by"], rest, row["target"], metric)
            found.setdefault(key, {})[row["condition"]] = row
    for (slice_by, rest, target, metric), by_condition in sorted(found.items()):
        for family, conditions in families_of(by_condition).items():
            levels = [by_condition[condition] for condition in conditions]
            yield {
                "model_version": levels[0]["model_version"],
                "condition": CLEAN,
                "slice_by": slice_by,
                "slice": f"condition={family}{rest}",
                "target": target,
                "metric": f"{metric}_break_point",
                "num_segments": min(level["num_segments"] for level in levels),
                "num_speakers": min(level["num_speakers"] for level in levels),
                "margin": BREAK_DROP,
                **_break_point(levels),
            }


def _break_point(levels: Sequence[Row]) -> dict[str, Any]:
    """Find the break point of levels from mild to harsh, or say why there is none."""
    hidden = [level for level in levels if level["verdict"] == SUPPRESSED]
    if hidden:
        return {"verdict": SUPPRESSED, "reason": hidden[0]["reason"]}
    first = len(levels)
    while first > 0 and _is_below(levels[first - 1]["ci_high"]):
        first -= 1
    if first < len(levels):
        severity = severity_of(levels[first]["condition"])
        assert severity is not None  # it has a family
        return {"value": severity.number, "reason": FROM_THE_MILDEST if first == 0 else None}
    lows = [level["ci_low"] for level in levels]
    is_harmless = all(low is not None and low > -BREAK_DROP for low in lows)
    return {"reason": HARMLESS if is_harmless else UNSHOWN}


def _is_below(high: float | None) -> bool:
    return high is not None and high < -BREAK_DROP
