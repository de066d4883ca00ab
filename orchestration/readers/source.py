"""What a corpus on disk consists of."""

from __future__ import annotations

from collections.abc import Sequence

from ser_model import storage

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
