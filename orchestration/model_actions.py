"""What `serval models` does with a model that a URI names: describe it, export it."""

from __future__ import annotations

import json
from typing import Any

from orchestration import mlflow_store
from orchestration.model_uris import RANDOM_SCHEME, ResolvedModel, resolve_model
from orchestration.registry import NIGHT_TAG, PROMOTION_TAG, find_version
from ser_model import storage
from ser_model.audio import SAMPLING_RATE_HZ
from ser_model.models.base import EmotionModel, Scorer
from ser_model.models.checkpoint import HUB_SCHEME
from ser_model.models.ensemble import Ensemble
from ser_model.models.onnx_export import export_onnx
from ser_model.models.onnx_model import ONNX_SCHEME, OnnxModel
from ser_model.schema import ModelError


def describe_model(uri: str) -> dict[str, Any]:
    """Return what is known of a model: identity, configuration, size, and how it was trained."""
    resolved = resolve_model(uri)
    model = resolved.load()
    return {
        **_training_of(resolved),
        **_members_of(resolved),
        "uri": resolved.uri,
        "weights_sha256": resolved.weights_sha256,
        "folder": None if resolved.location.startswith(RANDOM_SCHEME) else resolved.location,
        "task": model.task,
        "targets": list(model.targets),
        **_text_of(resolved),
        "num_parameters": _num_parameters(model),
        "min_duration_s": model.min_samples / SAMPLING_RATE_HZ,
        **_promotion_of(resolved),
    }


def export_model(uri: str, file: str) -> ResolvedModel:
    """Write a model as an ONNX file; return the file as a model.

    Args:
        uri: of a model with weights of Serval's.
        file: path or URI to write.

    Raises:
        ConfigError: the extra `onnx` is not installed.
        ModelError: there is no such model, or it cannot be exported.
    """
    model = resolve_model(uri).load()
    if isinstance(model, OnnxModel):
        raise ModelError(f"{uri} is an ONNX file already")
    if isinstance(model, Ensemble):
        raise ModelError(
            f"{uri} is an ensemble, which is no one network; export its members: "
            f"{', '.join(model.members)}"
        )
    storage.write_atomic(file, export_onnx(model))
    return resolve_model(f"{ONNX_SCHEME}{file}")


def _num_parameters(model: Scorer) -> int | None:
    """Return how many weights a model has; an ONNX file does not tell them from constants."""
    if isinstance(model, Ensemble):
        numbers = [_num_parameters(member) for member in model.members.values()]
        known = [number for number in numbers if number is not None]
        return sum(known) if len(known) == len(numbers) else None
    if not isinstance(model, EmotionModel):
        return None
    return sum(parameter.numel() for parameter in model.parameters())


def _text_of(resolved: ResolvedModel) -> dict[str, Any]:
    """Return how a model reads; of one that does not, nothing."""
    if resolved.config is None or resolved.config.text is None:
        return {}
    text = resolved.config.text
    return {
        "missing_transcript": text.missing_transcript,
        "max_tokens": text.max_tokens,
        "special_tokens": text.special_tokens,
        "tokeniser_sha256": text.tokeniser_sha256,
    }


def _promotion_of(resolved: ResolvedModel) -> dict[str, Any]:
    """Return how a version became champion, if it did, and the last night that evaluated it."""
    found = find_version(resolved.uri)
    tags = {} if found is None else found[0].tags
    names = {"promotion": PROMOTION_TAG, "night": NIGHT_TAG}
    return {name: json.loads(tags[tag]) for name, tag in names.items() if tag in tags}


def _members_of(resolved: ResolvedModel) -> dict[str, Any]:
    """Return how an ensemble votes, and of whom it is made."""
    if resolved.ensemble is None:
        return {}
    return {
        "vote": resolved.ensemble.vote,
        "members": [
            f"{member.uri} (sha256 {member.weights_sha256[:12]})" for member in resolved.members
        ],
    }


def _training_of(resolved: ResolvedModel) -> dict[str, Any]:
    """Return recipe and metrics from the record beside the weights, where there is one."""
    if resolved.location.startswith((RANDOM_SCHEME, HUB_SCHEME, ONNX_SCHEME)):
        return {}
    with mlflow_store.readable(resolved.location) as folder:
        uri = storage.join(folder, mlflow_store.TRAINING_RECORD)
        if not storage.exists(uri):
            return {}
        record = storage.read_json(uri)
    names = ("recipe_name", "recipe", "overrides", "best", "num_segments", "speakers_overlap")
    return {name: record[name] for name in names if name in record}
