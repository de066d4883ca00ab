"""The committed rows of a run as one table in one file."""

from __future__ import annotations

import io
import json
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.csv as pa_csv

from orchestration.committed import committed_files
from orchestration.tables import predictions_schema
from ser_model import storage
from ser_model.schema import REJECTIONS, ConfigError

FORMATS = (".parquet", ".csv", ".jsonl")


def export(run_uri: str, file: str, *, rejections: bool = False) -> int:
    """Write the rows of a complete run, in the order of its shards.

    Args:
        run_uri: folder of the run.
        file: .parquet, .csv or .jsonl; CSV holds maps and lists as JSON.
        rejections: the rejections instead of the predictions.

    Returns:
        How many rows there are.

    Raises:
        RunError: the run is absent or incomplete.
        ConfigError: the format is unknown.
    """
    extension = PurePosixPath(storage.name(file)).suffix.lower()
    if extension not in FORMATS:
        raise ConfigError(f"{file}: the name must end in one of {', '.join(FORMATS)}")
    committed = committed_files(run_uri)
    embeddings = committed.run["identity"]["embeddings"]
    schema = REJECTIONS if rejections else predictions_schema(embeddings=embeddings)
    uris = committed.rejections if rejections else committed.predictions
    table = pa.concat_tables(
        [schema.empty_table(), *(storage.read_table(uri).cast(schema) for uri in uris)]
    )
    if extension == ".parquet":
        storage.write_table(file, table)
    else:
        storage.write_atomic(file, _csv(table) if extension == ".csv" else _jsonl(table))
    return int(table.num_rows)


def _jsonl(table: pa.Table) -> bytes:
    lines = []
    for batch in table.to_batches():
        for row in batch.to_pylist(maps_as_pydicts="strict"):
            lines.append(f"{json.dumps(row, ensure_ascii=False)}\n")  # noqa: PERF401  clearer so
    return "".join(lines).encode()


def _csv(table: pa.Table) -> bytes:
    for number, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            values = table.column(number).to_pylist(maps_as_pydicts="strict")
            texts = [None if value is None else json.dumps(value) for value in values]
            table = table.set_column(number, field.name, pa.array(texts, pa.string()))
    buffer = io.BytesIO()
    pa_csv.write_csv(table, buffer)
    return buffer.getvalue()
