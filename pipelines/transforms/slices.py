"""Slices that are compared with each other: from partitions of speakers to totals of replicates.

What travels from a partition of speakers to its slices is whatever is smaller: of a slice with few
speakers their sums, of one with many the totals. So neither many slices nor many speakers are much
to carry, and a slice of all of ten million speakers comes together as a few dozen totals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import PCollection

from pipelines.audit_config import AuditConfig
from pipelines.transforms.speakers import SPEAKER_SUMS
from pipelines.transforms.tables import (
    array,
    group_rows,
    is_missing_slice,
    pack,
    to_batch,
    to_table,
)
from pipelines.transforms.weighting import (
    SPEAKERS_PER_BLOCK,
    State,
    merge_states,
    replicate_totals,
)
from ser_model.metrics.dimension_sums import DimensionSums
from ser_model.metrics.intervals import effective_speakers

SliceKey = tuple[str, str, str, str]
"""Model version, condition, slice_by, target: what is compared with each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A slice, part of one, or several merged: its name, how many speakers, and totals [B1]."""

    name: str
    num_speakers: int
    state: State

    @property
    def num_segments(self) -> int:
        """Number of segments."""
        return int(self.state.num_segments[0])

    @property
    def effective_speakers(self) -> float:
        """Speakers, fewer where some of them have most segments."""
        return effective_speakers(self.state.num_segments, self.num_speakers)

    def merge(self, other: Slice) -> Slice:
        """Return both together under this one's name, where no speaker is in both."""
        return Slice(
            name=self.name,
            num_speakers=self.num_speakers + other.num_speakers,
            state=merge_states([self.state, other.state]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicePart:
    """What one partition of speakers says of slices that are compared with each other.

    Attributes:
        partition: of the speakers.
        num_speakers: speakers in any slice that is compared; one may be in several.
        speakers: packed SPEAKER_SUMS of the slices with few speakers.
        totals: of the slices with many.
    """

    partition: int
    num_speakers: int
    speakers: bytes
    totals: tuple[Slice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSlices:
    """All slices by the same columns, of one target.

    Attributes:
        slices: in alphabetical order.
        num_speakers: speakers in any of them that is compared.
    """

    slices: tuple[Slice, ...]
    num_speakers: int


class MergeParts(beam.PTransform[Any, Any]):
    """Merges parts by what is compared: (SliceKey, SlicePart) to (SliceKey, ComparedSlices)."""

    def __init__(self, config: AuditConfig) -> None:
        """Weigh the speakers as configured."""
        super().__init__()
        self._config = config

    def expand(self, parts: PCollection[Any]) -> PCollection[Any]:
        """Gather and merge."""
        merged: PCollection[Any] = (
            parts | "Gather" >> beam.GroupByKey() | "Merge" >> beam.Map(merge_parts, self._config)
        )
        return merged


def slice_part(sums: pa.Table, partition: int, config: AuditConfig) -> SlicePart:
    """Make of a partition's speakers what travels.

    Args:
        sums: merged SPEAKER_SUMS of one model, condition, slice_by and target.
        partition: of the speakers.
        config: seed of the weights, and B.
    """
    speaker_rows, speaker_of_row = group_rows(sums, ["speaker_id"])
    slice_rows, slice_of_row = group_rows(sums, ["slice"])
    names = array(sums, "slice").take(pa.array(slice_rows)).to_pylist()
    is_compared = np.array([not is_missing_slice(name) for name in names])
    pairs = np.unique(slice_of_row * len(speaker_rows) + speaker_of_row)
    num_speakers = np.bincount(pairs // len(speaker_rows), minlength=len(names))
    has_many = (num_speakers > SPEAKERS_PER_BLOCK)[slice_of_row]
    return SlicePart(
        partition=partition,
        num_speakers=np.unique(speaker_of_row[is_compared[slice_of_row]]).size,
        speakers=pack(to_batch(sums.filter(pa.array(~has_many)))),
        totals=tuple(_total_up(sums.filter(pa.array(has_many)).combine_chunks(), config)),
    )


def merge_parts(
    element: tuple[SliceKey, Iterable[SlicePart]], config: AuditConfig
) -> tuple[SliceKey, ComparedSlices]:
    """Merge the partitions of speakers, in their order.

    Args:
        element: what is compared; and the parts of all partitions.
        config: seed of the weights, and B.
    """
    key, unordered = element
    parts = sorted(unordered, key=lambda part: part.partition)
    speakers = to_table((part.speakers for part in parts), SPEAKER_SUMS)
    slices: dict[str, Slice] = {}
    for one in (*_total_up(speakers, config), *(one for part in parts for one in part.totals)):
        slices[one.name] = slices[one.name].merge(one) if one.name in slices else one
    return key, ComparedSlices(
        slices=tuple(slices[name] for name in sorted(slices)),
        num_speakers=sum(part.num_speakers for part in parts),
    )


def _total_up(sums: pa.Table, config: AuditConfig) -> Iterator[Slice]:
    """Yield the slices of SPEAKER_SUMS of one model, condition, slice_by and target."""
    first_rows, slice_of_row = group_rows(sums, ["slice"])
    for number, name in enumerate(array(sums, "slice").take(pa.array(first_rows)).to_pylist()):
        rows = sums.filter(pa.array(slice_of_row == number)).combine_chunks()
        state = replicate_totals(rows, config)
        if isinstance(state, DimensionSums):
            state = DimensionSums(moments=state.moments, bins=state.bins.packed())
        num_speakers = len(group_rows(rows, ["speaker_id"])[0])
        yield Slice(name=name, num_speakers=num_speakers, state=state)
