"""`--corpus NAME=PATH`: corpora that the user has, read and cut into the parts that tables use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.readers.catalogue import Corpus, read_corpus
from orchestration.reproduce.places import FOUR_EMOTIONS_SHARE, PLACES
from orchestration.reproduce.published import CORPORA
from orchestration.shard_plan import TRANSCRIPT
from orchestration.table_hash import table_sha256
from ser_model.manifest import read_manifest, relative_to, write_manifest
from ser_model.manifest_checks import replace_column
from ser_model.schema import ConfigError, ManifestError
from ser_model.table_files import EXTENSIONS

NOISE = "esc50"
"""Sounds that conditions mix in; never scored."""

DIALOGUE_ACTS = "emotyda"
"""IEMOCAP with what each turn does in its dialogue."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which rows and columns of a corpus.

    Attributes:
        place: of PLACES.
        four_emotions: the rows that have one of the four emotions alone, as their `emotion`.
        dialogue_acts: with EMOTyDA's column beside IEMOCAP's; what is trained does without, so that
            tables with and without dialogue acts share their trainings.
    """

    place: str
    four_emotions: bool = False
    dialogue_acts: bool = False

    @property
    def corpus(self) -> str:
        """Name of the corpus."""
        return self.place.partition("/")[0]

    @property
    def printed_segments(self) -> int:
        """How many segments the papers count, where they do."""
        share = FOUR_EMOTIONS_SHARE[self.corpus] if self.four_emotions else 1.0
        return round(PLACES[self.place].num_segments * share)


class Corpora:
    """The corpora of a table, each read when it is first wanted."""

    def __init__(self, given: Mapping[str, str]) -> None:
        """Read nothing yet.

        Args:
            given: paths or URIs by name.
        """
        self.given = dict(given)
        self._read: dict[str, Corpus] = {}
        self._parts: dict[Part, pa.Table] = {}
        self._sha256: dict[Part, str] = {}

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
        found = (mismatch for corpus in self._read.values() for mismatch in corpus.mismatches)
        return list(dict.fromkeys(found))

    def part(self, part: Part) -> pa.Table:
        """Return a part of a corpus, truth on 0 to 1, recordings absolute.

        Raises:
            ManifestError: the corpus was not given or cannot be used, or has no such part.
        """
        if part not in self._parts:
            manifest = self._manifest(part.corpus)
            if part.dialogue_acts:
                manifest = _with_acts(manifest, self._manifest(DIALOGUE_ACTS))
            rows = PLACES[part.place].rows_of(manifest, part.place)
            self._parts[part] = _of_four_emotions(rows, part.place) if part.four_emotions else rows
        return self._parts[part]

    def identify(self, part: Part) -> tuple[str, int]:
        """Return a hash of a part and how many segments it has.

        Where its corpus was not given: ABSENT, and as many as are printed.

        Raises:
            ManifestError: as `part`.
        """
        needed = {part.corpus} | ({DIALOGUE_ACTS} if part.dialogue_acts else set())
        if not all(map(self._is_given, needed)):
            return ABSENT, part.printed_segments
        table = self.part(part)
        if part not in self._sha256:
            self._sha256[part] = table_sha256(table)
        return self._sha256[part], len(table)

    def num_values(self, part: Part, column: str) -> int:
        """Return how many values a column has; where its corpus was not given, as many as folds.

        Raises:
            ManifestError: as `part`, or there is no such column.
        """
        if not self._is_given(part.corpus):
            return PLACES[part.place].num_folds
        table = self.part(part)
        if column not in table.column_names:
            raise ManifestError(f"{part.place}: the corpus has no column {column!r} to fold by")
        return int(pc.count_distinct(table[column], mode="only_valid").as_py())

    def num_without_transcript(self, part: Part) -> int:
        """Return how many segments lack one; of a corpus that was not given, none.

        Raises:
            ManifestError: as `part`.
        """
        if not self._is_given(part.corpus):
            return 0
        table = self.part(part)
        has_some = TRANSCRIPT in table.column_names
        return table[TRANSCRIPT].null_count if has_some else len(table)

    def write(self, uri: str, part: Part) -> None:
        """Write a part as a manifest.

        Raises:
            ManifestError: as `part`.
        """
        write_manifest(uri, relative_to(self.part(part), uri))

    def _is_given(self, name: str) -> bool:
        return name in self.given or (name == "iemocap" and DIALOGUE_ACTS in self.given)

    def _manifest(self, name: str) -> pa.Table:
        if not self._is_given(name):
            raise _not_given(name)
        # EMOTyDA's annotations lie in a folder of IEMOCAP.
        source = name if name in self.given else DIALOGUE_ACTS
        if source not in self._read:
            self._read[source] = _read(source, self.given[source])
        manifest = self._read[source].manifest
        if name == source or "dialogue_act" not in manifest.column_names:
            return manifest
        return manifest.drop_columns(["dialogue_act"])


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


def _with_acts(manifest: pa.Table, annotated: pa.Table) -> pa.Table:
    if "dialogue_act" not in annotated.column_names:
        raise ManifestError(f"{DIALOGUE_ACTS}: there is no column 'dialogue_act'")
    ids = annotated["segment_id"].to_pylist()
    act_of = dict(zip(ids, annotated["dialogue_act"].to_pylist(), strict=True))
    acts = [act_of.get(segment_id) for segment_id in manifest["segment_id"].to_pylist()]
    return manifest.append_column("dialogue_act", pa.array(acts, pa.string()))


def _not_given(name: str) -> ManifestError:
    return ManifestError(f"corpus {name} was not given: --corpus {name}=PATH")
