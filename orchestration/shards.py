"""What there is to score, cut into shards: the unit of work, of retry and of commit.

A plan is made from tables and headers alone; no audio is listed or opened. It is the same each time
it is made, so that shard 17 of a resumed run is shard 17 of the run that died. A shard is a small
descriptor that travels to a worker, which reads the audio there.

Sources: a manifest of recordings, a folder made by ``serval pack``, a Parquet file with an `audio`
column (the convention of Hugging Face datasets), a WebDataset tar file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Self

import pyarrow as pa

from orchestration.parquet_shards import has_audio_column, plan_packed, plan_parquet
from orchestration.shard_plan import (
    TRANSCRIPT,
    SegmentAudio,
    ShardPlan,
    cut_by_recording,
    take_rows,
    transcript_column,
)
from orchestration.webdataset import plan_tar
from ser_model import storage
from ser_model.audio import read_segments
from ser_model.manifest import read_manifest, segments, select_split
from ser_model.schema import MAX_SEGMENT_S, ConfigError, ManifestError, Segment

SEGMENTS_PER_SHARD = 256
"""Small enough that a lost shard costs seconds, large enough that commits are few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingShard:
    """Segments of recordings, read where those lie.

    Attributes:
        segments: those of a recording need not stand side by side.
        max_segment_s: longer ones are rejected.
    """

    segments: tuple[Segment, ...]
    max_segment_s: float = MAX_SEGMENT_S

    @property
    def segment_ids(self) -> list[str]:
        """The segments, in the order of the plan."""
        return [segment.segment_id for segment in self.segments]

    def read(self) -> Iterator[SegmentAudio]:
        """Read recording after recording, each in one pass."""
        for recording, inside in self._by_recording().items():
            results = read_segments(recording, inside, max_segment_s=self.max_segment_s)
            for segment, audio in results:
                yield segment.segment_id, audio

    def only(self, segment_ids: Collection[str]) -> Self:
        """Return the part of the shard with these segments alone."""
        wanted = frozenset(segment_ids)
        return replace(self, segments=tuple(s for s in self.segments if s.segment_id in wanted))

    def parts(self, num_segments: int) -> Iterator[tuple[Self, int]]:
        """Cut between recordings."""
        gathered: list[Segment] = []
        for inside in self._by_recording().values():
            gathered += inside
            if len(gathered) >= num_segments:
                yield replace(self, segments=tuple(gathered)), len(gathered)
                gathered = []
        if gathered:
            yield replace(self, segments=tuple(gathered)), len(gathered)

    def _by_recording(self) -> dict[str, list[Segment]]:
        by_recording: dict[str, list[Segment]] = {}
        for segment in self.segments:
            by_recording.setdefault(segment.recording, []).append(segment)
        return by_recording


def plan_shards(
    source: str,
    *,
    split: str | None = None,
    segments_per_shard: int = SEGMENTS_PER_SHARD,
    max_segment_s: float = MAX_SEGMENT_S,
    transcripts: bool = False,
) -> ShardPlan:
    """Plan the scoring of a source.

    Args:
        source: a manifest, a folder made by ``serval pack``, a Parquet file with an `audio` column,
            or a .tar file.
        split: score only the segments of this split (train, dev, test); None for all.
        segments_per_shard: shards of a manifest or a tar file are closed at this many segments; a
            recording is never divided. Packed folders and Parquet files bring their own shards.
        max_segment_s: longer segments are rejected when they are read.
        transcripts: whether shards carry the source's column `transcript`, with nulls where it
            has none.

    Raises:
        ConfigError: `max_segment_s` is no positive number.
        ManifestError: the source cannot be read, holds no segment, or holds a segment twice.
        RunError: packing of the folder was not finished.
    """
    if not max_segment_s > 0:
        raise ConfigError(f"--max-segment {max_segment_s:g} is not a positive number of seconds")
    if source.endswith(".tar"):
        if split is not None:
            raise ManifestError(f"{source}: a tar file has no splits; leave --split out")
        plan = plan_tar(source, segments_per_shard, max_segment_s)
        return plan.with_transcripts(transcript_column(source, plan.rows)) if transcripts else plan
    if storage.exists(storage.join(source, "pack-plan.json")):
        return plan_packed(source, split, max_segment_s, transcripts=transcripts)
    if source.endswith(".parquet") and has_audio_column(source):
        return plan_parquet(source, split, max_segment_s, transcripts=transcripts)
    table = select_split(read_manifest(source, truth_range=None), split)
    return _plan_manifest(source, table, segments_per_shard, max_segment_s, transcripts=transcripts)


def check_transcripts(source: str, plan: ShardPlan) -> None:
    """Refuse a source without any transcript, for a model that cannot do without.

    Raises:
        ManifestError: no segment has one.
    """
    if plan.rows[TRANSCRIPT].null_count == plan.num_segments:
        raise ManifestError(
            f"{source} has no transcript, and the model reads text; it takes them from a column "
            "'transcript'"
        )


def _plan_manifest(
    source: str,
    table: pa.Table,
    segments_per_shard: int,
    max_segment_s: float,
    *,
    transcripts: bool,
) -> ShardPlan:
    order, first_rows = cut_by_recording(table, segments_per_shard)
    rows = table.select(["segment_id", "recording", "start_s", "end_s"])
    if transcripts:
        rows = rows.append_column(TRANSCRIPT, transcript_column(source, table))
    return ShardPlan(
        rows=take_rows(rows, order),
        first_rows=first_rows,
        make_shard=lambda inside: RecordingShard(
            segments=tuple(segments(inside)), max_segment_s=max_segment_s
        ),
        max_segment_s=max_segment_s,
    )
