"""Weights that a training begins with and that come from the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from urllib.error import HTTPError
from urllib.request import urlopen

from ser_model.models.checkpoint import CONFIG_NAME
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.egemaps import EgemapsConfig
from ser_model.schema import ModelError
from ser_model.training.recipe import AnyRecipe, Recipe

ANSWERS_WITHIN_S = 5.0


def hub_weights(recipe: AnyRecipe) -> tuple[str, ...]:
    """Return ORG/NAME@REVISION of each backbone that begins with weights of the hub."""
    if not isinstance(recipe, Recipe):
        return ()
    backbones = [recipe.backbone, *([] if recipe.fusion is None else [recipe.fusion.text])]
    return tuple(
        f"{backbone.pretrained}@{backbone.revision}"
        for backbone in backbones
        if not isinstance(backbone, Cnn14Config | EgemapsConfig) and backbone.pretrained is not None
    )


def check_at_hand(weights: Sequence[str]) -> None:
    """Refuse weights that are not in the hub's cache while the hub does not answer.

    The hub's own client would try for half a minute, for every system anew.

    Raises:
        ModelError: these weights cannot be had now.
    """
    from huggingface_hub import try_to_load_from_cache

    for source in weights:
        hub_id, _, revision = source.partition("@")
        cached = try_to_load_from_cache(hub_id, CONFIG_NAME, revision=revision)
        if not isinstance(cached, str) and not _hub_answers():
            raise ModelError(
                f"needs the weights of {hub_id}: not in the cache, and the Hugging Face hub does "
                "not answer"
            )


@cache
def _hub_answers() -> bool:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        # Any answer will do. The address is the hub's, or what HF_ENDPOINT says in its place.
        with urlopen(constants.ENDPOINT, timeout=ANSWERS_WITHIN_S):  # noqa: S310
            return True
    except HTTPError:
        return True
    except OSError:
        return False
