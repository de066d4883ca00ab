"""Parts of corpora, as manifests."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.reproduce.corpora import Part
from orchestration.reproduce.places import PLACES, Place
from orchestration.reproduce.steps.base import Context, Step
from ser_model import storage
from ser_model.manifest import read_manifest, relative_to, write_manifest
from ser_model.manifest_checks import replace_column


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestStep(Step):
    """Writes a manifest, which others train with, score or audit against."""

    kind: ClassVar[str] = "corpora"
    verb: ClassVar[str] = "write the manifest of"

    @property
    @abstractmethod
    def test_h(self) -> float:
        """Hours that are scored."""

    def uri(self, work: str) -> str:
        """Return where the manifest is."""
        return storage.join(self.folder(work), "manifest.parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusStep(ManifestStep):
    """Writes the manifest of a part.

    Attributes:
        part: which rows and columns.
        sha256: of the table; "absent" where the corpus was not given.
        num_segments: of the table; where the corpus was not given, as printed.
    """

    part: Part
    sha256: str
    num_segments: int

    @property
    def name(self) -> str:
        """The place."""
        of_four = ", four emotions" if self.part.four_emotions else ""
        return f"{self.part.place}{of_four}"

    @property
    def content(self) -> Mapping[str, object]:
        """The hash of the table says it all."""
        part = self.part
        return {
            "place": part.place,
            "four_emotions": part.four_emotions,
            "sha256": self.sha256,
        }

    @property
    def about(self) -> Place:
        """What is known of the part."""
        return PLACES[self.part.place]

    @property
    def scale(self) -> float:
        """How much there is of what the place's hours are counted for."""
        return self.num_segments / self.about.num_segments

    @property
    def audio_h(self) -> float:
        """How long all of it is."""
        return (self.about.train_h + self.about.dev_h + self.about.test_h) * self.scale

    @property
    def test_h(self) -> float:
        """Hours that are scored where it is a test."""
        return self.about.test_h * self.scale

    def run(self, context: Context) -> None:
        """Write the manifest."""
        context.corpora.write(self.uri(context.work), self.part)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedStep(ManifestStep):
    """Writes one manifest of several corpora, with a column `corpus`.

    Attributes:
        corpora: parts of different corpora.
    """

    corpora: tuple[CorpusStep, ...]

    @property
    def name(self) -> str:
        """All of them."""
        return " and ".join(corpus.name for corpus in self.corpora)

    @property
    def content(self) -> Mapping[str, object]:
        """The inputs say it all."""
        return {}

    @property
    def inputs(self) -> tuple[Step, ...]:
        """The manifests."""
        return self.corpora

    @property
    def test_h(self) -> float:
        """All hours."""
        return sum(corpus.test_h for corpus in self.corpora)

    def run(self, context: Context) -> None:
        """Join them; segments and speakers are told apart by the corpus in front of their names."""
        tables = [
            _named(read_manifest(corpus.uri(context.work)), corpus.part.corpus)
            for corpus in self.corpora
        ]
        joined = pa.concat_tables(tables, promote_options="default")
        uri = self.uri(context.work)
        write_manifest(uri, relative_to(joined, uri))


def _named(table: pa.Table, corpus: str) -> pa.Table:
    for column in ("segment_id", "speaker_id"):
        names = pc.binary_join_element_wise(corpus, table[column], "/")
        table = replace_column(table, column, names)
    return table.append_column("corpus", pa.array([corpus] * len(table), pa.string()))


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseStep(Step):
    """Stands for the folder of noise, which scoring reads where it is."""

    kind: ClassVar[str] = "noise"
    verb: ClassVar[str] = "look for"

    @property
    def name(self) -> str:
        """There is one corpus of noise."""
        return "esc50"

    @property
    def content(self) -> Mapping[str, object]:
        """Scoring looks at the sounds itself, and refuses to go on with others."""
        return {}

    def run(self, context: Context) -> None:
        """Refuse where there is none."""
        _ = context.corpora.noise_uri
