"""A part of a corpus, as a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from orchestration.reproduce.corpora import Part
from orchestration.reproduce.places import PLACES, Place
from orchestration.reproduce.steps.base import Context, Step
from ser_model import storage


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusStep(Step):
    """Writes the manifest of a part.

    Attributes:
        part: which rows and columns.
        sha256: of the table; "absent" where the corpus was not given.
        num_segments: of the table; where the corpus was not given, as printed.
    """

    kind: ClassVar[str] = "corpora"
    verb: ClassVar[str] = "write the manifest of"
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

    def uri(self, work: str) -> str:
        """Return where the manifest is."""
        return storage.join(self.folder(work), "manifest.parquet")

    def run(self, context: Context) -> None:
        """Write the manifest."""
        context.corpora.write(self.uri(context.work), self.part)


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
