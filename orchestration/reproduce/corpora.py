"""`--corpus NAME=PATH`: corpora that the user has, read and cut into the parts that tables use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.readers.catalogue import Corpus, read_corpus
from orchestration.reproduce.places import FOUR_EMOTIONS_SHARE, PLACES
from orchestration.reproduce.published import CORPORA
from orchestration.table_hash import table_sha256
from ser_model.manifest import read_manifest, relative_to, write_manifest
from ser_model.manifest_checks import replace_column
from ser_model.schema import ConfigError, ManifestError
from ser_model.table_files import EXTENSIONS

NOISE = "esc50"
"""Sounds that conditions mix in; never scored."""

ABSENT = "absent"
"""In place of a hash of what was not given."""

MANIFEST_READER = "manifest"
"""What is told of a corpus that was given as a manifest, which no reader reads."""


def parse_corpora(texts: Sequence[str]) -> dict[str, str]:
    """Read NAME=PATH.

    >>> parse_corpora(["ravdess=/data/ravdess"])
    {'ravdess': '/data/ravdess'}

    Raises:
        ConfigError: a text is something else, or a corpus is unknown or there twice.
    """
    corpora: dict[str, str] = {}
    for text in texts:
        name, _, path = text.partition("=")
        if name not in CORPORA or not path:
            raise ConfigError(f"--corpus {text!r} is not NAME=PATH; names are {', '.join(CORPORA)}")
        if name in corpora:
            raise ConfigError(f"--corpus {name} stands there twice")
        corpora[name] = path
    return corpora


class Corpora:
    """The corpora of a table, each read when it is first wanted."""

    def __init__(self, given: Mapping[str, str]) -> None:
        """Read nothing yet.

        Args:
            given: paths or URIs by name.
        """
        self.given = dict(given)
        self._read: dict[str, Corpus] = {}
        self._parts: dict[tuple[str, bool], pa.Table] = {}

    @property
    def noise_uri(self) -> str:
        """The folder of noise.

        Raises:
            ManifestError: none was given.
        """
        if NOISE not in self.given:
            raise _not_given(NOISE)
        return self.given[NOISE]

    def mismatches(self) -> list[str]:
        """Say in what the corpora that were read differ from what was published of them."""
        return [
            f"{name}: {mismatch}"
            for name, corpus in self._read.items()
            for mismatch in corpus.mismatches
        ]

    def part(self, place: str, *, four_emotions: bool = False) -> pa.Table:
        """Return a part of a corpus, truth on 0 to 1, recordings absolute.

        Args:
            place: of PLACES.
            four_emotions: the rows that have one of the four emotions alone, as their `emotion`.

        Raises:
            ManifestError: the corpus was not given or cannot be used, or has no such part.
        """
        key = (place, four_emotions)
        if key not in self._parts:
            rows = PLACES[place].rows_of(self._manifest(place.partition("/")[0]), place)
            self._parts[key] = _of_four_emotions(rows, place) if four_emotions else rows
        return self._parts[key]

    def identify(self, place: str, *, four_emotions: bool = False) -> tuple[str, int]:
        """Return a hash of a part and how many segments it has.

        Where its corpus was not given: ABSENT, and as many as are printed.

        Raises:
            ManifestError: as `part`.
        """
        name = place.partition("/")[0]
        if name not in self.given:
            share = FOUR_EMOTIONS_SHARE[name] if four_emotions else 1.0
            return ABSENT, round(PLACES[place].num_segments * share)
        part = self.part(place, four_emotions=four_emotions)
        return table_sha256(part), len(part)

    def write(self, uri: str, place: str, *, four_emotions: bool = False) -> None:
        """Write a part as a manifest.

        Raises:
            ManifestError: as `part`.
        """
        table = self.part(place, four_emotions=four_emotions)
        write_manifest(uri, relative_to(table, uri))

    def _manifest(self, name: str) -> pa.Table:
        if name not in self.given:
            raise _not_given(name)
        if name not in self._read:
            self._read[name] = _read(name, self.given[name])
        return self._read[name].manifest


def _read(name: str, path: str) -> Corpus:
    """Read a corpus as it is on disk, or a manifest of it."""
    if path.lower().endswith(EXTENSIONS):
        return Corpus(reader=MANIFEST_READER, manifest=read_manifest(path))
    return read_corpus(path, reader=name.replace("-", "_"))


def _of_four_emotions(rows: pa.Table, place: str) -> pa.Table:
    if "emotion_4" not in rows.column_names:
        raise ManifestError(f"{place}: the corpus has no column 'emotion_4'")
    rated = rows.filter(pc.is_valid(rows["emotion_4"]))
    return replace_column(rated, "emotion", rated["emotion_4"])


def _not_given(name: str) -> ManifestError:
    return ManifestError(f"corpus {name} was not given: --corpus {name}=PATH")
