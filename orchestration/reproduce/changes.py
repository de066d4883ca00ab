"""In what trainings differ from the recipes because the user wants it so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ser_model.schema import ConfigError
from ser_model.training.recipe import list_recipes


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """In what the user wants trainings to differ from the recipes.

    Attributes:
        overrides: (recipes, "key=value"): of all recipes whose name the pattern matches.
        num_seeds: trainings of each network; None for what the recipe says.
    """

    overrides: tuple[tuple[str, str], ...] = ()
    num_seeds: int | None = None

    def of(self, recipe: str) -> tuple[str, ...]:
        """Return the overrides of a recipe."""
        seeds: tuple[str, ...] = ()
        if self.num_seeds is not None and not recipe.endswith("-svm"):
            seeds = (f"num_seeds={self.num_seeds}",)
        words = (word for pattern, word in self.overrides if fnmatchcase(recipe, pattern))
        return (*seeds, *words)

    @property
    def notes(self) -> tuple[str, ...]:
        """Say what is changed."""
        notes = [f"trainings of {pattern} with --set {word}" for pattern, word in self.overrides]
        if self.num_seeds is not None:
            seeds = "seed" if self.num_seeds == 1 else "seeds"
            notes.append(f"{self.num_seeds} {seeds} of each network (--seeds)")
        return tuple(notes)


def parse_overrides(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Read [RECIPES:]KEY=VALUE.

    >>> parse_overrides(["num_epochs=1", "wagner/*:crop_s=3.0"])
    (('*', 'num_epochs=1'), ('wagner/*', 'crop_s=3.0'))

    Raises:
        ConfigError: a text is something else, or no recipe has such a name.
    """
    overrides = []
    for text in texts:
        left, separator, value = text.partition("=")
        pattern, _, key = left.rpartition(":")
        if not separator or not key:
            raise ConfigError(f"--set {text!r} is not KEY=VALUE or RECIPES:KEY=VALUE")
        pattern = pattern or "*"
        if not any(fnmatchcase(recipe, pattern) for recipe in list_recipes()):
            raise ConfigError(f"--set {text!r}: no recipe is called {pattern!r}")
        overrides.append((pattern, f"{key}={value}"))
    return tuple(overrides)
