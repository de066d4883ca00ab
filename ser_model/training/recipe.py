"""Recipes: all that decides how a model is trained, as a data file.

A recipe is a YAML file beside this module; its fields are those of `Recipe`. An override names a
field by its dotted path: `optimiser.learning_rate=0.001`, `backbone.channels=[8,16]`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Literal, TypeAlias

import yaml

from ser_model.models.backbones import with_name_filled_in
from ser_model.models.base import BackboneConfig, ModelConfig, ModelPart, Task
from ser_model.models.configuration import build
from ser_model.models.fusion import FusionConfig
from ser_model.models.head import HeadConfig
from ser_model.models.pooling import PoolingName
from ser_model.schema import DIMENSIONS, ConfigError
from ser_model.training.settings import (
    DataConfig,
    DevMetric,
    LossConfig,
    OptimiserConfig,
    ScheduleConfig,
    SelectionConfig,
)
from ser_model.training.support_vector_recipe import SupportVectorRecipe

RecipeTask: TypeAlias = Literal["dimensions", "arousal", "dominance", "valence", "emotion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a model is made.

    Attributes:
        description: one line for `serval train --list`.
        task: dimensions, one of them alone, or emotion; `--target` overrides it.
        backbone: waveforms to frames, or transcripts to tokens; a file may give a `name` of
            `ser_model/models/backbones.yaml` and only the fields that differ.
        pooling: frames to one vector.
        head: the vector to scores.
        fusion: how text joins the audio, and the backbone that reads it, `text`, likewise by name;
            null for a model of one of them alone.
        freeze: parts that training leaves alone: front_end and encoder of the backbone, and text,
            the whole of the backbone that reads.
        loss: what training minimises.
        optimiser: how the weights follow the gradient.
        schedule: how the rate changes.
        selection: which weights are kept, and when training stops early.
        data: which segments are seen.
        num_epochs: passes over the training segments.
        max_steps: steps after which training ends in any case; null for none.
        batch_size: segments that a loss is computed of, on all workers together.
        num_accumulated: batches whose gradients are averaged to one step.
        crop_s: training sees a random stretch of at most this length; dev and test the whole
            segment. null for the whole segment.
        lengths: how the segments of a batch, which are of similar length, come to one length: crop
            (to the shortest, at random) or pad.
        dtype: float32, or bfloat16 by autocast; weights, head and loss are float32 in any case.
        seed: decides initial weights, order, crops and dropout.
        num_seeds: trainings, with the seeds from `seed` on.
    """

    description: str
    task: RecipeTask = "dimensions"
    backbone: BackboneConfig
    pooling: PoolingName
    head: HeadConfig
    fusion: FusionConfig | None = None
    freeze: tuple[ModelPart, ...] = ()
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    data: DataConfig = field(default_factory=DataConfig)
    num_epochs: int
    max_steps: int | None = None
    batch_size: int
    num_accumulated: int = 1
    crop_s: float | None = None
    lengths: Literal["crop", "pad"] = "pad"
    dtype: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    num_seeds: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        for name in ("num_epochs", "max_steps", "num_accumulated", "num_seeds"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} {value} is not positive")
        if self.batch_size < 2:
            raise ValueError(f"batch_size {self.batch_size}: CCC and batch norm need 2 or more")
        if self.crop_s is not None and not self.crop_s > 0.0:
            raise ValueError(f"crop_s {self.crop_s} is not positive")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is negative")
        model = self.model_config(DIMENSIONS if self.model_task == "dimensions" else ("a", "b"))
        if "text" in self.freeze and model.text is None:
            raise ValueError("freeze: there is no text in a model of audio alone")
        allowed = self._dev_metrics()
        if self.selection.metric not in (None, *allowed):
            raise ValueError(
                f"selection: metric {self.selection.metric} is none of the task {self.task}; "
                f"there are: {', '.join(allowed)}"
            )

    @property
    def model_task(self) -> Task:
        """What the model is for: one that learns a single dimension has scores for all three."""
        return "emotion" if self.task == "emotion" else "dimensions"

    @property
    def dimension_weights(self) -> tuple[float, ...]:
        """Weights of arousal, dominance, valence in the loss; their sum is 1."""
        if self.task in DIMENSIONS:
            return tuple(float(dimension == self.task) for dimension in DIMENSIONS)
        weights = (self.loss.arousal, self.loss.dominance, self.loss.valence)
        return tuple(weight / sum(weights) for weight in weights)

    @property
    def dev_metric(self) -> str:
        """What the best weights are chosen by."""
        return self.selection.metric or self._dev_metrics()[0]

    def _dev_metrics(self) -> tuple[DevMetric | str, ...]:
        if self.task == "emotion":
            return ("unweighted_average_recall", "accuracy", "loss")
        if self.task in DIMENSIONS:
            return (f"concordance_cc_{self.task}", "loss")
        return ("concordance_cc", *(f"concordance_cc_{name}" for name in DIMENSIONS), "loss")

    def model_config(self, targets: Sequence[str] = DIMENSIONS) -> ModelConfig:
        """Return the configuration of a model for these targets."""
        return ModelConfig(
            task=self.model_task,
            targets=tuple(targets),
            backbone=self.backbone,
            pooling=self.pooling,
            head=self.head,
            fusion=self.fusion,
        )


AnyRecipe: TypeAlias = Recipe | SupportVectorRecipe
"""What a recipe file may hold; `kind: support_vectors` is for the latter."""


def list_recipes() -> list[str]:
    """Return the names of all recipes, sorted.

    >>> "demo" in list_recipes()
    True
    """
    return list_recipe_files(_folder())


def list_recipe_files(folder: Traversable) -> list[str]:
    """Return the names of the recipes in a folder, sorted."""
    return sorted(_names(folder, ""))


def load_recipe(name: str, overrides: Sequence[str] = ()) -> AnyRecipe:
    """Read a recipe and apply overrides.

    Args:
        name: one of `list_recipes()`.
        overrides: "key=value" with a dotted key and a YAML value; the last of the same key counts.

    Raises:
        ConfigError: no such recipe, or a field that is unknown, missing or not allowed.

    Example:
        >>> load_recipe("demo", ["seed=7", "optimiser.learning_rate=0.5"]).seed
        7
    """
    mapping = read_recipe_file(_folder(), name, overrides)
    try:
        if mapping.get("kind") == "support_vectors":
            return build(SupportVectorRecipe, mapping)
        mapping["backbone"] = with_name_filled_in(mapping.get("backbone"))
        fusion = mapping.get("fusion")
        if isinstance(fusion, dict):
            fusion["text"] = with_name_filled_in(fusion.get("text"), "fusion.text")
        return build(Recipe, mapping)
    except ValueError as error:
        raise ConfigError(f"recipe {name}: {error}") from error


def read_recipe_file(folder: Traversable, name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Return what a recipe's file says, with overrides applied.

    Raises:
        ConfigError: there is no such file, or an override cannot be read.
    """
    if name not in list_recipe_files(folder):
        raise ConfigError(f"no recipe {name!r}; there are: {', '.join(list_recipe_files(folder))}")
    mapping: dict[str, Any] = yaml.safe_load(
        folder.joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    )
    for override in overrides:
        _apply(mapping, override)
    return mapping


def to_mapping(recipe: AnyRecipe) -> dict[str, Any]:
    """Return the resolved recipe as plain values, every default filled in."""
    return dataclasses.asdict(recipe)


def _folder() -> Traversable:
    return resources.files("ser_model.training") / "recipes"


def _names(folder: Traversable, prefix: str) -> list[str]:
    names = []
    for entry in folder.iterdir():
        if entry.is_dir():
            names += _names(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            names.append(prefix + entry.name.removesuffix(".yaml"))
    return names


def _apply(mapping: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"override {override!r} is not KEY=VALUE, for example seed=1")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {override!r}: {text!r} is no YAML value") from error
    *groups, name = key.split(".")
    place = mapping
    for group in groups:
        # An unknown group is made here and refused by `build`, which knows the allowed names.
        place = place.setdefault(group, {})
        if not isinstance(place, dict):
            raise ConfigError(f"override {override!r}: {group} has no fields of its own")
    place[name] = value
