"""Backbones by the names that papers give them; `backbones.yaml` beside this module has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from ser_model.models.configuration import build
from ser_model.models.speech_transformer_config import SpeechTransformerConfig
from ser_model.models.text_transformer_config import TextTransformerConfig
from ser_model.models.whisper_encoder import WhisperConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedBackbone:
    """An entry of `backbones.yaml`.

    Attributes:
        hub: its id on the Hugging Face hub.
        revision: commit there; None where none is pinned.
        licence: of the weights.
        config: its architecture, with random weights.
    """

    hub: str
    revision: str | None
    licence: str
    config: SpeechTransformerConfig | WhisperConfig | TextTransformerConfig


@cache
def named_backbones() -> dict[str, NamedBackbone]:
    """Return all backbones by name.

    Example:
        >>> named_backbones()["hubert-L"].hub
        'facebook/hubert-large-ll60k'
        >>> named_backbones()["whisper-small"].config.hidden_size
        768
    """
    return {name: build(NamedBackbone, entry, name) for name, entry in _entries().items()}


def with_name_filled_in(backbone: object, path: str = "backbone") -> object:
    """Return what a recipe says of a backbone, all filled in where it gives it by name.

    A field that the recipe gives beside the name takes the place of the named backbone's; another
    `pretrained` is not at the named backbone's revision.

    Args:
        backbone: a mapping with `name`; anything else comes back as it is.
        path: dotted name of the place in the recipe, for messages.

    Raises:
        ValueError: no backbone has that name.

    Example:
        >>> filled = with_name_filled_in({"name": "w2v2-L-robust", "num_hidden_layers": 12})
        >>> filled["pretrained"], filled["num_hidden_layers"], filled["hidden_size"]
        ('facebook/wav2vec2-large-robust', 12, 1024)
    """
    if not isinstance(backbone, Mapping) or "name" not in backbone:
        return backbone
    given = {key: value for key, value in backbone.items() if key != "name"}
    entry = _entries().get(backbone["name"])
    if entry is None:
        raise ValueError(
            f"{path}.name is {backbone['name']!r}; allowed are: {', '.join(_entries())}"
        )
    pretrained = given.get("pretrained", entry["hub"])
    revision = entry["revision"] if pretrained == entry["hub"] else None
    return {**entry["config"], "pretrained": pretrained, "revision": revision, **given}


@cache
def _entries() -> dict[str, dict[str, Any]]:
    file = resources.files("ser_model.models") / "backbones.yaml"
    entries: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {name: entry for name, entry in entries.items() if not name.startswith(".")}
