"""A part of a corpus, scored with a model that was trained here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from orchestration.reproduce.steps.arithmetic import forward_gflop
from orchestration.reproduce.steps.base import Context, PredictingStep, Step
from orchestration.reproduce.steps.corpus import ManifestStep, NoiseStep
from orchestration.reproduce.steps.train import TrainStep
from orchestration.reproduce.steps.transcribe import TranscribeStep
from ser_model.schema import CLEAN


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreStep(PredictingStep):
    """Scores, as `serval score` does.

    Attributes:
        training: makes the model.
        seed: of the model.
        fold: of the model, counted from 0; 0 where there are no folds.
        corpus: what is scored.
        conditions: conditions and sets beside clean.
        noise: for the conditions that mix some in.
        embeddings: whether embeddings are kept.
        transcripts: in place of those that the corpus has.
    """

    kind: ClassVar[str] = "runs"
    verb: ClassVar[str] = "score"
    training: TrainStep
    seed: int
    fold: int = 0
    corpus: ManifestStep
    conditions: tuple[str, ...] = ()
    noise: NoiseStep | None = None
    embeddings: bool = False
    transcripts: TranscribeStep | None = None

    @property
    def name(self) -> str:
        """The recipe, and what it scores."""
        under = "".join(f" {condition}" for condition in self.conditions)
        of_fold = f" fold {self.fold + 1}" if self.training.num_folds > 1 else ""
        return f"{self.training.recipe} seed {self.seed}{of_fold} on {self.corpus.name}{under}"

    @property
    def content(self) -> Mapping[str, object]:
        """Which of the models, and how."""
        return {
            "seed": self.seed,
            "fold": self.fold,
            "conditions": list(self.conditions),
            "embeddings": self.embeddings,
        }

    @property
    def inputs(self) -> tuple[Step, ...]:
        """The model and the corpus."""
        further = (self.noise, self.transcripts)
        return (self.training, self.corpus, *(step for step in further if step is not None))

    @property
    def petaflop(self) -> float:
        """Every condition counts as long as the clean audio."""
        from ser_model.augment import named

        num_conditions = len({condition.name for condition in named([CLEAN, *self.conditions])})
        audio_s = self.corpus.test_h * 3600 * num_conditions
        return forward_gflop(self.training.resolved) * audio_s / 1e6

    @property
    def note(self) -> str:
        """Say whose transcripts are read."""
        if not self.training.reads_text or self.transcripts is not None:
            return ""
        return f"transcripts of {self.corpus.name}: the corpus's own"

    def predictions(self, work: str, seed: int | None) -> str:
        """Return the run; it has one seed."""
        assert seed == self.seed
        return self.folder(work)

    def model_uri(self, work: str) -> str:
        """Return the folder of the model."""
        return self.training.model_folders(work, self.seed)[self.fold]

    def run(self, context: Context) -> None:
        """Score what is not scored yet."""
        from orchestration.scoring import score

        score(
            self.corpus.uri(context.work),
            model_uri=self.model_uri(context.work),
            output=self.folder(context.work),
            devices=context.devices,
            num_workers=context.num_workers,
            local=context.num_workers == 1,
            embeddings=self.embeddings,
            conditions=self.conditions,
            transcripts_uri=None
            if self.transcripts is None
            else self.transcripts.folder(context.work),
            noise_uri=None if self.noise is None else context.corpora.noise_uri,
        )
