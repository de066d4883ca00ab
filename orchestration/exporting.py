"""The committed rows of a run as one table in one file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from orchestration.committed import committed_files, read_in_order
from ser_model import storage
from ser_model.large_file import write_large
from ser_model.schema import REJECTIONS, ConfigError

PIECE_BYTES = 32 << 20
"""Rows that are written at a time: about 100,000, or 7,000 with embeddings; a row group each."""


def export(run_uri: str, file: str, *, rejections: bool = False) -> int:
    """Write the rows of a complete run, in the order of its shards.

    Shard after shard is read and written, so that memory does not depend on the size of the run.

    Args:
        run_uri: folder of the run.
        file: .parquet, .csv or .jsonl; CSV holds maps and lists as JSON.
        rejections: the rejections instead of what was made.

    Returns:
        How many rows there are.

    Raises:
        RunError: the run is absent or incomplete.
        ConfigError: the format is unknown.
    """
    extension = PurePosixPath(storage.name(file)).suffix.lower()
    if extension not in WRITERS:
        raise ConfigError(f"{file}: the name must end in one of {', '.join(WRITERS)}")
    committed = committed_files(run_uri, product=None)
    schema = REJECTIONS if rejections else committed.schema
    tables = read_in_order(committed.rejections if rejections else committed.predictions)
    num_rows = 0

    def pieces() -> Iterator[pa.Table]:
        nonlocal num_rows
        for piece in _gather(table.cast(schema) for table in tables):
            num_rows += piece.num_rows
            yield piece

    with write_large(file) as output:
        WRITERS[extension](output, schema, pieces())
    return num_rows


def _gather(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Put small tables together, until they are worth writing."""
    waiting: list[pa.Table] = []
    num_bytes = 0
    for table in tables:
        waiting.append(table)
        num_bytes += table.nbytes
        if num_bytes >= PIECE_BYTES:
            yield pa.concat_tables(waiting)
            waiting, num_bytes = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def _write_parquet(output: BinaryIO, schema: pa.Schema, pieces: Iterable[pa.Table]) -> None:
    with pq.ParquetWriter(output, schema, compression="zstd") as writer:
        for piece in pieces:
            writer.write_table(piece, row_group_size=piece.num_rows)


def _write_jsonl(output: BinaryIO, schema: pa.Schema, pieces: Iterable[pa.Table]) -> None:  # noqa: ARG001  as the others
    for piece in pieces:
        for batch in piece.to_batches():
            for row in batch.to_pylist(maps_as_pydicts="strict"):
                output.write(f"{json.dumps(row, ensure_ascii=False)}\n".encode())


def _write_csv(output: BinaryIO, schema: pa.Schema, pieces: Iterable[pa.Table]) -> None:
    flat = pa.schema(
        [f.with_type(pa.string()) if pa.types.is_nested(f.type) else f for f in schema]
    )
    with pa_csv.CSVWriter(output, flat) as writer:
        for piece in pieces:
            writer.write_table(pa.table([_flat(column) for column in piece.columns], schema=flat))


def _flat(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Return lists and maps as JSON, everything else as it is."""
    if not pa.types.is_nested(column.type):
        return column
    values = column.to_pylist(maps_as_pydicts="strict")
    return pa.array([None if value is None else json.dumps(value) for value in values], pa.string())


WRITERS: dict[str, Callable[[BinaryIO, pa.Schema, Iterable[pa.Table]], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
}
"""What writes a file of each extension."""
