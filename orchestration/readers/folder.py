"""A plain folder of audio: every audio file, at any depth, is a recording and one segment."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from orchestration.readers.source import AUDIO_EXTENSIONS, with_extension
from ser_model.schema import ManifestError

LAYOUT = "a folder of audio files, at any depth"


def matches(source: str, files: Sequence[str]) -> bool:  # noqa: ARG001  the readers' interface
    """Tell whether there is any audio."""
    return bool(with_extension(files, *AUDIO_EXTENSIONS))


def read(source: str, files: Sequence[str]) -> pa.Table:
    """Read the corpus: one row a recording.

    Raises:
        ManifestError: there is no audio.
    """
    recordings = with_extension(files, *AUDIO_EXTENSIONS)
    if not recordings:
        raise ManifestError(f"{source} holds no audio file ({', '.join(AUDIO_EXTENSIONS)})")
    return pa.table({"recording": recordings})
