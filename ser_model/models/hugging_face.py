"""Whole emotion models in the Hugging Face layout, as audEERING's released one is stored.

Beside the transformer (`wav2vec2.*`) there is a head of a dense layer, tanh and an output layer
(`classifier.dense`, `classifier.out_proj`) over the mean of the top layer's frames; `id2label`
names its outputs. Wagner et al. 2023 published
audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim so (CC BY-NC-SA 4.0).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast, get_args

import torch

from ser_model import storage
from ser_model.models.base import EmotionModel, ModelConfig, Task
from ser_model.models.checkpoint import CONFIG_NAME, HUB_SCHEME, Checkpoint, read_checkpoint
from ser_model.models.head import HeadConfig
from ser_model.models.pooling import PoolingName
from ser_model.models.pretrained import architecture_of, load_weights
from ser_model.models.speech_transformer import SpeechTransformer
from ser_model.models.speech_transformer_config import SpeechTransformerConfig
from ser_model.schema import DIMENSIONS, ModelError

_HEAD = "classifier."
_HEAD_WEIGHTS = ("dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias")
_POOLINGS = ("mean", "sum", "max")


def is_hugging_face(source: str) -> bool:
    """Tell whether a model is on the hub, or a folder in the hub's layout and not in Serval's."""
    if source.startswith(HUB_SCHEME):
        return True
    uri = storage.join(source, CONFIG_NAME)
    if not storage.exists(uri):
        return False
    try:
        mapping = storage.read_json(uri)
    except ValueError:
        return False  # whoever reads it next says why
    return "format" not in mapping and "model_type" in mapping


def load_hugging_face_model(source: str) -> EmotionModel:
    """Load a model with audEERING's head, in eval mode.

    Args:
        source: a folder, or `hf:ORG/NAME`, with @REVISION behind it or not.

    Raises:
        ModelError: it cannot be read, has another head, lacks a weight, or does not say what its
            outputs mean.
    """
    checkpoint = read_checkpoint(source)
    backbone = architecture_of(checkpoint)
    if not isinstance(backbone, SpeechTransformerConfig):
        raise ModelError(f"{checkpoint.source} is no emotion model that Serval knows")
    missing = [name for name in _HEAD_WEIGHTS if _HEAD + name not in checkpoint.weights]
    if missing:
        raise ModelError(
            f"{checkpoint.source} is no emotion model that Serval knows: it has no "
            f"{', '.join(_HEAD + name for name in missing)}"
        )
    # Without SpecAugment's frame: scoring has no use for it, and not every checkpoint has it.
    backbone = dataclasses.replace(backbone, mask_time_prob=0.0)
    num_hidden = checkpoint.weights[_HEAD + "dense.weight"].shape[0]
    task, targets, order = _meaning(checkpoint)
    model = EmotionModel(
        ModelConfig(
            task=task,
            targets=targets,
            backbone=backbone,
            pooling=_pooling(checkpoint),
            head=HeadConfig(
                num_hidden=num_hidden, activation="tanh", dropout=_dropout(checkpoint.config)
            ),
        )
    )
    assert isinstance(model.backbone, SpeechTransformer), "of such a configuration"
    load_weights(model.backbone, checkpoint)
    head = {name: checkpoint.weights[_HEAD + name].float() for name in _HEAD_WEIGHTS}
    for name in ("out_proj.weight", "out_proj.bias"):
        if len(head[name]) != len(order):
            raise ModelError(
                f"{_HEAD}{name} of {checkpoint.source} has {len(head[name])} outputs, and id2label "
                f"names {len(order)}"
            )
        head[name] = head[name][torch.tensor(order)]
    try:
        model.head.load_state_dict(head)
    except RuntimeError as error:
        raise ModelError(f"the head of {checkpoint.source} does not fit: {error}") from error
    return model.eval()


def _meaning(checkpoint: Checkpoint) -> tuple[Task, tuple[str, ...], list[int]]:
    """Return task, targets in Serval's order, and which output is which target."""
    labels = checkpoint.config.get("id2label")
    if not isinstance(labels, Mapping) or not labels:
        raise ModelError(
            f"{CONFIG_NAME} of {checkpoint.source} has no id2label to name its outputs"
        )
    by_output = {str(index): str(label) for index, label in labels.items()}
    if set(by_output) != {str(index) for index in range(len(by_output))}:
        raise ModelError(f"id2label of {checkpoint.source} must name the outputs from 0 on")
    names = [by_output[str(index)] for index in range(len(by_output))]
    lower = [name.lower() for name in names]
    if sorted(lower) == sorted(DIMENSIONS):
        return "dimensions", DIMENSIONS, [lower.index(name) for name in DIMENSIONS]
    if len(set(names)) < len(names) or any(name.startswith("LABEL_") for name in names):
        raise ModelError(
            f"id2label of {checkpoint.source} does not tell what its outputs mean: "
            f"{', '.join(names)}"
        )
    targets = tuple(sorted(names))
    return "emotion", targets, [names.index(name) for name in targets]


def _pooling(checkpoint: Checkpoint) -> PoolingName:
    pooling = checkpoint.config.get("pooling_mode", "mean")
    if pooling not in _POOLINGS:
        raise ModelError(
            f"pooling_mode {pooling!r} of {checkpoint.source} is none of {', '.join(_POOLINGS)}"
        )
    assert pooling in get_args(PoolingName), "they have the same names"
    return cast(PoolingName, pooling)


def _dropout(config: Mapping[str, Any]) -> float:
    dropout = config.get("final_dropout", 0.1)
    return float(dropout) if isinstance(dropout, int | float) and 0.0 <= dropout < 1.0 else 0.1
