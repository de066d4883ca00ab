"""What a corpus on disk consists of."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from ser_model import storage
from ser_model.schema import ManifestError

MAX_TEXT_BYTES = 1 << 28
"""Largest text file of a corpus that is read: 256 MiB."""

AUDIO_EXTENSIONS = (
    ".wav",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".aif",
    ".aiff",
    ".au",
    ".w64",
)
"""File names that libsndfile can read, in lower case."""


def folder_of(source: str, files: Sequence[str]) -> str:
    """Return the corpus's folder: the source, or the folder of a source that is a file."""
    return source if files else storage.parent(source)


def with_extension(files: Sequence[str], *extensions: str) -> list[str]:
    """Return the files whose names end so, in any case.

    >>> with_extension(["a.WAV", "b.txt"], ".wav", ".flac")
    ['a.WAV']
    """
    return [file for file in files if file.lower().endswith(extensions)]


def read_lines(uri: str, *, errors: str = "strict") -> list[str]:
    """Return the lines of a text file in UTF-8.

    Args:
        uri: file.
        errors: what is done about bytes that are not UTF-8, as in `bytes.decode`.

    Raises:
        ManifestError: the file cannot be read.
    """
    try:
        data = storage.read_bytes(uri, max_bytes=MAX_TEXT_BYTES)
        return data.decode("utf-8-sig", errors).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{uri} cannot be read: {error}") from error


def refuse_missing_columns(uri: str, table: pa.Table, *columns: str) -> None:
    """Refuse a table that lacks a column.

    Raises:
        ManifestError: it does; the message names those that are absent.
    """
    absent = [column for column in columns if column not in table.column_names]
    if absent:
        raise ManifestError(
            f"{uri} has no column {', '.join(absent)} (it has {', '.join(table.column_names)})"
        )
