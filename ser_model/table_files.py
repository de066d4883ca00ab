"""Tables in files: Parquet, CSV, TSV and JSON lines, told by the extension."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from ser_model import storage
from ser_model.schema import ManifestError

MAX_BYTES = 1 << 32
"""Largest table that is read: 4 GiB, some ten million rows."""

EXTENSIONS = (".parquet", ".csv", ".tsv", ".jsonl")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def read_table_file(uri: str) -> pa.Table:
    """Read a table; every column of CSV and TSV is text, with null where a field is empty.

    Raises:
        ManifestError: the file is missing, unreadable, empty, or not what its extension says.
    """
    extension = _extension(uri)
    try:
        data = storage.read_bytes(uri, max_bytes=MAX_BYTES)
    except FileNotFoundError as error:
        raise ManifestError(f"{uri} does not exist") from error
    except OSError as error:
        raise ManifestError(f"{uri} cannot be read: {one_line(error)}") from error
    if not data.strip():
        raise ManifestError(f"{uri} is empty")
    try:
        if extension == ".parquet":
            table = pq.read_table(pa.BufferReader(data))
        elif extension == ".jsonl":
            table = pa_json.read_json(pa.BufferReader(data))
        else:
            table = _read_csv(data, _DELIMITERS[extension])
    except (pa.ArrowException, OSError, csv.Error, UnicodeDecodeError) as error:
        raise ManifestError(f"{uri} is not valid {extension[1:]}: {one_line(error)}") from error
    _refuse_twin_columns(uri, table.column_names)
    return table


def table_file_columns(uri: str) -> list[str]:
    """Return the names of the columns of a table; of Parquet without reading it.

    Raises:
        ManifestError: as `read_table_file`.
    """
    if _extension(uri) != ".parquet":
        return list(read_table_file(uri).column_names)
    with _open_parquet(uri) as file:
        return list(file.schema_arrow.names)


def table_file_parts(uri: str, columns: Sequence[str], rows_per_part: int) -> Iterator[pa.Table]:
    """Read columns of a Parquet file a part at a time; never all of it is in memory.

    Raises:
        ManifestError: the file is missing, unreadable, has no rows, or is no Parquet.
    """
    with _open_parquet(uri) as file:
        if not file.metadata.num_rows:
            raise ManifestError(f"{uri} has no rows")
        for batch in file.iter_batches(batch_size=rows_per_part, columns=list(columns)):
            yield pa.Table.from_batches([batch])


@contextmanager
def _open_parquet(uri: str) -> Iterator[pq.ParquetFile]:
    try:
        with storage.open_binary(uri) as stream:
            file = pq.ParquetFile(stream)
            _refuse_twin_columns(uri, file.schema_arrow.names)
            yield file
    except FileNotFoundError as error:
        raise ManifestError(f"{uri} does not exist") from error
    except OSError as error:
        raise ManifestError(f"{uri} cannot be read: {one_line(error)}") from error
    except pa.ArrowException as error:
        raise ManifestError(f"{uri} is not valid parquet: {one_line(error)}") from error


def _refuse_twin_columns(uri: str, columns: Sequence[str]) -> None:
    for column in columns:
        if columns.count(column) > 1:
            raise ManifestError(f"{uri} has the column {column!r} more than once")


def write_table_file(uri: str, table: pa.Table) -> None:
    """Write a table in the format of its extension, atomically.

    Raises:
        ManifestError: the extension is unknown, or the format cannot hold a column.
    """
    extension = _extension(uri)
    if extension == ".parquet":
        storage.write_table(uri, table)
    elif extension == ".jsonl":
        storage.write_atomic(uri, _json_lines(table))
    else:
        buffer = io.BytesIO()
        try:
            options = pa_csv.WriteOptions(delimiter=_DELIMITERS[extension], quoting_style="needed")
            pa_csv.write_csv(table, buffer, options)
        except pa.ArrowException as error:
            raise ManifestError(f"{uri}: {one_line(error)}; write .parquet instead") from error
        storage.write_atomic(uri, buffer.getvalue())


def text_column(uri: str, column: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as text.

    Args:
        uri: where it comes from, for messages.
        column: its name, likewise.
        values: text, or what can be written as such.

    Raises:
        ManifestError: it is no text, or not in UTF-8; the message names the row.
    """
    try:
        # By way of bytes: where a file says that it holds text, only a cast to text checks it.
        return values.cast(pa.string()).cast(pa.binary()).cast(pa.string())
    except pa.ArrowException as error:
        for row, value in enumerate(values, start=1):
            try:
                value.cast(pa.string()).cast(pa.binary()).cast(pa.string())
            except pa.ArrowException:
                raise ManifestError(
                    f"{uri}, row {row}: {column} is no text in UTF-8; save the file in UTF-8"
                ) from error
        raise ManifestError(f"{uri}: column {column!r} is not text: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message, all that fits into ours."""
    return str(error).partition("\n")[0]


def _read_csv(data: bytes, delimiter: str) -> pa.Table:
    first_line = data.lstrip(b"\r\n").split(b"\n", 1)[0].decode("utf-8-sig").rstrip("\r")
    header = next(csv.reader([first_line], delimiter=delimiter, strict=True))
    table = pa_csv.read_csv(
        pa.BufferReader(data),
        read_options=pa_csv.ReadOptions(use_threads=False),  # messages then name the line
        parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )
    last = table.column(table.num_columns - 1)[-1].as_py() if len(table) else None
    if last is not None and "\n" in last and not data.rstrip().endswith(b'"'):
        # Arrow takes all that follows such a quote for one field, many rows perhaps.
        raise csv.Error(f"the quote before {last[:30]!r} is not closed")
    return table


def _json_lines(table: pa.Table) -> bytes:
    lines = []
    for row in table.to_pylist():
        # JSON has no NaN (the one value that differs from itself); null says the same here.
        known = {column: None if value != value else value for column, value in row.items()}
        lines.append(json.dumps(known, ensure_ascii=False, allow_nan=False) + "\n")
    return "".join(lines).encode()


def _extension(uri: str) -> str:
    extension = Path(storage.name(uri)).suffix.lower()
    if extension not in EXTENSIONS:
        raise ManifestError(f"{uri}: the name of a table must end in {', '.join(EXTENSIONS)}")
    return extension
