"""Pack recordings into shards: the segments of a manifest as 16 kHz mono FLAC in Parquet files.

Shards are planned from the manifest alone; audio is never listed. A shard holds whole recordings,
so each is opened and decoded once, by one worker, which keeps no more than its shard in memory.
What crosses Beam are plans and counts, never audio. The folder holds, in the order of writing:

    pack-plan.json              what is packed; another manifest is refused here from then on
    manifest.parquet            the packed rows with all their metadata
    rejections-00000.parquet    beside its shard, where a segment has no audio
    shard-00000.parquet         schema.SHARD; a shard that is there is complete, and not made again
    pack.json                   the counts; where it is, the pack is complete
"""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.runner import open_pipeline
from ser_model import storage
from ser_model.audio import SAMPLING_RATE_HZ, encode_flac, read_segments
from ser_model.manifest import segments
from ser_model.schema import MAX_SEGMENT_S, SCHEMA_VERSION, SHARD, RunError, Segment, SegmentError

SEGMENTS_PER_SHARD = 256
"""At 5 s a segment about 20 MB of FLAC: some seconds of work to lose, and few files to list."""

SEGMENTS_PER_ROW_GROUP = 32
"""A row group is read in one piece: this bounds a reader's memory, and readers can share shards."""

PLAN, MANIFEST, SUMMARY = "pack-plan.json", "manifest.parquet", "pack.json"

REJECTED = pa.schema(
    [
        pa.field(name, pa.string(), nullable=False)
        for name in ("segment_id", "stage", "reason", "detail")
    ]
)
"""A segment that could not be packed; scoring adds the conditions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedShard:
    """The segments of one shard, those of a recording side by side."""

    index: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackSummary:
    """What was packed: every segment is either packed or rejected."""

    num_shards: int
    num_segments: int
    num_packed: int
    num_rejected: int


def pack(
    manifest: pa.Table,
    output: str,
    *,
    segments_per_shard: int = SEGMENTS_PER_SHARD,
    max_segment_s: float = MAX_SEGMENT_S,
    beam_options: Sequence[str] = (),
) -> PackSummary:
    """Pack a manifest into the folder `output`; what an earlier run finished there is kept.

    Args:
        manifest: as `read_manifest` returns it.
        output: folder, local or any URI.
        segments_per_shard: a shard ends behind the recording that reaches this number.
        max_segment_s: longer segments are rejected.
        beam_options: for the Beam runner, such as "--direct_num_workers=4".

    Raises:
        RunError: the folder holds the pack of another manifest, or was packed otherwise.
        ConfigError: Beam does not know the runner.
    """
    plans = plan_shards(segments(manifest), segments_per_shard)
    manifest_bytes = _parquet_bytes(manifest)
    plan = {
        "manifest_sha256": hashlib.sha256(manifest_bytes).hexdigest(),
        "max_segment_s": max_segment_s,
        "num_segments": len(manifest),
        "num_shards": len(plans),
        "schema_version": SCHEMA_VERSION,
        "segments_per_shard": segments_per_shard,
    }
    _claim(output, plan)
    summary_uri = storage.join(output, SUMMARY)
    if not storage.exists(summary_uri):
        storage.write_atomic(storage.join(output, MANIFEST), manifest_bytes)
        with open_pipeline(beam_options) as pipeline:
            _ = (
                pipeline
                | "Plan" >> beam.Create(plans)
                | "Spread" >> beam.Reshuffle()
                | "PackShard" >> beam.ParDo(PackShardFn(output, max_segment_s))
                | "Count" >> beam.CombineGlobally(sum)
                | "Complete" >> beam.Map(_complete, output=output, plan=plan)
            )
    written = storage.read_json(summary_uri)
    return PackSummary(**{name: written[name] for name in PackSummary.__dataclass_fields__})


def plan_shards(segments: Sequence[Segment], segments_per_shard: int) -> list[PlannedShard]:
    """Group segments into shards of whole recordings, in the order in which recordings appear.

    >>> first, second = (Segment(segment_id=i, recording=f"{i}.wav") for i in "ab")
    >>> [plan.index for plan in plan_shards([first, second], 1)]
    [0, 1]
    """
    by_recording: dict[str, list[Segment]] = {}
    for segment in segments:
        by_recording.setdefault(segment.recording, []).append(segment)
    plans: list[PlannedShard] = []
    gathered: list[Segment] = []
    for position, of_recording in enumerate(by_recording.values(), start=1):
        gathered += of_recording
        if len(gathered) >= segments_per_shard or position == len(by_recording):
            plans.append(PlannedShard(index=len(plans), segments=tuple(gathered)))
            gathered = []
    return plans


class PackShardFn(beam.DoFn):
    """Decodes the recordings of a shard, writes it, and emits how many segments it holds."""

    def __init__(self, output: str, max_segment_s: float) -> None:
        """Write below the folder `output`, and reject segments longer than `max_segment_s`."""
        self._output = output
        self._max_segment_s = max_segment_s

    def process(self, element: PlannedShard) -> Iterator[int]:
        """Make the shard, or count the one that an earlier attempt has made."""
        shard_uri = storage.join(self._output, f"shard-{element.index:05d}.parquet")
        if not storage.exists(shard_uri):
            shard, rejections = _pack_shard(element, self._max_segment_s)
            # The shard comes last: it says that both are there.
            if len(rejections):
                name = f"rejections-{element.index:05d}.parquet"
                storage.write_table(storage.join(self._output, name), rejections)
            storage.write_atomic(shard_uri, _parquet_bytes(shard, SEGMENTS_PER_ROW_GROUP))
            yield len(shard)
        else:
            with storage.open_binary(shard_uri) as file:
                yield pq.ParquetFile(file).metadata.num_rows


def _pack_shard(plan: PlannedShard, max_segment_s: float) -> tuple[pa.Table, pa.Table]:
    rows: dict[str, dict[str, object]] = {}
    rejections: list[dict[str, str]] = []
    for recording, of_recording in itertools.groupby(plan.segments, lambda s: s.recording):
        results = read_segments(recording, list(of_recording), max_segment_s=max_segment_s)
        for segment, result in results:
            segment_id = segment.segment_id
            if isinstance(result, SegmentError):
                why = {"stage": result.stage, "reason": result.reason, "detail": result.detail}
                rejections.append({"segment_id": segment_id, **why})
            else:
                rows[segment_id] = {
                    "segment_id": segment_id,
                    "audio": {"bytes": encode_flac(result), "path": None},
                    "sampling_rate_hz": SAMPLING_RATE_HZ,
                    "num_samples": len(result),
                }
    assert len(rows) + len(rejections) == len(plan.segments)
    in_order = [rows[s.segment_id] for s in plan.segments if s.segment_id in rows]
    return (
        pa.Table.from_pylist(in_order, schema=SHARD),
        pa.Table.from_pylist(rejections, schema=REJECTED),
    )


def _claim(output: str, plan: dict[str, object]) -> None:
    """Make the folder ours, or make sure that it holds this very pack."""
    plan_uri = storage.join(output, PLAN)
    if storage.create_if_absent(plan_uri, storage.to_json_bytes(plan)):
        return
    try:
        found = storage.read_json(plan_uri)
    except ValueError as error:
        raise RunError(f"{plan_uri} cannot be read ({error}); pack into another folder") from error
    differing = sorted(key for key in plan if found.get(key) != plan[key])
    if differing:
        raise RunError(
            f"{output} holds another pack (differs in {', '.join(differing)}); "
            "pack into another folder, or remove this one"
        )


def _complete(num_packed: int, *, output: str, plan: dict[str, Any]) -> None:
    summary = PackSummary(
        num_shards=plan["num_shards"],
        num_segments=plan["num_segments"],
        num_packed=num_packed,
        num_rejected=plan["num_segments"] - num_packed,
    )
    storage.write_json(storage.join(output, SUMMARY), {**plan, **asdict(summary)})


def _parquet_bytes(table: pa.Table, row_group_size: int | None = None) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(
        table.combine_chunks(), buffer, compression="zstd", row_group_size=row_group_size
    )
    return buffer.getvalue()
