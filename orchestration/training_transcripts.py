"""The transcripts of a manifest's rows: whether a recipe needs them, and which rows lack one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ser_model.schema import ManifestError
from ser_model.training.recipe import AnyRecipe, Recipe


def needs_transcript(recipe: AnyRecipe, targets: Sequence[str]) -> bool:
    """Tell whether the recipe's model rejects a segment without transcript."""
    return isinstance(recipe, Recipe) and recipe.model_config(targets).needs_transcript


def ids_without_transcript(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the segments that have no transcript; an empty one is one.

    Raises:
        ManifestError: no row has any.

    >>> rows = [{"segment_id": "a", "transcript": ""}, {"segment_id": "b", "transcript": None}]
    >>> ids_without_transcript(rows)
    {'b'}
    """
    silent = {row["segment_id"] for row in rows if row.get("transcript") is None}
    if len(silent) == len(rows):
        raise ManifestError(
            "the model reads text, and the manifest has no transcript in a column 'transcript'"
        )
    return silent
