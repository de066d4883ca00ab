"""From the totals of slices to statistics with intervals, and to gaps between slices.

A gap of two slices is a metric on the first minus the same on the second, replicate by replicate:
both were weighed by the same draw of speakers, so what they share cancels. Slices of the same
columns are compared in alphabetical order: two as a pair; more each with the rest (all segments of
the other slices) as well, and in pairs up to MAX_SLICES_IN_PAIRS.

Slices with fewer segments or speakers than asked for are suppressed: their rows and those of their
gaps say so in the place of numbers, and their counts stay, so that slices add up to all segments.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.audit_config import AuditConfig, Minimums
from pipelines.transforms.metric_values import MetricValues, metric_values
from pipelines.transforms.residuals import residual_rows
from pipelines.transforms.slices import ComparedSlices, Slice, SliceKey
from pipelines.transforms.tables import is_missing_slice
from pipelines.transforms.weighting import State
from ser_model.metrics.dimension_sums import DimensionSums
from ser_model.metrics.intervals import (
    gap_estimate,
    speaker_error,
    speaker_interval,
)
from ser_model.metrics.moments import Floats
from ser_model.metrics.recall import Confusion
from ser_model.schema import STATISTICS, SUPPRESSED

MIN_SPEAKERS = 2
"""A slice needs so many speakers for an interval: one speaker says nothing of others."""

MAX_SLICES_IN_PAIRS = 10
"""Up to so many slices are compared in pairs (45 of them); more only with the rest."""

FEW_SPEAKERS = f"fewer than {MIN_SPEAKERS} speakers"
FEW_REPLICATES = "too few replicates have a value"
NO_SPREAD = "no spread between replicates"

GENDER_PAIR = "sex=female-sex=male"
"""The gap that is the gender fairness score of Wagner et al. 2023, III-D: CCC of female speakers
minus CCC of male speakers."""


def compare_slices(
    element: tuple[SliceKey, ComparedSlices], config: AuditConfig
) -> Iterator[tuple[tuple[str, str], pa.RecordBatch]]:
    """Yield the rows of schema.STATISTICS of slices that are compared with each other.

    Args:
        element: model version, condition, slice_by and target; and the slices.
        config: which slices are compared, and which are too small to be shown.

    Yields:
        The rows by model version and condition.
    """
    key, compared = element
    names = ("model_version", "condition", "slice_by", "target")
    head = dict(zip(names, key, strict=True))
    found = [row for one in compared.slices for row in slice_rows(one, config.minimums)]
    if config.is_compared(head["slice_by"]):
        found += gaps_between(compared, config.minimums)
    rows = [{**head, **row} for row in found]
    yield key[:2], pa.RecordBatch.from_pylist(rows, schema=STATISTICS)


def gaps_between(compared: ComparedSlices, minimums: Minimums) -> Iterator[dict[str, Any]]:
    """Yield the gaps between slices by the same columns; those that lack a value take no part."""
    slices = [one for one in compared.slices if not is_missing_slice(one.name)]
    for first, second in pairs_to_compare(slices):
        yield from gap_rows(first, second, compared.num_speakers, minimums)


def pairs_to_compare(slices: list[Slice]) -> Iterator[tuple[Slice, Slice]]:
    """Yield the pairs whose gaps are reported; `slices` are in alphabetical order."""
    if len(slices) <= MAX_SLICES_IN_PAIRS:
        yield from itertools.combinations(slices, 2)
    yield from rests_of(slices)


def rests_of(slices: Sequence[Slice]) -> Iterator[tuple[Slice, Slice]]:
    """Yield each slice with all others as one, which is called "rest"; nothing of one or two."""
    if len(slices) > 2:
        for one in slices:
            others = (other for other in slices if other is not one)
            rest = reduce(Slice.merge, others)
            yield one, replace(rest, name="rest")


def slice_rows(one: Slice, minimums: Minimums) -> Iterator[dict[str, Any]]:
    """Yield every metric of a slice with its interval, and what its residuals say."""
    why = why_suppressed(one, minimums)
    speakers = one.effective_speakers
    head = {
        "slice": one.name,
        "num_segments": one.num_segments,
        "num_speakers": one.num_speakers,
        **_NOTHING,
    }
    for metric in metric_values(one.state):
        found = suppressed(why) if why else _of_slice(metric, one.num_speakers, speakers)
        yield {**head, "metric": metric.name, **found}
    if not why and one.num_speakers >= MIN_SPEAKERS and isinstance(one.state, DimensionSums):
        for row in residual_rows(one.state.moments, speakers):
            yield {**head, **row}


def gap_rows(
    first: Slice, second: Slice, num_compared_speakers: int, minimums: Minimums
) -> Iterator[dict[str, Any]]:
    """Yield the gap of two slices in every metric, with its interval and p-value.

    Args:
        first: the gap is this one's metric ...
        second: ... minus this one's.
        num_compared_speakers: speakers in any of the slices; a speaker in both counts once.
        minimums: below them a slice is suppressed, and so are its gaps.
    """
    num_speakers = min(first.num_speakers + second.num_speakers, num_compared_speakers)
    why = why_suppressed(first, minimums) or why_suppressed(second, minimums)
    speakers = (first.effective_speakers, second.effective_speakers)
    fewest = min(first.num_speakers, second.num_speakers)
    name = f"{first.name}-{second.name}"
    for metric, others in same_metrics(first.state, second.state):
        found = suppressed(why) if why else of_gap(metric, others, fewest, speakers, num_speakers)
        row = {
            "slice": name,
            "metric": f"{metric.name}_gap",
            "num_segments": first.num_segments + second.num_segments,
            "num_speakers": num_speakers,
            **_NOTHING,
            **found,
        }
        yield row
        if name == GENDER_PAIR and metric.name == "concordance_cc":
            yield {**row, "metric": "gender_fairness_score"}


def why_suppressed(one: Slice, minimums: Minimums) -> str | None:
    """Say why a slice is too small to be shown; None where it is not, or is all segments."""
    if not one.name:
        return None
    if one.num_speakers < minimums.speakers:
        return f"fewer than {minimums.speakers} speakers"
    if one.num_segments < minimums.segments:
        return f"fewer than {minimums.segments} segments"
    return None


def same_metrics(first: State, second: State) -> Iterator[tuple[MetricValues, Floats]]:
    """Yield every metric of the first state with the values of the same on the second."""
    if isinstance(first, Confusion) and isinstance(second, Confusion):
        classes = tuple(sorted({*first.classes, *second.classes}))
        first, second = first.over(classes), second.over(classes)
    for left, right in zip(metric_values(first), metric_values(second), strict=True):
        yield left, right.values


def _of_slice(metric: MetricValues, num_speakers: int, effective: float) -> dict[str, Any]:
    """The estimate (element 0), the interval of the replicates, and why one of them is absent."""
    values = metric.values
    if not np.isfinite(values[0]):
        return {"reason": metric.why_undefined}
    if num_speakers < MIN_SPEAKERS:
        return {"value": float(values[0]), "reason": FEW_SPEAKERS}
    low, high = speaker_interval(values, effective, metric.scale)
    if not np.isfinite(low):
        return {"value": float(values[0]), "reason": FEW_REPLICATES}
    return {
        "value": float(values[0]),
        "ci_low": low,
        "ci_high": high,
        "standard_error": speaker_error(values, effective),
        "degrees_of_freedom": max(effective - 1.0, 1.0),
    }


def of_gap(
    metric: MetricValues,
    others: Floats,
    fewest_speakers: int,
    speakers: tuple[float, float],
    num_speakers: int,
) -> dict[str, Any]:
    """Return the numbers of a gap, or why they are absent.

    Args:
        metric: [B1] of the first slice.
        others: [B1] the same of the second.
        fewest_speakers: of the smaller slice.
        speakers: effective speakers of each.
        num_speakers: of both together.
    """
    value = float(metric.values[0] - others[0])
    if not np.isfinite(value):
        return {"reason": metric.why_undefined}
    if fewest_speakers < MIN_SPEAKERS:
        return {"value": value, "reason": FEW_SPEAKERS}
    gap = gap_estimate(metric.values, others, speakers, num_speakers)
    if gap is None:
        has_no_spread = np.isfinite(metric.values - others).all()
        return {"value": value, "reason": NO_SPREAD if has_no_spread else FEW_REPLICATES}
    return {"value": value, "p_value": gap.p_value, **gap.as_columns()}


_NOTHING = dict.fromkeys(
    ("value", "ci_low", "ci_high", "p_value", "standard_error", "degrees_of_freedom", "reason")
)


def suppressed(why: str) -> dict[str, Any]:
    """Return what a row says in the place of numbers."""
    return {"verdict": SUPPRESSED, "reason": why}
