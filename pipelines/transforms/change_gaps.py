"""Fairness and robustness crossed: whose scores does a condition change more?

A gap of changes is the change of a metric in one slice minus that in another: how much of the gap
between them a condition makes. Both changes were weighed by the same draws of speakers, and each is
of the segments that the condition and clean both have. Slices are compared as they are for their
own gaps: in pairs up to MAX_SLICES_IN_PAIRS, and each with the rest where there are more than two.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.transforms.comparing import MAX_SLICES_IN_PAIRS, of_gap, suppressed
from pipelines.transforms.metric_values import MetricValues
from pipelines.transforms.sharing import Pair
from ser_model.metrics.intervals import Estimate
from ser_model.metrics.moments import Floats
from ser_model.schema import STATISTICS

ChangeKey = tuple[str, str, str, str]
"""Model version, condition, slice_by, target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceChange:
    """How a condition changes the metrics of one slice, or of all others ("the rest").

    Attributes:
        pair: condition and clean.
        name: of the slice, or of the one that is left out.
        is_rest: whether it is all slices but this one.
        num_segments: that both sides have.
        num_speakers: of these.
        effective_speakers: fewer where some of them have most segments.
        num_compared_speakers: speakers in any of the slices.
        why_suppressed: why it is too small to be shown; None where it is not.
        metrics: changes [B1] of the judged metrics.
    """

    pair: Pair
    name: str
    is_rest: bool
    num_segments: int
    num_speakers: int
    effective_speakers: float
    num_compared_speakers: int
    why_suppressed: str | None
    metrics: tuple[MetricValues, ...]


def compare_changes(
    element: tuple[ChangeKey, Iterable[SliceChange]],
) -> Iterator[tuple[tuple[str, str], pa.RecordBatch]]:
    """Yield the gaps of changes of one model, condition, slice_by and target, by family.

    Args:
        element: the key, and the changes of all slices, in any order.
    """
    (model_version, condition, slice_by, target), unordered = element
    changes = sorted(unordered, key=lambda change: change.name)
    head = {
        "model_version": model_version,
        "condition": condition,
        "slice_by": f"condition,{slice_by}",
        "target": target,
    }
    pair = changes[0].pair
    rows = [
        {**head, **row, "slice": f"{pair.name},{row['slice']}"}
        for first, second in _pairs_of_slices(changes)
        for row in _gap_rows(first, second)
    ]
    if rows:
        yield pair.family, pa.RecordBatch.from_pylist(rows, schema=STATISTICS)


def _pairs_of_slices(changes: Sequence[SliceChange]) -> Iterator[tuple[SliceChange, SliceChange]]:
    slices = [change for change in changes if not change.is_rest]
    if len(slices) <= MAX_SLICES_IN_PAIRS:
        yield from itertools.combinations(slices, 2)
    rests = {change.name: change for change in changes if change.is_rest}
    yield from ((one, rests[one.name]) for one in slices if one.name in rests)


def _gap_rows(first: SliceChange, second: SliceChange) -> Iterator[Mapping[str, Any]]:
    total = first.num_speakers + second.num_speakers
    num_speakers = min(total, first.num_compared_speakers)
    why = first.why_suppressed or second.why_suppressed
    others = {metric.name: metric.values for metric in second.metrics}
    for metric in first.metrics:
        if metric.name not in others:
            continue  # an emotion that only one slice has
        yield {
            "slice": f"{first.name}-{'rest' if second.is_rest else second.name}",
            "metric": f"{metric.name}_change_gap",
            "num_segments": first.num_segments + second.num_segments,
            "num_speakers": num_speakers,
            **(suppressed(why) if why else _of_gap(metric, others[metric.name], first, second)),
        }


def _of_gap(
    metric: MetricValues, others: Floats, first: SliceChange, second: SliceChange
) -> dict[str, Any]:
    fewest = min(first.num_speakers, second.num_speakers)
    speakers = (first.effective_speakers, second.effective_speakers)
    total = first.num_speakers + second.num_speakers
    num_speakers = min(total, first.num_compared_speakers)
    row = of_gap(metric, others, fewest, speakers, num_speakers)
    if row.get("p_value") is None:
        return row
    estimate = Estimate(
        value=row["value"],
        standard_error=row["standard_error"],
        degrees_of_freedom=row["degrees_of_freedom"],
    )
    return {**row, "minimum_detectable_effect": estimate.minimum_detectable_effect}
