"""Compares models with each other, and conditions with clean, on the same draws of speakers.

Both sides have the same segments (see `sharing`) and were weighed by the same replicates, so what
they share cancels: a difference is often far more certain than either side. It is tested against 0
by Student's t over the speakers.

A family of tests is one metric: the differences between all models under a condition, or the
changes of a model under all its conditions, for all targets. All segments are one family; the
slices are another, so that to look at many groups takes nothing from the main question.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from pipelines.audit_config import AuditConfig, is_judged
from pipelines.transforms.change_gaps import ChangeKey, SliceChange
from pipelines.transforms.comparing import (
    FEW_REPLICATES,
    FEW_SPEAKERS,
    MIN_SPEAKERS,
    NO_SPREAD,
    rests_of,
    why_suppressed,
)
from pipelines.transforms.judging import correct
from pipelines.transforms.metric_values import MetricValues, metric_values
from pipelines.transforms.sharing import Pair, Side, Unshared, pairs_of
from pipelines.transforms.slices import ComparedSlices, Slice, SliceKey
from pipelines.transforms.tables import is_missing_slice, to_table
from ser_model.metrics.intervals import has_spread, paired_estimate
from ser_model.schema import STATISTICS, SUPPRESSED

NOTHING_SHARED = "no segment that both sides have"

CHANGES = "changes"
"""Name of the side output that carries `SliceChange`."""

SliceName = tuple[str, str, str, bool]
"""slice_by, slice, target; and whether it is the rest: all slices but this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideValues:
    """What is compared of one model and condition, on one slice.

    Attributes:
        side: model version, or the label of a pair's shared segments; and condition.
        num_segments: of the slice.
        num_speakers: of the slice.
        effective_speakers: fewer where some of them have most segments.
        num_compared_speakers: speakers in any of the slices by the same columns.
        why_suppressed: why the slice is too small to be shown; None where it is not.
        metrics: the compared metrics, estimate and replicates.
    """

    side: Side
    num_segments: int
    num_speakers: int
    effective_speakers: float
    num_compared_speakers: int
    why_suppressed: str | None
    metrics: tuple[MetricValues, ...]


def slice_values(
    element: tuple[SliceKey, ComparedSlices], sides: Sequence[Side], config: AuditConfig
) -> Iterator[tuple[SliceName, SideValues]]:
    """Yield what is compared of each slice; nothing where there is nobody to compare with.

    Where conditions are compared with clean, and slices with each other, the rest of each too.

    Args:
        element: model version, condition, slice_by and target; and the slices.
        sides: all models and conditions of the audit.
        config: which metrics have a margin, and which slices are too small to be shown.
    """
    kinds = {pair.kind for pair in pairs_of(sides)}
    if not kinds:
        return
    (model_version, condition, slice_by, target), compared = element

    def values_of(one: Slice, metrics: Iterable[MetricValues]) -> SideValues:
        return SideValues(
            side=(model_version, condition),
            num_segments=one.num_segments,
            num_speakers=one.num_speakers,
            effective_speakers=one.effective_speakers,
            num_compared_speakers=compared.num_speakers,
            why_suppressed=why_suppressed(one, config.minimums),
            metrics=tuple(metrics),
        )

    for one in compared.slices:
        metrics = (m for m in metric_values(one.state) if _is_compared(m, config))
        yield (slice_by, one.name, target, False), values_of(one, metrics)
    if "change" in kinds and config.is_compared(slice_by):
        slices = [one for one in compared.slices if not is_missing_slice(one.name)]
        for one, rest in rests_of(slices):
            metrics = (m for m in metric_values(rest.state) if _is_judged(m, config))
            yield (slice_by, one.name, target, True), values_of(rest, metrics)


def compare_pairs(
    element: tuple[SliceName, Iterable[SideValues]],
    sides: Sequence[Side],
    unshared: Sequence[tuple[str, str]],
    config: AuditConfig,
) -> Iterator[tuple[tuple[str, str], pa.RecordBatch] | TaggedOutput[Any, Any]]:
    """Yield the rows of schema.STATISTICS of one slice by the family that they are tested in.

    For CHANGES it yields how a condition changes a slice that is compared with others.

    Args:
        element: a slice and target; and what all sides say of it.
        sides: all models and conditions of the audit.
        unshared: the pairs (`Pair.label(0)`) and targets that are compared on their shared
            segments only.
        config: which slices are compared, in what.
    """
    (slice_by, name, target, is_rest), values = element
    found = {one.side: one for one in values}
    differing = set(unshared)
    for pair in pairs_of(sides):
        if pair.first not in found or pair.second not in found:
            continue  # a model without this target, or none of whose segments is in the slice
        sides_of_pair: tuple[SideValues | None, ...] = (found[pair.first], found[pair.second])
        if (pair.label(0), target) in differing:
            labels = ((pair.label(n), side[1]) for n, side in enumerate((pair.first, pair.second)))
            sides_of_pair = tuple(found.get(label) for label in labels)
        first, second = sides_of_pair
        if first and second and pair.kind == "change" and _has_gaps(slice_by, name, config):
            change = _change(pair, name, first, second, config)
            key: ChangeKey = (*pair.first, slice_by, target)
            yield TaggedOutput(CHANGES, (key, replace(change, is_rest=is_rest)))
        if is_rest:
            continue
        head = {
            "model_version": pair.first[0],
            "condition": pair.first[1],
            "slice_by": ",".join(filter(None, (pair.column, slice_by))),
            "slice": ",".join(filter(None, (pair.name, name))),
            "target": target,
        }
        shared = _rows_of_pair(pair.kind, first, second) if first and second else None
        rows = shared or _empty(pair.kind, found[pair.first])
        listed = [{**head, **row} for row in rows]
        yield pair.family, pa.RecordBatch.from_pylist(listed, schema=STATISTICS)


def correct_family(
    element: tuple[tuple[str, str], Iterable[pa.RecordBatch]],
) -> pa.RecordBatch:
    """Return all comparisons of a condition, or of a model, with adjusted p-values."""
    (kind, _), batches = element
    column = "model_version" if kind == "difference" else "condition"
    names = ("slice_by", "slice", "target", "metric")
    table = to_table(batches, STATISTICS).sort_by([(name, "ascending") for name in names])
    families: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    rows = table.to_pylist()
    for row in rows:
        if row["p_value"] is not None:
            key = (row["metric"], row["slice_by"] == column)
            families.setdefault(key, []).append(row)
    for family in families.values():
        correct(family)
    return pa.RecordBatch.from_pylist(rows, schema=STATISTICS)


def unshared_of(element: tuple[int, pa.RecordBatch | Unshared]) -> Iterator[tuple[str, str]]:
    """Yield the pair (`Pair.label(0)`) and target of a mark; nothing of cells."""
    _, found = element
    if isinstance(found, Unshared):
        yield found.pair.label(0), found.target


def _is_compared(metric: MetricValues, config: AuditConfig) -> bool:
    """Whole-scale metrics, and those of parts and classes that have a margin."""
    is_of_part = metric.is_of_class or metric.name == "jensen_shannon_distance"
    return not is_of_part or _is_judged(metric, config)


def _is_judged(metric: MetricValues, config: AuditConfig) -> bool:
    return is_judged(f"{metric.name}_gap", config.margins)


def _has_gaps(slice_by: str, name: str, config: AuditConfig) -> bool:
    return bool(slice_by) and config.is_compared(slice_by) and not is_missing_slice(name)


def _change(
    pair: Pair, name: str, first: SideValues, second: SideValues, config: AuditConfig
) -> SliceChange:
    others = {metric.name: metric for metric in second.metrics}
    return SliceChange(
        pair=pair,
        name=name,
        is_rest=False,
        num_segments=first.num_segments,
        num_speakers=first.num_speakers,
        effective_speakers=first.effective_speakers,
        num_compared_speakers=first.num_compared_speakers,
        why_suppressed=first.why_suppressed or second.why_suppressed,
        metrics=tuple(
            replace(metric, values=metric.values - others[metric.name].values)
            for metric in first.metrics
            if metric.name in others and _is_judged(metric, config)
        ),
    )


def _rows_of_pair(kind: str, first: SideValues, second: SideValues) -> Iterator[dict[str, Any]]:
    others = {metric.name: metric for metric in second.metrics}
    why = first.why_suppressed or second.why_suppressed
    for metric in first.metrics:
        if metric.name not in others:
            continue  # an emotion that only one side names
        row = _head(metric.name, kind, first.num_segments, first.num_speakers)
        if why:
            yield {**row, "verdict": SUPPRESSED, "reason": why}
        else:
            yield {**row, **_of_pair(metric, others[metric.name], first)}


def _of_pair(metric: MetricValues, other: MetricValues, side: SideValues) -> dict[str, Any]:
    difference_B1 = metric.values - other.values
    value = float(difference_B1[0])
    if not np.isfinite(value):
        return {"reason": metric.why_undefined}
    if side.num_speakers < MIN_SPEAKERS:
        return {"value": value, "reason": FEW_SPEAKERS}
    if not has_spread(difference_B1):
        return {"value": value, "ci_low": value, "ci_high": value, "reason": NO_SPREAD}
    estimate = paired_estimate(difference_B1, side.effective_speakers)
    if estimate is None:
        return {"value": value, "reason": FEW_REPLICATES}
    return {
        **estimate.as_columns(),
        "value": value,
        "p_value": estimate.p_value,
        "minimum_detectable_effect": estimate.minimum_detectable_effect,
    }


def _empty(kind: str, side: SideValues) -> Iterator[dict[str, Any]]:
    for metric in side.metrics:
        yield {**_head(metric.name, kind, 0, 0), "reason": NOTHING_SHARED}


def _head(metric: str, kind: str, num_segments: int, num_speakers: int) -> dict[str, Any]:
    counts = {"num_segments": num_segments, "num_speakers": num_speakers}
    return {"metric": f"{metric}_{kind}", **counts, **_NOTHING}


_NOTHING = dict.fromkeys(
    field.name
    for field in STATISTICS
    if field.nullable and field.name not in ("num_segments", "num_speakers")
)
