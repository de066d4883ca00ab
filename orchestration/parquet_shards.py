"""Shards that are Parquet files: folders made by ``serval pack``, and files from elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestration.shard_plan import (
    TRANSCRIPT,
    SegmentAudio,
    ShardPlan,
    Waveform,
    cut_by_recording,
    refuse_duplicates,
    take_rows,
    transcript_column,
)
from ser_model import storage
from ser_model.audio import decode_audio
from ser_model.manifest import select_split
from ser_model.schema import MAX_SEGMENT_S, ManifestError, Reason, RunError, SegmentError, Stage

ROWS_PER_READ = 16
"""Rows whose audio is in memory as bytes at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetShard:
    """Segments whose audio stands in a Parquet file.

    Attributes:
        uri: the file.
        row_groups: those of its row groups that hold the segments; None for all.
        rejections_uri: what `serval pack` could not pack of this shard, or None.
        segment_ids: the segments to score; others in the file are passed over.
        max_segment_s: longer segments are rejected.
    """

    uri: str
    segment_ids: tuple[str, ...]
    row_groups: tuple[int, ...] | None = None
    rejections_uri: str | None = None
    max_segment_s: float = MAX_SEGMENT_S

    def read(self) -> Iterator[SegmentAudio]:
        """Read and decode a few rows at a time, then tell what packing had rejected."""
        wanted = set(self.segment_ids)
        with storage.open_binary(self.uri) as file:
            parquet = pq.ParquetFile(file)
            batches = parquet.iter_batches(
                batch_size=ROWS_PER_READ,
                row_groups=self.row_groups,
                columns=[c for c in ("segment_id", "audio") if c in parquet.schema_arrow.names],
            )
            for row in (row for batch in batches for row in batch.to_pylist()):
                segment_id = row["segment_id"] if "segment_id" in row else row["audio"]["path"]
                if segment_id in wanted:
                    yield segment_id, _decode(row["audio"], self.max_segment_s)
        if self.rejections_uri is not None:
            for row in storage.read_table(self.rejections_uri).to_pylist():
                if row["segment_id"] in wanted:
                    error = SegmentError(Stage(row["stage"]), Reason(row["reason"]), row["detail"])
                    yield row["segment_id"], error

    def only(self, segment_ids: Collection[str]) -> Self:
        """Return the part of the shard with these segments alone."""
        wanted = frozenset(segment_ids)
        return replace(self, segment_ids=tuple(i for i in self.segment_ids if i in wanted))

    def parts(self, num_segments: int) -> Iterator[tuple[Self, int]]:
        """Cut between row groups, which the file's footer tells; what was rejected comes last."""
        with storage.open_binary(self.uri) as file:
            metadata = pq.ParquetFile(file).metadata
            num_rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        groups = range(len(num_rows)) if self.row_groups is None else self.row_groups
        gathered: list[int] = []
        for group in groups:
            gathered.append(group)
            rows = sum(num_rows[i] for i in gathered)
            if rows >= num_segments and group != groups[-1]:
                # All ids of the shard stay: they only tell which rows of a group are wanted.
                yield replace(self, row_groups=tuple(gathered), rejections_uri=None), rows
                gathered = []
        yield replace(self, row_groups=tuple(gathered)), sum(num_rows[i] for i in gathered)


def plan_packed(
    source: str, split: str | None, max_segment_s: float, *, transcripts: bool = False
) -> ShardPlan:
    """Plan the scoring of a folder made by ``serval pack``: its shards are the shards.

    Nothing but its manifest is read: the rule by which packing cut it into shards is applied again.

    Raises:
        RunError: packing was not finished, or by another version.
        ManifestError: the split is not in the manifest.
    """
    pack = _read_pack(source)
    manifest = storage.read_table(storage.join(source, "manifest.parquet"))
    order, first_rows = cut_by_recording(manifest, pack["segments_per_shard"])
    num_shards = len(first_rows) - 1
    if num_shards != pack["num_shards"]:
        raise RunError(f"{source}: another version of Serval packed it; pack again elsewhere")
    file_numbers = np.repeat(np.arange(num_shards, dtype=np.int32), np.diff(first_rows))
    columns = ["segment_id", "file_number"]
    if transcripts:
        column = transcript_column(source, manifest)
        manifest = _without(manifest, TRANSCRIPT).append_column(TRANSCRIPT, column)
        columns.append(TRANSCRIPT)
    rows = select_split(
        take_rows(manifest, order).append_column("file_number", pa.array(file_numbers)), split
    ).select(columns)
    names = frozenset(storage.list_names(source))
    return ShardPlan(
        rows=rows,
        first_rows=_first_rows(rows.column("file_number")),
        make_shard=lambda inside: _packed_shard(source, names, inside, max_segment_s),
        max_segment_s=max_segment_s,
    )


def _without(table: pa.Table, column: str) -> pa.Table:
    return table.drop_columns(column) if column in table.column_names else table


def _read_pack(source: str) -> dict[str, Any]:
    try:
        return storage.read_json(storage.join(source, "pack.json"))
    except FileNotFoundError as error:
        message = f"{source}: packing was not finished; run the same `serval pack` again"
        raise RunError(message) from error


def _packed_shard(
    source: str, names: Container[str], rows: pa.Table, max_segment_s: float
) -> ParquetShard:
    number = rows.column("file_number")[0].as_py()
    rejections = f"rejections-{number:05d}.parquet"
    return ParquetShard(
        uri=storage.join(source, f"shard-{number:05d}.parquet"),
        segment_ids=tuple(rows.column("segment_id").to_pylist()),
        rejections_uri=storage.join(source, rejections) if rejections in names else None,
        max_segment_s=max_segment_s,
    )


def _first_rows(numbers: pa.ChunkedArray) -> list[int]:
    """Return where each run of equal numbers begins, and the end; the numbers are ascending."""
    num_rows = np.bincount(numbers.to_numpy())
    return [0, *np.cumsum(num_rows[num_rows > 0]).tolist()]


def has_audio_column(source: str) -> bool:
    """Tell whether a Parquet file is a shard rather than a manifest, by its schema alone."""
    try:
        with storage.open_binary(source) as file:
            names = pq.read_schema(file).names
    except (OSError, pa.ArrowException):
        return False  # reading it as a manifest says what is wrong
    return "audio" in names and "recording" not in names


def with_segment_id(source: str, table: pa.Table) -> pa.Table:
    """Return rows of such a file with `segment_id`: its own, or the path that the audio had.

    Args:
        source: the file, for messages.
        table: with `segment_id`, or with `audio` of which `path` is enough.

    Raises:
        ManifestError: they have neither.
    """
    if "segment_id" in table.column_names:
        return table
    audio = table["audio"].type if "audio" in table.column_names else pa.null()
    if pa.types.is_struct(audio) and audio.get_field_index("path") >= 0:
        paths = pc.struct_field(table["audio"], "path")
        if paths.null_count == 0:
            return table.append_column("segment_id", paths)
    raise ManifestError(
        f"{source} has audio but no column 'segment_id', nor a path of each audio; add one"
    )


def plan_parquet(
    source: str, split: str | None, max_segment_s: float, *, transcripts: bool = False
) -> ShardPlan:
    """Plan the scoring of a Parquet file with audio in it: each of its row groups is a shard.

    Raises:
        ManifestError: its rows cannot be told apart.
    """
    with storage.open_binary(source) as opened:
        file = pq.ParquetFile(opened)
        names = file.schema_arrow.names
        columns = [c for c in ("split", *([TRANSCRIPT] if transcripts else [])) if c in names]
        columns.append("segment_id" if "segment_id" in names else "audio.path")
        groups = [file.read_row_group(g, columns=columns) for g in range(file.num_row_groups)]
    table = pa.concat_tables(
        group.append_column("row_group", pa.array([number] * group.num_rows, pa.int32()))
        for number, group in enumerate(groups)
    )
    if table.num_rows == 0:
        raise ManifestError(f"{source} has no rows")
    table = select_split(with_segment_id(source, table), split)
    rows = table.select(["segment_id", "row_group"])
    if transcripts:
        rows = rows.append_column(TRANSCRIPT, transcript_column(source, table))
    refuse_duplicates(source, rows)
    return ShardPlan(
        rows=rows,
        first_rows=_first_rows(rows.column("row_group")),
        make_shard=lambda rows: ParquetShard(
            uri=source,
            segment_ids=tuple(rows.column("segment_id").to_pylist()),
            row_groups=(rows.column("row_group")[0].as_py(),),
            max_segment_s=max_segment_s,
        ),
        max_segment_s=max_segment_s,
    )


def _decode(audio: Mapping[str, object] | None, max_segment_s: float) -> Waveform | SegmentError:
    data = audio and audio.get("bytes")
    if not isinstance(data, bytes):
        detail = "the row holds no audio bytes"
        return SegmentError(Stage.READ, Reason.EMPTY_RECORDING, detail)
    try:
        return decode_audio(data, max_segment_s=max_segment_s)
    except SegmentError as error:
        return error
