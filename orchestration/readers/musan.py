"""MUSAN, a corpus of music, speech and noise: sounds to mix in, or to score by themselves.

Obtain musan.tar.gz from https://www.openslr.org/17 and unpack it. Licence: CC BY 4.0 as a whole;
each folder's LICENSE names that of each file. Paper: Snyder, Chen & Povey, "MUSAN: A Music, Speech,
and Noise Corpus", arXiv:1510.08484, 2015.

Files are named music/fma/music-fma-0000.wav: class, where it comes from, number. `sound_class` is
the class that conditions know the file by when its folder is their noise folder. The files called
ANNOTATIONS (genre, artist, language) are not read. How many files there should be is not checked:
we found no count to go by.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

from orchestration.readers.file_names import mostly_named, parse_names

LAYOUT = "MUSAN (audio files named music-fma-0000.wav)"

_NAME = re.compile(r"(?P<sound_class>music|noise|speech)-(?P<sound_source>[a-z]+(-[a-z]+)*)-\d{4}")


def matches(source: str, files: Sequence[str]) -> bool:  # noqa: ARG001  the readers' interface
    """Tell whether most audio files are named as in MUSAN."""
    return mostly_named(files, _NAME)


def read(source: str, files: Sequence[str]) -> pa.Table:
    """Read the corpus: one row a file.

    Raises:
        ManifestError: an audio file has a name that MUSAN does not have.
    """
    names = parse_names(source, files, _NAME, corpus="MUSAN", example="music-fma-0000.wav")
    rows = [{"recording": file, **match.groupdict()} for file, match in names]
    return pa.Table.from_pylist(rows)
