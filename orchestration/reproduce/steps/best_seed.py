"""The one of several trainings of a system that is best on dev, as some tables have it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from orchestration.reproduce.steps.base import Context, PredictingStep, Step
from orchestration.reproduce.steps.train import TrainStep
from ser_model import storage

CHOICE = "choice.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class BestSeedStep(PredictingStep):
    """Chooses a seed by dev; of folds, by the mean over them.

    Attributes:
        training: of all seeds.
        sources: what leaves the predictions of each seed, in the order of the seeds.
    """

    kind: ClassVar[str] = "choices"
    verb: ClassVar[str] = "choose"
    training: TrainStep
    sources: tuple[PredictingStep, ...]

    @property
    def name(self) -> str:
        """What is chosen from."""
        return f"of {len(self.sources)} seeds of {self.training.name}"

    @property
    def content(self) -> Mapping[str, object]:
        """The inputs say it all."""
        return {}

    @property
    def inputs(self) -> tuple[Step, ...]:
        """The trainings, and what they predict."""
        return (self.training, *self.sources)

    def chosen_seed(self, work: str) -> int:
        """Return the seed that was chosen."""
        return int(storage.read_json(storage.join(self.folder(work), CHOICE))["seed"])

    def predictions(self, work: str, seed: int | None) -> str:
        """Return what the chosen seed predicts."""
        del seed
        chosen = self.chosen_seed(work)
        return self.sources[self.training.seeds.index(chosen)].predictions(work, chosen)

    def run(self, context: Context) -> None:
        """Choose; of seeds that are equally good, the first."""
        dev = {seed: self.training.dev_value(context.work, seed) for seed in self.training.seeds}
        shown = [value if math.isfinite(value) else None for value in dev.values()]
        choice = {"seed": max(dev, key=dev.__getitem__), "dev": shown}
        storage.write_json(storage.join(self.folder(context.work), CHOICE), choice)
