"""Corpora that say in the name of each audio file what is in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from orchestration.readers.source import AUDIO_EXTENSIONS, with_extension
from ser_model.schema import ManifestError


def mostly_named(files: Sequence[str], pattern: re.Pattern[str]) -> bool:
    """Tell whether more than half of the audio files have such a name, extensions aside.

    Not all of them: a stray file is for `parse_names` to complain of, which names it, rather than
    a reason to take the corpus for a plain folder, which would lose what the names say.

    >>> mostly_named(["a-1.wav", "b-2.wav", "noise.wav", "notes.txt"], re.compile("[ab]-[0-9]"))
    True
    """
    audio = with_extension(files, *AUDIO_EXTENSIONS)
    num_named = sum(pattern.fullmatch(PurePosixPath(file).stem) is not None for file in audio)
    return 2 * num_named > len(audio)


def parse_names(
    source: str, files: Sequence[str], pattern: re.Pattern[str], *, corpus: str, example: str
) -> Iterator[tuple[str, re.Match[str]]]:
    """Yield every audio file with what its name says.

    Args:
        source: what the user named, for messages.
        files: below it, of any kind.
        pattern: of the names, extensions aside.
        corpus: its name, for messages.
        example: a name as it should be, likewise.

    Raises:
        ManifestError: an audio file has another name, or there is no audio.
    """
    audio = with_extension(files, *AUDIO_EXTENSIONS)
    if not audio:
        raise ManifestError(
            f"{source} holds no audio file of {corpus} ({example}); name the folder that holds them"
        )
    for file in audio:
        match = pattern.fullmatch(PurePosixPath(file).stem)
        if match is None:
            raise ManifestError(
                f"{source}: {file} is not named as the audio of {corpus} is ({example}); move it "
                "elsewhere, or read all files without what their names say: --reader folder"
            )
        yield file, match
