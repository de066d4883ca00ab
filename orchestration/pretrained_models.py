"""Trainings that begin with a registered model: a URI becomes the folder of the model's files."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from orchestration import mlflow_store
from orchestration.registry import find_version
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.egemaps import EgemapsConfig
from ser_model.training.recipe import AnyRecipe, Recipe


def with_folders(recipe: AnyRecipe) -> AnyRecipe:
    """Return a recipe whose backbones begin with folders, where it says models:/NAME/VERSION.

    Which weights they are, the trained model's `revision` says: the SHA-256 of the file.

    Raises:
        ModelError: there is no such version.
    """
    if not isinstance(recipe, Recipe):
        return recipe
    backbone = recipe.backbone
    if not isinstance(backbone, Cnn14Config | EgemapsConfig):
        recipe = replace(
            recipe, backbone=replace(backbone, pretrained=_folder(backbone.pretrained))
        )
    if recipe.fusion is not None:
        text = recipe.fusion.text
        text = replace(text, pretrained=_folder(text.pretrained))
        recipe = replace(recipe, fusion=replace(recipe.fusion, text=text))
    return recipe


def _folder(pretrained: str | None) -> str | None:
    found = None if pretrained is None else find_version(pretrained)
    if found is None:
        return pretrained
    _, location = found
    if not location.startswith(mlflow_store.SERVER_SCHEME):
        return location
    # The same path every time: a training is resumed only where it begins with the same.
    digest = hashlib.sha256(location.encode()).hexdigest()
    kept = Path(tempfile.gettempdir(), f"serval-pretrained-{digest[:16]}")
    if not kept.exists():
        with mlflow_store.readable(location) as fetched:
            partial = kept.with_suffix(".part")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(fetched, partial)
            partial.rename(kept)
    return str(kept)
