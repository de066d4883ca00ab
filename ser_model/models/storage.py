"""Models on disk: `config.json` for people and `model.safetensors` for the weights. No pickle.

The weights file carries the configuration in its header as well, so that its SHA-256 (what
`sha256sum model.safetensors` prints) stands for the whole model, and a configuration that was
changed beside it is noticed. A model that reads text has a third file, `tokenizer.json`, whose
SHA-256 is in the configuration.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from ser_model import storage
from ser_model.models.base import EmotionModel, ModelConfig
from ser_model.models.checkpoint import FORMAT, MAX_JSON_BYTES
from ser_model.models.configuration import build
from ser_model.models.egemaps import EgemapsConfig
from ser_model.models.hugging_face import is_hugging_face, load_hugging_face_model
from ser_model.models.tokeniser import MAX_TOKENISER_BYTES, TOKENISER_NAME
from ser_model.schema import ModelError

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
MAX_WEIGHTS_BYTES = 1 << 34
_MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit


def save_model(model: EmotionModel, folder: str) -> None:
    """Write `config.json`, `model.safetensors` and what else there is into a folder or any URI."""
    if model.text is not None:
        storage.write_atomic(storage.join(folder, TOKENISER_NAME), model.text.tokeniser.data)
    storage.write_atomic(storage.join(folder, WEIGHTS_NAME), _weights_bytes(model))
    storage.write_json(storage.join(folder, CONFIG_NAME), _config_mapping(model.config))


def load_model(folder: str) -> EmotionModel:
    """Read a model that `save_model` wrote; it comes back in eval mode.

    A folder in the Hugging Face layout, and `hf:ORG/NAME` on its hub, are read too.

    Raises:
        ModelError: a file is absent or no model, the configuration is not the one that the weights
            were saved with, or a weight is missing, left over or of another shape; or it is a
            model of cross-validation that cannot score segments one by one.
    """
    if is_hugging_face(folder):
        return load_hugging_face_model(folder)
    config = read_config(folder)
    if isinstance(config.backbone, EgemapsConfig) and config.backbone.speaker_normalised:
        raise ModelError(
            f"{folder} holds a model of features that were normalised by speaker: it cannot score "
            "a segment without the speaker's others. Audit what its cross-validation predicted "
            "(test.parquet), or train it without speaker_normalisation"
        )
    data = _read(storage.join(folder, WEIGHTS_NAME))
    weights = _parse_weights(data, folder)
    if _header_config(data) != _canonical(config):
        raise ModelError(
            f"{folder}: {CONFIG_NAME} is not the configuration that {WEIGHTS_NAME} was saved with; "
            "restore the file, or save the model again"
        )
    model = EmotionModel(config, _read_tokeniser(folder, config))
    _check_weights(model, weights, folder)
    model.load_state_dict(weights)
    return model.eval()


def read_config(folder: str) -> ModelConfig:
    """Read the configuration of a model that `save_model` wrote, without its weights.

    Raises:
        ModelError: it is absent, or describes no model.
    """
    uri = storage.join(folder, CONFIG_NAME)
    try:
        mapping = json.loads(_read(uri, max_bytes=MAX_JSON_BYTES))
        if not isinstance(mapping, dict) or mapping.pop("format", None) != FORMAT:
            raise ValueError(f"it does not say that its format is {FORMAT!r}")
        return build(ModelConfig, mapping)
    except ValueError as error:
        raise ModelError(f"{uri} describes no model that Serval knows: {error}") from error


def weights_sha256(model: EmotionModel | str) -> str:
    """Return the SHA-256 of `model.safetensors`, of a folder or as `save_model` would write it."""
    if isinstance(model, EmotionModel):
        data = _weights_bytes(model)
    else:
        data = _read(storage.join(model, WEIGHTS_NAME))
    return hashlib.sha256(data).hexdigest()


def _weights_bytes(model: EmotionModel) -> bytes:
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in _state(model).items()}
    # One key alone: safetensors writes several in an order of its own.
    return safetensors.torch.save(weights, metadata={"config": _canonical(model.config)})


def _state(model: EmotionModel) -> dict[str, Tensor]:
    return dict(model.state_dict())


def _config_mapping(config: ModelConfig) -> dict[str, Any]:
    mapping = dataclasses.asdict(config)
    if config.fusion is None:
        del mapping["fusion"]  # a model without has the hash that it had before there was any
    return {"format": FORMAT, **mapping}


def _canonical(config: ModelConfig) -> str:
    return json.dumps(_config_mapping(config), sort_keys=True, separators=(",", ":"))


def _read(uri: str, *, max_bytes: int = MAX_WEIGHTS_BYTES) -> bytes:
    try:
        return storage.read_bytes(uri, max_bytes=max_bytes)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise ModelError(
            f"{uri} cannot be read ({reason}); a model is a folder with {CONFIG_NAME} and "
            f"{WEIGHTS_NAME}"
        ) from error


def _read_tokeniser(folder: str, config: ModelConfig) -> bytes | None:
    """Return what `tokenizer.json` holds; None for a model of audio alone."""
    if config.text is None:
        return None
    uri = storage.join(folder, TOKENISER_NAME)
    data = _read(uri, max_bytes=MAX_TOKENISER_BYTES)
    if hashlib.sha256(data).hexdigest() != config.text.tokeniser_sha256:
        raise ModelError(
            f"{uri} is not the tokeniser that the model was saved with; restore the file, or save "
            "the model again"
        )
    return data


def _parse_weights(data: bytes, folder: str) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(data)
    except SafetensorError as error:
        raise ModelError(f"{folder}/{WEIGHTS_NAME} is no safetensors file: {error}") from error


def _header_config(data: bytes) -> str | None:
    """Return what the header of a valid safetensors file says of the configuration."""
    num_bytes = int.from_bytes(data[:8], "little")
    assert num_bytes <= _MAX_HEADER_BYTES, "safetensors refuses longer headers"
    metadata = json.loads(data[8 : 8 + num_bytes]).get("__metadata__", {})
    config: str | None = metadata.get("config")
    return config


def _check_weights(model: EmotionModel, weights: dict[str, Tensor], folder: str) -> None:
    expected = _state(model)
    problems = [f"{name} is missing" for name in expected if name not in weights]
    problems += [f"{name} is not known" for name in weights if name not in expected]
    problems += [
        f"{name} has the shape {list(weights[name].shape)}, not {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if problems:
        shown = "; ".join(problems[:5]) + ("; ..." if len(problems) > 5 else "")
        raise ModelError(
            f"{folder}/{WEIGHTS_NAME} does not fit {CONFIG_NAME}: {len(problems)} weights differ: "
            f"{shown}"
        )
