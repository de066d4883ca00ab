"""An audit of all systems of a table on one test."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import pyarrow as pa

from orchestration.reproduce.steps.base import Context, Step
from orchestration.reproduce.steps.corpus import ManifestStep
from orchestration.reproduce.steps.predictions import PredictionsStep
from ser_model import storage


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditStep(Step):
    """Audits, as `serval audit` does; systems that cannot be made are left out.

    Attributes:
        corpus: the test, with its truth.
        predictions: of each system and seed.
        slices: columns whose slices are compared.
        strata: columns whose slices are not compared.
        smallest_slices: whether slices of two segments are shown too, for papers show theirs.
        speaker_draws: whether the figure on speakers is wanted.
    """

    kind: ClassVar[str] = "audits"
    verb: ClassVar[str] = "audit"
    corpus: ManifestStep
    predictions: tuple[PredictionsStep, ...]
    slices: tuple[str, ...] = ()
    strata: tuple[str, ...] = ()
    smallest_slices: bool = False
    speaker_draws: bool = False

    @property
    def name(self) -> str:
        """The test, and how many are held against it."""
        return f"{len(self.predictions)} on {self.corpus.name}"

    @property
    def content(self) -> Mapping[str, object]:
        """The options."""
        return {
            "slices": list(self.slices),
            "strata": list(self.strata),
            "smallest_slices": self.smallest_slices,
            "speaker_draws": self.speaker_draws,
        }

    @property
    def inputs(self) -> tuple[Step, ...]:
        """The test and what is said of it."""
        return (self.corpus, *self.predictions)

    def without(self, failed: Container[Step]) -> AuditStep | None:
        """Audit the others."""
        left = tuple(step for step in self.predictions if step not in failed)
        if self.corpus in failed or not left:
            return None
        return replace(self, predictions=left)

    def table(self, work: str, name: str) -> pa.Table:
        """Return a table of the audit: statistics, speakers, confusion ..."""
        return storage.read_table(storage.join(self.folder(work), f"{name}.parquet"))

    def run(self, context: Context) -> None:
        """Audit; our own predictions are in the right order, however little a model has learned."""
        from orchestration.auditing import audit_runs
        from pipelines.audit_config import Minimums

        audit_runs(
            [step.uri(context.work) for step in self.predictions],
            self.corpus.uri(context.work),
            self.folder(context.work),
            slices=[(column,) for column in self.slices],
            strata=[(column,) for column in self.strata],
            minimums=Minimums(segments=2, speakers=2) if self.smallest_slices else None,
            speaker_draws=self.speaker_draws,
            keep_dimension_order=True,
        )
