"""Rows of schema.STATISTICS on groups that a suite compares: values and gaps, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from pipelines.audit_config import Minimums
from pipelines.transforms.comparing import FEW_REPLICATES, FEW_SPEAKERS, MIN_SPEAKERS, NO_SPREAD
from pipelines.transforms.group_sums import Group
from pipelines.transforms.metric_values import MetricValues
from ser_model.metrics.intervals import (
    effective_speakers,
    gap_estimate,
    speaker_error,
    speaker_interval,
)
from ser_model.metrics.moments import Floats
from ser_model.schema import SUPPRESSED

Row = dict[str, Any]

REST = "rest"
ALL = "all"

NO_INTERVAL = "no interval is computed"


def merge_groups(name: str, groups: Sequence[Group]) -> Group:
    """Return groups as one; a speaker of several counts once."""
    speakers = frozenset[str]().union(*(group.speakers for group in groups))
    sums = reduce(lambda left, right: left.merge(right), (group.sums for group in groups))
    return Group(name=name, speakers=speakers, sums=sums)


def why_suppressed(groups: Iterable[Group], minimums: Minimums) -> str | None:
    """Say why one of the groups is too small to be shown; None where none is."""
    for group in groups:
        if len(group.speakers) < minimums.speakers:
            return f"fewer than {minimums.speakers} speakers"
        if group.sums.num_segments[0] < minimums.segments:
            return f"fewer than {minimums.segments} segments"
    return None


def group_row(group: Group, metric: MetricValues, minimums: Minimums) -> Row:
    """Return a metric of one group with its interval."""
    head = {"slice": group.name, "metric": metric.name, **_counts([group])}
    why = why_suppressed([group], minimums) if group.name else None
    if why is not None:
        return {**head, "verdict": SUPPRESSED, "reason": why}
    value = float(metric.values[0])
    if not np.isfinite(value):
        return {**head, "reason": metric.why_undefined}
    if len(group.speakers) < MIN_SPEAKERS:
        return {**head, "value": value, "reason": FEW_SPEAKERS}
    speakers = effective_speakers(group.sums.num_segments, len(group.speakers))
    low, high = speaker_interval(metric.values, speakers, metric.scale)
    if not np.isfinite(low):
        return {**head, "value": value, "reason": FEW_REPLICATES}
    return {
        **head,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "standard_error": speaker_error(metric.values, speakers),
        "degrees_of_freedom": max(speakers - 1.0, 1.0),
    }


def gap_row(
    name: str, metric: MetricValues, others: Floats, pair: tuple[Group, Group], minimums: Minimums
) -> Row:
    """Return a metric of a group minus that of the rest, with its interval.

    Args:
        name: of the group.
        metric: [B1] of the group.
        others: [B1] of the rest.
        pair: the group and the rest.
        minimums: below them the gap is suppressed.
    """
    head = {"slice": f"{name}-{REST}", "metric": f"{metric.name}_gap", **_counts(pair)}
    why = why_suppressed(pair, minimums)
    if why is not None:
        return {**head, "verdict": SUPPRESSED, "reason": why}
    value = float(metric.values[0] - others[0])
    if not np.isfinite(value):
        return {**head, "reason": metric.why_undefined}
    if min(len(group.speakers) for group in pair) < MIN_SPEAKERS:
        return {**head, "value": value, "reason": FEW_SPEAKERS}
    first, second = (
        effective_speakers(group.sums.num_segments, len(group.speakers)) for group in pair
    )
    gap = gap_estimate(metric.values, others, (first, second), head["num_speakers"])
    if gap is None:
        has_no_spread = np.isfinite(metric.values - others).all()
        return {**head, "value": value, "reason": NO_SPREAD if has_no_spread else FEW_REPLICATES}
    return {**head, "value": value, "p_value": gap.p_value, **gap.as_columns()}


def against_all_row(gap: Row, name: str, value: float) -> Row:
    """Return the row that holds the same group against all, as ser-tests does.

    Args:
        gap: the row against the rest.
        name: of the group.
        value: the metric of the group minus that of all groups.
    """
    row = {column: gap[column] for column in ("metric", "num_segments", "num_speakers")}
    row["slice"] = f"{name}-{ALL}"
    if gap.get("value") is None or not np.isfinite(value):
        return {**row, "verdict": gap.get("verdict"), "reason": gap["reason"]}
    return {**row, "value": value, "reason": NO_INTERVAL}


def _counts(groups: Iterable[Group]) -> Row:
    groups = list(groups)
    speakers = frozenset[str]().union(*(group.speakers for group in groups))
    num_segments = sum(int(group.sums.num_segments[0]) for group in groups)
    return {"num_segments": num_segments, "num_speakers": len(speakers)}
