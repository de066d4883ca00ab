"""Reads predictions and metadata into Arrow batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.pvalue import TaggedOutput

from pipelines.transforms.suite_columns import suite_columns
from pipelines.transforms.tables import (
    LEDGER_ROWS,
    MISSING,
    PREDICTION_ROWS,
    slice_column,
    to_batch,
)
from ser_model import storage
from ser_model.manifest import metadata_parts, read_metadata
from ser_model.schema import CLEAN, DIMENSIONS, ManifestError, RunError
from ser_model.table_files import one_line, read_table_file

ROWS_PER_BATCH = 1 << 17
"""Rows of an Arrow batch: some ten megabytes, so that Beam's cost of an element does not show."""

LEDGER = "ledger"
"""Name of the side output that carries counts to the join ledger."""

ERROR = "error"
"""Name in the ledger of what made a file unusable; any such row ends the audit."""

TARGETS = (*DIMENSIONS, "emotion")

_ORIGIN = frozenset({"file", "row"})
"""Columns that say where a row comes from; a file's own of these names are not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionFile:
    """A file of predictions: of a run, or of any other tool.

    Attributes:
        uri: Parquet, CSV, TSV or JSON lines with `segment_id` and at least one of arousal,
            dominance, valence, emotion; `condition` ("clean" where absent) and `model_version` may
            stand beside them.
        model_version: what the model is called in the audit, whatever the file says; None takes
            the file's column, or its name without the extension where it has none.
        has_embeddings: whether it is Parquet with the column `embedding`.
    """

    uri: str
    model_version: str | None = None
    has_embeddings: bool = False


def read_predictions(
    file: PredictionFile,
    schema: pa.Schema = PREDICTION_ROWS,
    prediction_range: tuple[float, float] = (0.0, 1.0),
) -> Iterator[pa.RecordBatch | TaggedOutput[Any, Any]]:
    """Yield batches of rows, and for LEDGER how many rows there are.

    What is wrong with the file goes to the ledger as well, and ends the job there: an exception
    on a worker far away would reach the user as a traceback.

    Args:
        file: what to read.
        schema: PREDICTION_ROWS, or those with further columns of schema.PREDICTIONS.
        prediction_range: scale of the dimensions in the file, mapped to 0..1.
    """
    num_rows = 0
    try:
        for table in _read_tables(file.uri, frozenset(schema.names) - _ORIGIN):
            for batch in _prediction_rows(table, file, num_rows, schema):
                num_rows += batch.num_rows
                yield _on_unit_scale(batch, prediction_range)
    except (RunError, ManifestError) as error:
        yield TaggedOutput(LEDGER, ledger_row(ERROR, 1, str(error)))
    yield TaggedOutput(LEDGER, ledger_row("prediction_rows_read", num_rows))


def read_metadata_rows(
    uri: str,
    slices: Sequence[tuple[str, ...]],
    truth_range: tuple[float, float],
    groupings: Sequence[str] = (),
) -> Iterator[pa.RecordBatch]:
    """Yield batches of `segment_id`, `speaker_id`, truth and the slices that a segment is in.

    Args:
        uri: the metadata.
        slices: metadata columns to slice by, alone or crossed.
        truth_range: scale of the truth.
        groupings: what a suite of tests compares, of `suite_columns.find_groupings`.
    """
    for metadata in _metadata_parts(uri, slices, truth_range, groupings):
        table = metadata_rows(metadata, slices)
        for name, groups in suite_columns(metadata, groupings).items():
            table = table.append_column(name, groups)
        yield from table.to_batches(max_chunksize=ROWS_PER_BATCH)


def check_metadata(
    uri: str,
    slices: Sequence[tuple[str, ...]],
    truth_range: tuple[float, float],
) -> None:
    """Read metadata as the pipeline will, to refuse here and not on a worker far away.

    Raises:
        ManifestError: the metadata cannot be used.
    """
    for _ in _metadata_parts(uri, slices, truth_range, ()):
        pass


def _metadata_parts(
    uri: str,
    slices: Sequence[tuple[str, ...]],
    truth_range: tuple[float, float],
    groupings: Sequence[str],
) -> Iterator[pa.Table]:
    if groupings:  # a speaker's pitch is known only from all rows
        yield read_metadata(uri, truth_range=truth_range)
        return
    columns = {"speaker_id", *TARGETS, *(column for slice_by in slices for column in slice_by)}
    yield from metadata_parts(
        uri, sorted(columns), truth_range=truth_range, rows_per_part=ROWS_PER_BATCH
    )


def ledger_row(name: str, num_segments: int, detail: str | None = None) -> pa.RecordBatch:
    """Return one count that belongs to no model."""
    row = {
        "model_version": "",
        "condition": "",
        "name": name,
        "num_segments": num_segments,
        "detail": detail,
    }
    return pa.RecordBatch.from_pylist([row], schema=LEDGER_ROWS)


def metadata_rows(table: pa.Table, slices: Sequence[tuple[str, ...]]) -> pa.Table:
    """Return what the audit needs of the metadata: ids, truth, and a column for each `slices`."""
    columns: dict[str, pa.Array] = {"segment_id": table.column("segment_id")}
    columns["speaker_id"] = _named(table, "speaker_id")
    for target in TARGETS:
        kind = pa.string() if target == "emotion" else pa.float64()
        columns[target] = _column(table, target, kind)
    columns[slice_column(())] = pa.repeat("", table.num_rows)
    for slice_by in filter(None, slices):
        parts = [pc.binary_join_element_wise(c, _named(table, c), "=") for c in slice_by]
        columns[slice_column(slice_by)] = pc.binary_join_element_wise(*parts, ",")
    columns["emotion"] = _null_if_empty(columns["emotion"])
    return pa.table(columns)


def name_rows(
    columns: Mapping[str, pa.ChunkedArray | pa.Array], file: PredictionFile
) -> dict[str, pa.ChunkedArray | pa.Array]:
    """Return columns of a file with `model_version` and `condition` as the audit calls them."""
    version, condition = columns["model_version"], columns["condition"]
    stem = storage.name(file.uri).rpartition(".")[0]
    if file.model_version is not None:
        version = pa.nulls(len(version), pa.string())
    return {
        **columns,
        "model_version": pc.fill_null(version, file.model_version or stem),
        "condition": pc.fill_null(condition, CLEAN),
    }


def _read_tables(uri: str, columns: frozenset[str]) -> Iterator[pa.Table]:
    if not uri.lower().endswith(".parquet"):
        table = read_table_file(uri)
        yield table.select([c for c in table.column_names if c in columns])
        return
    try:
        with storage.open_binary(uri) as stream:
            file = pq.ParquetFile(stream)
            wanted = [c for c in file.schema_arrow.names if c in columns]
            if not file.metadata.num_rows:
                yield file.read(columns=wanted)
            for batch in file.iter_batches(batch_size=ROWS_PER_BATCH, columns=wanted):
                yield pa.Table.from_batches([batch])
    except FileNotFoundError as error:
        raise RunError(f"{uri} does not exist") from error
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{uri} cannot be read: {one_line(error)}") from error


def _prediction_rows(
    table: pa.Table, file: PredictionFile, first_row: int, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    if "segment_id" not in table.column_names:
        raise RunError(f"{file.uri} has no column 'segment_id'")
    if not set(TARGETS) & set(table.column_names):
        raise RunError(f"{file.uri} has none of the columns {', '.join(TARGETS)}")
    columns = {}
    for field in (field for field in schema if field.name not in _ORIGIN):
        try:
            columns[field.name] = _column(table, field.name, field.type)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise RunError(f"{file.uri}: column {field.name!r}: {one_line(error)}") from error
    columns |= name_rows(columns, file)
    columns["emotion"] = _null_if_empty(columns["emotion"])
    columns["file"] = pa.repeat(file.uri, table.num_rows)
    columns["row"] = pa.array(np.arange(first_row, first_row + table.num_rows))
    whole = pa.table(columns, schema=schema)
    yield from whole.to_batches(max_chunksize=ROWS_PER_BATCH) or [to_batch(whole)]


def _on_unit_scale(batch: pa.RecordBatch, scale: tuple[float, float]) -> pa.RecordBatch:
    low, high = scale
    if (low, high) == (0.0, 1.0):
        return batch
    for name in DIMENSIONS:
        mapped = pc.divide(pc.subtract(batch.column(name), low), high - low)
        batch = batch.set_column(
            batch.schema.get_field_index(name), batch.schema.field(name), mapped
        )
    return batch


def _column(table: pa.Table, name: str, kind: pa.DataType) -> pa.ChunkedArray | pa.Array:
    if name not in table.column_names:
        return pa.nulls(table.num_rows, kind)
    values = table.column(name)
    if pa.types.is_map(kind) and not pa.types.is_map(values.type):
        return pa.array([_as_map(value) for value in values.to_pylist()], kind)
    return values.cast(kind)


def _as_map(value: object) -> dict[str, float] | None:
    """Return what CSV holds as JSON, and JSON lines as objects that share all their keys."""
    found = json.loads(value) if isinstance(value, str) else value
    if found is None:
        return None
    if not isinstance(found, dict):
        raise ValueError(f"{value!r} is no map")
    return {name: float(score) for name, score in found.items() if score is not None}


def _named(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    """A column as text, with MISSING for what is absent."""
    return pc.fill_null(_null_if_empty(_column(table, name, pa.string())), MISSING)


def _null_if_empty(strings: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    return pc.if_else(pc.equal(strings, ""), pa.scalar(None, pa.string()), strings)
