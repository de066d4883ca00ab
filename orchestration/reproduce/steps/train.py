"""Trainings of one recipe on one part of a corpus: of each seed, and each fold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import ClassVar

from orchestration.reproduce.hub_weights import check_at_hand, hub_weights
from orchestration.reproduce.steps.arithmetic import forward_gflop, training_gflop
from orchestration.reproduce.steps.base import Context, PredictingStep, Step
from orchestration.reproduce.steps.corpus import CorpusStep
from orchestration.reproduce.steps.transcribe import TranscribeStep
from ser_model import storage
from ser_model.training.checkpoint import to_json
from ser_model.training.recipe import AnyRecipe, Recipe, load_recipe, to_mapping

load_recipe_once = cache(load_recipe)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainStep(PredictingStep):
    """Trains a recipe, as `serval train` does.

    Attributes:
        system: name in the table.
        recipe: name of the recipe.
        overrides: as of `serval train --set`.
        corpus: what it is trained on.
        backbone_from: training whose best model the backbone begins with; None for the recipe's.
        num_folds: trainings for each seed.
        transcripts: in place of those that the corpus has.
    """

    kind: ClassVar[str] = "trainings"
    verb: ClassVar[str] = "train"
    system: str
    recipe: str
    overrides: tuple[str, ...] = ()
    corpus: CorpusStep
    backbone_from: TrainStep | None = None
    num_folds: int = 1
    transcripts: TranscribeStep | None = None

    @property
    def name(self) -> str:
        """The recipe and where it is trained; two systems may be the same training."""
        task = self.resolved.task
        return f"{self.recipe} {task} on {self.corpus.name}"

    @property
    def resolved(self) -> AnyRecipe:
        """The recipe with all that is overridden."""
        return load_recipe_once(self.recipe, (*self.corpus.about.overrides, *self.overrides))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its trainings."""
        recipe = self.resolved
        return tuple(range(recipe.seed, recipe.seed + recipe.num_seeds))

    @property
    def hub_weights(self) -> tuple[str, ...]:
        """What must come from the Hugging Face hub: ORG/NAME@REVISION."""
        return () if self.backbone_from is not None else hub_weights(self.resolved)

    @property
    def content(self) -> Mapping[str, object]:
        """The recipe with every default filled in: another version of Serval trains anew."""
        return {"recipe": self.recipe, "resolved": to_json(to_mapping(self.resolved))}

    @property
    def inputs(self) -> tuple[Step, ...]:
        """The corpus, and the training that it goes on from."""
        before = (self.backbone_from, self.transcripts)
        return (self.corpus, *(step for step in before if step is not None))

    @property
    def reads_text(self) -> bool:
        """Whether the model needs transcripts."""
        recipe = self.resolved
        return isinstance(recipe, Recipe) and recipe.model_config().text is not None

    @property
    def note(self) -> str:
        """Say whose transcripts are read."""
        if not self.reads_text or self.transcripts is not None:
            return ""
        return f"transcripts of {self.corpus.name}: the corpus's own"

    @property
    def petaflop(self) -> float:
        """Every epoch over train, with a look at dev."""
        recipe, place = self.resolved, self.corpus.about
        train_s = place.train_h * 3600 * self.corpus.scale
        if isinstance(recipe, Recipe):
            train_s *= recipe.data.fraction
            if recipe.crop_s is not None:
                train_s = min(train_s, recipe.crop_s * self.corpus.num_segments)
        gflop = (
            training_gflop(recipe) * train_s
            + forward_gflop(recipe) * place.dev_h * 3600 * self.corpus.scale
        )
        trainings = len(self.seeds) * self.num_folds
        return gflop * recipe.num_epochs * trainings / 1e6

    def seed_folder(self, work: str, seed: int) -> str:
        """Return the folder of all trainings with a seed."""
        folder = self.folder(work)
        return folder if len(self.seeds) == 1 else storage.join(folder, f"seed-{seed}")

    def model_folders(self, work: str, seed: int) -> list[str]:
        """Return the folders of the models with a seed: one, or one a fold."""
        folder = self.seed_folder(work, seed)
        if self.resolved.data.fold_by is None:
            return [folder]
        folds = [name for name in storage.list_names(folder) if name.startswith("fold-")]
        return [storage.join(folder, fold) for fold in sorted(folds)]

    def best_folder(self, work: str) -> str:
        """Return the folder of the model that is best on dev."""
        folders = [folder for seed in self.seeds for folder in self.model_folders(work, seed)]
        return max(folders, key=_dev_value)

    def dev_value(self, work: str, seed: int) -> float:
        """Return how good a seed is on dev; of folds, the mean over them."""
        return fmean(map(_dev_value, self.model_folders(work, seed)))

    def predictions(self, work: str, seed: int | None) -> str:
        """Return the file of what it predicts of its own test, all folds together."""
        assert seed is not None
        return storage.join(self.seed_folder(work, seed), "test.parquet")

    def run(self, context: Context) -> None:
        """Train what is not trained yet."""
        from orchestration.training import train_recipe

        check_at_hand(self.hub_weights)
        begins_with = []
        if self.backbone_from is not None:
            best = storage.absolute(self.backbone_from.best_folder(context.work))
            begins_with = [f"backbone.pretrained={best}", "backbone.revision=null"]
        train_recipe(
            self.recipe,
            self.corpus.uri(context.work),
            self.folder(context.work),
            overrides=[*self.corpus.about.overrides, *self.overrides, *begins_with],
            devices=context.devices,
            num_workers=context.num_workers,
            transcripts_uri=None
            if self.transcripts is None
            else self.transcripts.folder(context.work),
        )


def _dev_value(folder: str) -> float:
    value = storage.read_json(storage.join(folder, "train.json"))["best"]["dev"]["selection"]
    return float("-inf") if value is None else float(value)
