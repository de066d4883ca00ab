"""A plan: which segments are scored, and how they are cut into shards."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.table_hash import table_sha256
from ser_model.schema import MAX_SEGMENT_S, ManifestError, Reason, SegmentError
from ser_model.table_files import text_column

Waveform: TypeAlias = npt.NDArray[np.float32]
SegmentAudio: TypeAlias = tuple[str, Waveform | SegmentError]

TRANSCRIPT = "transcript"
"""The column of a manifest that holds what was said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """Why a segment is rejected without another look: what came of scoring it alone."""

    reason: Reason
    detail: str


class Shard(Protocol):
    """Some segments that are read, scored and committed together."""

    @property
    def segment_ids(self) -> Sequence[str]:
        """The segments that reading must yield, each exactly once, in any order."""

    def read(self) -> Iterator[SegmentAudio]:
        """Yield (segment_id, waveform float32 mono 16 kHz, or why there is none)."""

    def only(self, segment_ids: Collection[str]) -> Self:
        """Return the part of the shard with these segments alone; no others are decoded."""

    def parts(self, num_segments: int) -> Iterator[tuple[Shard, int]]:
        """Cut the shard into parts that others read; reading them in turn is reading the shard.

        A part has `num_segments` segments or more, for what is read in one piece is not divided.

        Yields:
            A part, and how many waveforms it holds at most.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class TextShard:
    """A shard with the transcripts of its segments beside it, for those who want them.

    Attributes:
        shard: the segments.
        transcripts: by segment_id; None where there is none.
    """

    shard: Shard
    transcripts: Mapping[str, str | None]

    @property
    def segment_ids(self) -> Sequence[str]:
        """The segments, in the order of the plan."""
        return self.shard.segment_ids

    def read(self) -> Iterator[SegmentAudio]:
        """Read the audio; the transcripts are here already."""
        return self.shard.read()

    def only(self, segment_ids: Collection[str]) -> Self:
        """Return the part of the shard with these segments alone."""
        transcripts = {i: self.transcripts[i] for i in segment_ids}
        return replace(self, shard=self.shard.only(segment_ids), transcripts=transcripts)

    def parts(self, num_segments: int) -> Iterator[tuple[Shard, int]]:
        """Cut the audio into parts; whoever reads those needs no transcripts."""
        return self.shard.parts(num_segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """A shard that is to be scored under some conditions, decoded once for all of them."""

    number: int
    conditions: tuple[str, ...]

    def by_condition(self) -> list[Self]:
        """Return a task for each of its conditions."""
        return [replace(self, conditions=(condition,)) for condition in self.conditions]


def new_attempt() -> str:
    """Return a name that no other attempt has, on any machine."""
    return uuid.uuid4().hex[:16]


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """The segments of a source in the order of shards.

    Attributes:
        rows: one row a segment, with `segment_id` and what its shard needs to find it; and with
            `transcript` (null where there is none) where shards are to carry transcripts.
        first_rows: the first row of each shard, and behind the last one the number of rows.
        make_shard: makes the descriptor of a shard from its rows.
        max_segment_s: longer segments are rejected by those who read the shards.
    """

    rows: pa.Table
    first_rows: Sequence[int]
    make_shard: Callable[[pa.Table], Shard]
    max_segment_s: float = MAX_SEGMENT_S

    @property
    def num_segments(self) -> int:
        """Segments in all shards."""
        return int(self.rows.num_rows)

    @property
    def num_shards(self) -> int:
        """Shards, numbered from 0."""
        return len(self.first_rows) - 1

    def num_segments_of(self, index: int) -> int:
        """Return how many segments one shard holds."""
        return self.first_rows[index + 1] - self.first_rows[index]

    def shard(self, index: int) -> Shard:
        """Make the descriptor of one shard; they are not kept, so that a plan stays small."""
        rows = self.rows.slice(self.first_rows[index], self.num_segments_of(index))
        if TRANSCRIPT not in rows.column_names:
            return self.make_shard(rows)
        ids, transcripts = (rows[name].to_pylist() for name in ("segment_id", TRANSCRIPT))
        return TextShard(
            shard=self.make_shard(rows.drop_columns(TRANSCRIPT)),
            transcripts=dict(zip(ids, transcripts, strict=True)),
        )

    def with_transcripts(self, transcripts: pa.ChunkedArray) -> Self:
        """Return the plan with shards that carry these transcripts, one a row.

        Args:
            transcripts: text, in the order of `rows`; null where there is none.
        """
        rows = self.rows
        if TRANSCRIPT in rows.column_names:
            rows = rows.drop_columns(TRANSCRIPT)
        return replace(self, rows=rows.append_column(TRANSCRIPT, transcripts))

    def sha256(self) -> str:
        """Return a hash of which segments are scored, and how they are cut into shards and read."""
        cuts = pa.table({"first_row": pa.array(self.first_rows, pa.int64())})
        limit = pa.table({"max_segment_s": pa.array([self.max_segment_s], pa.float64())})
        return table_sha256(cuts, limit, self.rows)


def cut_by_recording(
    table: pa.Table, segments_per_shard: int
) -> tuple[npt.NDArray[np.int64], list[int]]:
    """Cut a manifest into shards of whole recordings, so that each is opened once, by one worker.

    Recordings come in the order in which the manifest first names them; a shard is closed behind
    the recording that brings it to `segments_per_shard`. ``serval pack`` cuts by the same rule.

    Returns:
        The manifest's rows in the order of shards, and the first of these of each shard (and,
        behind the last shard, their number).
    """
    # Piece by piece, all with one dictionary: in one piece, a hundred million names do not fit.
    pieces = table.column("recording").dictionary_encode().chunks
    recording_numbers = np.concatenate([piece.indices.to_numpy() for piece in pieces])
    order = np.argsort(recording_numbers, kind="stable")
    first_rows, num_rows = [0], 0
    for num_inside in np.bincount(recording_numbers).tolist():
        num_rows += num_inside
        if num_rows - first_rows[-1] >= segments_per_shard:
            first_rows.append(num_rows)
    if first_rows[-1] != num_rows:
        first_rows.append(num_rows)
    return order, first_rows


def take_rows(table: pa.Table, order: npt.NDArray[np.int64]) -> pa.Table:
    """Return the rows of a table in another order; its texts may be of any size together."""
    # Arrow gathers a column in one piece, in which 32-bit offsets end at 2 GiB of text.
    large = [
        field.with_type(pa.large_string()) if pa.types.is_string(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(large)).take(order)


def transcript_column(source: str, table: pa.Table) -> pa.ChunkedArray:
    """Return the transcripts of a table; nulls where it has no such column.

    Raises:
        ManifestError: a transcript is no text in UTF-8; the message names its row.
    """
    if TRANSCRIPT not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    return text_column(source, TRANSCRIPT, table[TRANSCRIPT])


def refuse_duplicates(source: str, table: pa.Table) -> None:
    """Raise ManifestError where a segment_id is missing or stands in two rows."""
    ids = table.column("segment_id")
    if ids.null_count:
        raise ManifestError(f"{source} has rows without a segment_id")
    if pc.count_distinct(ids).as_py() < len(ids):
        counts = ids.value_counts()
        often = counts.filter(pc.greater(counts.field("counts"), 1))
        raise ManifestError(f"{source} holds segment {often[0]['values'].as_py()!r} more than once")
