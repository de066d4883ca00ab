"""ESC-50, environmental sounds of 50 classes: sounds to mix in, or to score by themselves.

Obtain it from https://github.com/karolpiczak/ESC-50. Licence: CC BY-NC. Paper: Piczak, "ESC:
Dataset for Environmental Sound Classification", ACM Multimedia 2015.

meta/esc50.csv names the files in audio/. `sound_class` is the class that conditions know the file
by when its folder is their noise folder; the table's other columns are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import pyarrow as pa

from orchestration.readers.expectation import Expectation
from orchestration.readers.source import refuse_missing_columns
from ser_model import storage
from ser_model.schema import ManifestError
from ser_model.table_files import read_table_file

LAYOUT = "ESC-50 (meta/esc50.csv, audio/)"

EXPECTED = (Expectation(description="ESC-50", num_segments=2000, source="Piczak 2015"),)

_TABLE = ("meta", "esc50.csv")
_NAMES = {"filename": "recording", "category": "sound_class"}


def matches(source: str, files: Sequence[str]) -> bool:  # noqa: ARG001  the readers' interface
    """Tell whether ESC-50's table is there."""
    return bool(_tables(files))


def read(source: str, files: Sequence[str]) -> pa.Table:
    """Read the corpus: one row a file that the table names.

    Raises:
        ManifestError: the table is absent, there twice, or broken.
    """
    tables = _tables(files)
    if len(tables) != 1:
        raise ManifestError(
            f"{source} should hold meta/esc50.csv once, and holds {', '.join(tables) or 'none'}"
        )
    uri = storage.join(source, tables[0])
    table = read_table_file(uri)
    refuse_missing_columns(uri, table, *_NAMES)
    folder = PurePosixPath(tables[0]).parent.parent / "audio"
    recordings = [file and str(folder / file) for file in table["filename"].to_pylist()]
    table = table.rename_columns([_NAMES.get(column, column) for column in table.column_names])
    at = table.column_names.index("recording")
    return table.set_column(at, "recording", pa.array(recordings, pa.string()))


def _tables(files: Sequence[str]) -> list[str]:
    return [file for file in files if PurePosixPath(file).parts[-2:] == _TABLE]
