"""Audio with a table beside it (labels.csv): one row a segment, every further column is kept."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from orchestration.readers.source import with_extension
from ser_model import storage
from ser_model.schema import ManifestError
from ser_model.table_files import EXTENSIONS, read_table_file

LAYOUT = "a table with a column file, path, filename or recording, or a folder that holds one"

RECORDING_COLUMNS = ("recording", "file", "path", "filename")
"""Names under which tables keep their recordings; the first that is there counts."""


def matches(source: str, files: Sequence[str]) -> bool:
    """Tell whether the source is a table, or a folder with one that names recordings."""
    return bool(with_extension([source], *EXTENSIONS) or _tables(source, files))


def read(source: str, files: Sequence[str]) -> pa.Table:
    """Read the corpus: the table, with its column of recordings named so.

    Raises:
        ManifestError: there is no table, more than one, or none that names recordings.
    """
    if not files:
        return _named(source, read_table_file(source))
    tables = _tables(source, files)
    if len(tables) != 1:
        found = ", ".join(tables) or "none"
        raise ManifestError(
            f"{source} should hold one table with a column {' or '.join(RECORDING_COLUMNS)}, and "
            f"holds {found}; name the table itself"
        )
    uri = storage.join(source, tables[0])
    return _named(uri, read_table_file(uri))


def _tables(source: str, files: Sequence[str]) -> list[str]:
    # Only directly in the folder: its recordings are relative to it.
    candidates = [file for file in with_extension(files, *EXTENSIONS) if "/" not in file]
    return [
        file
        for file in candidates
        if _recording_column(read_table_file(storage.join(source, file))) is not None
    ]


def _recording_column(table: pa.Table) -> str | None:
    return next((c for c in RECORDING_COLUMNS if c in table.column_names), None)


def _named(uri: str, table: pa.Table) -> pa.Table:
    column = _recording_column(table)
    if column is None:
        raise ManifestError(
            f"{uri} has no column {' or '.join(RECORDING_COLUMNS)} "
            f"(it has {', '.join(table.column_names)})"
        )
    return table.rename_columns(["recording" if c == column else c for c in table.column_names])
