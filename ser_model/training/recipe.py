"""Recipes: all that decides how a model is trained, as a data file.

A recipe is a YAML file beside this module; its fields are those of `Recipe`. An override names a
field by its dotted path: `optimiser.learning_rate=0.001`, `backbone.channels=[8,16]`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import yaml

from ser_model.models.base import ModelConfig, Task
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.configuration import build
from ser_model.models.head import HeadConfig
from ser_model.models.pooling import PoolingName
from ser_model.schema import DIMENSIONS, ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserConfig:
    """AdamW, with a rate that rises over the first part of the steps and falls to 0 as a cosine.

    Attributes:
        learning_rate: the highest rate, after the rise.
        weight_decay: of AdamW.
        warmup: part of the steps over which the rate rises.
    """

    learning_rate: float
    weight_decay: float = 0.01
    warmup: float = 0.2

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        if not self.learning_rate > 0.0:
            raise ValueError(f"learning_rate {self.learning_rate} is not positive")
        if not self.weight_decay >= 0.0:
            raise ValueError(f"weight_decay {self.weight_decay} is negative")
        if not 0.0 <= self.warmup < 1.0:
            raise ValueError(f"warmup {self.warmup} is not in [0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a model is made.

    The task decides loss and selection: dimensions are trained with the CCC loss and selected by
    the mean CCC on dev, emotions with inverse-frequency weighted cross-entropy and by UAR on dev.

    Attributes:
        description: one line for `serval train --list`.
        task: dimensions or emotion; `--target` overrides it.
        backbone: waveforms to frames.
        pooling: frames to one vector.
        head: the vector to scores.
        num_epochs: passes over the training segments.
        batch_size: segments in a batch.
        crop_s: training sees a random stretch of at most this length; dev and test the whole
            segment.
        optimiser: how the weights follow the gradient.
        seed: decides initial weights, order, crops and dropout.
    """

    description: str
    task: Task = "dimensions"
    backbone: Cnn14Config
    pooling: PoolingName
    head: HeadConfig
    num_epochs: int
    batch_size: int
    crop_s: float
    optimiser: OptimiserConfig
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        if self.num_epochs < 1:
            raise ValueError(f"num_epochs {self.num_epochs} is not positive")
        if self.batch_size < 2:
            raise ValueError(f"batch_size {self.batch_size}: CCC and batch norm need 2 or more")
        if not self.crop_s > 0.0:
            raise ValueError(f"crop_s {self.crop_s} is not positive")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is negative")

    def model_config(self, targets: Sequence[str] = DIMENSIONS) -> ModelConfig:
        """Return the configuration of a model for these targets."""
        return ModelConfig(
            task=self.task,
            targets=tuple(targets),
            backbone=self.backbone,
            pooling=self.pooling,
            head=self.head,
        )


def list_recipes() -> list[str]:
    """Return the names of all recipes, sorted.

    >>> "demo" in list_recipes()
    True
    """
    return sorted(_names(_folder(), ""))


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
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
    if name not in list_recipes():
        raise ConfigError(f"no recipe {name!r}; there are: {', '.join(list_recipes())}")
    mapping = yaml.safe_load(_folder().joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
    for override in overrides:
        _apply(mapping, override)
    try:
        return build(Recipe, mapping)
    except ValueError as error:
        raise ConfigError(f"recipe {name}: {error}") from error


def to_mapping(recipe: Recipe) -> dict[str, Any]:
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
