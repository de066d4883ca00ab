"""Recipes of ensembles: which recipes are trained, each by itself, and how the models vote.

An override counts for every member (`seed=1`), or begins with the last part of a member's name and
counts for that one alone (`cnn14.crop_s=3.0`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Literal

from ser_model.models.base import Task
from ser_model.models.configuration import build
from ser_model.schema import ConfigError
from ser_model.training.recipe import (
    RecipeTask,
    list_recipe_files,
    load_recipe,
    read_recipe_file,
)
from ser_model.voting import MIN_MEMBERS, Vote


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleRecipe:
    """How an ensemble is made.

    Attributes:
        description: one line for `serval train --list`.
        task: as of a recipe; all members learn it.
        members: names of recipes, whose last parts differ.
        emotion_vote: how a category is voted on; dimensions are averaged.
    """

    description: str
    task: RecipeTask = "dimensions"
    members: tuple[str, ...]
    emotion_vote: Literal["hard", "soft"] = "soft"

    def __post_init__(self) -> None:
        """Refuse what is no ensemble."""
        if len(self.members) < MIN_MEMBERS or len(set(self.short_names)) < len(self.members):
            raise ValueError(
                f"members {', '.join(self.members)}: {MIN_MEMBERS} or more are needed, of which "
                "the last parts of the names differ"
            )

    @property
    def short_names(self) -> tuple[str, ...]:
        """What members are called here: the last parts of their names."""
        return tuple(name.rpartition("/")[2] for name in self.members)

    @property
    def model_task(self) -> Task:
        """What the models are for."""
        return "emotion" if self.task == "emotion" else "dimensions"

    @property
    def vote(self) -> Vote:
        """How the models vote."""
        return self.emotion_vote if self.task == "emotion" else "mean"


def list_ensemble_recipes() -> list[str]:
    """Return the names of all recipes of ensembles, sorted.

    >>> list_ensemble_recipes()
    ['triantafyllopoulos/late-fusion']
    """
    return list_recipe_files(_folder())


def load_ensemble_recipe(
    name: str, overrides: Sequence[str] = ()
) -> tuple[EnsembleRecipe, dict[str, tuple[str, ...]]]:
    """Read a recipe, and tell whom the overrides are for.

    Args:
        name: one of `list_ensemble_recipes()`.
        overrides: as the module says.

    Returns:
        The recipe, and by the names of its members the overrides of each.

    Raises:
        ConfigError: no such recipe, or an override that a member does not take.

    Example:
        >>> recipe, overrides = load_ensemble_recipe(
        ...     "triantafyllopoulos/late-fusion", ["task=emotion", "bert.seed=3"]
        ... )
        >>> recipe.vote, overrides["triantafyllopoulos/bert"]
        ('soft', ('seed=3', 'task=emotion'))
    """
    own = [o for o in overrides if o.partition("=")[0] in ("emotion_vote", "task")]
    try:
        recipe = build(EnsembleRecipe, read_recipe_file(_folder(), name, own))
    except ValueError as error:
        raise ConfigError(f"recipe {name}: {error}") from error
    by_member: dict[str, tuple[str, ...]] = {}
    for member, short_name in zip(recipe.members, recipe.short_names, strict=True):
        words = []
        for override in overrides:
            first, _, rest = override.partition(".")
            if override in own:
                continue
            if first == short_name:
                words.append(rest)
            elif first not in recipe.short_names:
                words.append(override)
        by_member[member] = (*words, f"task={recipe.task}")
        load_recipe(member, by_member[member])
    return recipe, by_member


def _folder() -> Traversable:
    return resources.files("ser_model.training") / "ensemble_recipes"
