"""Transcripts of a part of a corpus, by a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from orchestration.reproduce.hub_weights import check_at_hand
from orchestration.reproduce.steps.base import Context, Step
from orchestration.reproduce.steps.corpus import CorpusStep
from ser_model.models.checkpoint import HUB_SCHEME

FORWARD_GFLOP = 14.8
"""For a second of audio, of wav2vec 2.0 base; for others an assumption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscribeStep(Step):
    """Transcribes, as `serval transcribe` does.

    Attributes:
        corpus: what is transcribed.
        model: the URI of who transcribes, pinned.
        replace: whether the corpus's own transcripts are replaced; if not, they stay.
    """

    kind: ClassVar[str] = "transcripts"
    verb: ClassVar[str] = "transcribe"
    corpus: CorpusStep
    model: str
    replace: bool

    @property
    def name(self) -> str:
        """What is transcribed, and by whom."""
        return f"{self.corpus.name} with {self.short_model}"

    @property
    def short_model(self) -> str:
        """The model without scheme and revision."""
        return self.model.removeprefix(HUB_SCHEME).partition("@")[0]

    @property
    def content(self) -> Mapping[str, object]:
        """Who transcribes, and what."""
        return {"model": self.model, "replace": self.replace}

    @property
    def inputs(self) -> tuple[Step, ...]:
        """The corpus."""
        return (self.corpus,)

    @property
    def petaflop(self) -> float:
        """Every segment once."""
        return FORWARD_GFLOP * self.corpus.audio_h * 3600 / 1e6

    @property
    def note(self) -> str:
        """Say whose transcripts these are."""
        whose = "all" if self.replace else "where the corpus has none"
        return f"transcripts of {self.corpus.name} by {self.short_model} ({whose})"

    def run(self, context: Context) -> None:
        """Transcribe what is not transcribed yet."""
        from orchestration.transcribing import transcribe

        if self.model.startswith(HUB_SCHEME):
            check_at_hand([self.model.removeprefix(HUB_SCHEME)])
        transcribe(
            self.corpus.uri(context.work),
            model_uri=self.model,
            output=self.folder(context.work),
            replace=self.replace,
            devices=context.devices,
            num_workers=context.num_workers,
            local=context.num_workers == 1,
        )
