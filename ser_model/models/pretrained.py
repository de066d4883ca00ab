"""Backbones that begin with pretrained weights, and the model that a training begins with."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable
from typing import Any, TypeAlias, TypeVar

from torch import nn

from ser_model.models.backbones import named_backbones
from ser_model.models.base import EmotionModel, ModelConfig, build_model
from ser_model.models.checkpoint import FORMAT, Checkpoint, fit, read_checkpoint
from ser_model.models.configuration import build
from ser_model.models.speech_transformer import SpeechTransformer
from ser_model.models.speech_transformer_config import SpeechTransformerConfig, config_from_library
from ser_model.models.text_checkpoint import read_tokeniser
from ser_model.models.text_transformer import TextTransformer
from ser_model.models.text_transformer_config import (
    TextTransformerConfig,
    text_config_from_library,
)
from ser_model.models.tokeniser import make_tokeniser
from ser_model.models.whisper_encoder import WhisperConfig, WhisperEncoder
from ser_model.schema import ModelError

logger = logging.getLogger(__name__)

TransformerConfig: TypeAlias = SpeechTransformerConfig | WhisperConfig | TextTransformerConfig
OfConfig = TypeVar("OfConfig", bound=TransformerConfig)
Transformer: TypeAlias = SpeechTransformer | WhisperEncoder | TextTransformer

CHOICES = (
    *("do_normalize", "layers", "pretrained", "revision"),
    *("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"),
    *("layerdrop", "mask_time_prob", "mask_time_length"),
    *("max_tokens", "special_tokens", "missing_transcript", "tokeniser_sha256"),
)
"""Fields that a training chooses; all others are the architecture, and a checkpoint's is fixed."""

_PROBES = {
    SpeechTransformer: "feature_projection.projection.weight",
    WhisperEncoder: "conv1.weight",
    TextTransformer: "embeddings.word_embeddings.weight",
}
"""A weight of each family that no other has, and that a checkpoint has once."""

_WHISPER_NAMES = {
    "hidden_size": "d_model",
    "num_hidden_layers": "encoder_layers",
    "num_attention_heads": "encoder_attention_heads",
    "intermediate_size": "encoder_ffn_dim",
    "num_mels": "num_mel_bins",
}
_WHISPER_ONLY = {
    "activation_function": "gelu",
    "scale_embedding": False,
    "max_source_positions": 1500,
}


def initial_model(config: ModelConfig, seed: int, transcripts: Iterable[str] = ()) -> EmotionModel:
    """Return the model that a training begins with.

    Where a backbone names a checkpoint (`pretrained`), the backbone has those weights, what the
    checkpoint's preprocessor_config.json says of normalisation, and the commit that the hub
    resolved as its `revision`; a text backbone has its tokeniser too. All else is random and
    depends on the seed alone.

    Args:
        config: with checkpoints named or not.
        seed: of the random weights.
        transcripts: of the training segments; of a text backbone without checkpoint, the vocabulary
            is made of them.

    Raises:
        ModelError: the checkpoint cannot be read, has another architecture than the configuration
            says, or lacks a weight.
    """
    backbone, text = config.backbone, config.text
    of_audio = of_text = tokeniser = None
    if isinstance(backbone, SpeechTransformerConfig | WhisperConfig):
        agreed, of_audio = _with_checkpoint(backbone)
        config = dataclasses.replace(config, backbone=agreed)
    if text is not None:
        text, of_text = _with_checkpoint(text)
        config = config.with_text(text)
        if of_text is None:
            tokeniser = make_tokeniser(transcripts, vocab_size=text.vocab_size)
        else:
            tokeniser = read_tokeniser(of_text)
    model = build_model(config, seed, tokeniser)
    for transformer, checkpoint in ((model.backbone, of_audio), (model.text, of_text)):
        if transformer is not None and checkpoint is not None:
            load_weights(transformer, checkpoint)
    return model


def untrained(config: ModelConfig) -> ModelConfig:
    """Return the configuration of the same model with random weights all over."""
    if isinstance(config.backbone, TransformerConfig):
        backbone = dataclasses.replace(config.backbone, pretrained=None, revision=None)
        config = dataclasses.replace(config, backbone=backbone)
    if config.text is None:
        return config
    return config.with_text(dataclasses.replace(config.text, pretrained=None, revision=None))


def load_backbone(
    source: str, *, num_hidden_layers: int | None = None
) -> SpeechTransformer | WhisperEncoder:
    """Load a pretrained backbone that hears, in eval mode.

    Args:
        source: a name of `backbones.yaml`, a hub id, or a folder in the Hugging Face layout.
        num_hidden_layers: how many layers to keep, counted from the lowest; None for all.

    Raises:
        ModelError: it cannot be read, is of no family that is built here, or lacks a weight.
    """
    named = named_backbones().get(source)
    if named is None:
        checkpoint = read_checkpoint(source)
    else:
        checkpoint = read_checkpoint(named.hub, named.revision)
    config = architecture_of(checkpoint, num_hidden_layers=num_hidden_layers)
    backbone = (
        WhisperEncoder(config) if isinstance(config, WhisperConfig) else SpeechTransformer(config)
    )
    load_weights(backbone, checkpoint)
    return backbone.eval()


def architecture_of(
    checkpoint: Checkpoint,
    *,
    num_hidden_layers: int | None = None,
    do_normalize: bool | None = None,
) -> SpeechTransformerConfig | WhisperConfig:
    """Return the configuration of a checkpoint's backbone that hears.

    Args:
        checkpoint: its config.json says all, but for normalisation.
        num_hidden_layers: how many layers to keep; None for all.
        do_normalize: for a checkpoint without preprocessor_config.json.

    Raises:
        ModelError: it is of no family that is built here.
    """
    try:
        if checkpoint.config.get("model_type") == "whisper":
            return _whisper_config(checkpoint.config, num_hidden_layers)
        if checkpoint.do_normalize is not None:
            do_normalize = checkpoint.do_normalize
        if do_normalize is None:
            raise ValueError("no preprocessor_config.json says do_normalize")
        return config_from_library(
            checkpoint.config, do_normalize=do_normalize, num_hidden_layers=num_hidden_layers
        )
    except ValueError as error:
        raise ModelError(f"{checkpoint.source} is no backbone that is built: {error}") from error


def load_weights(backbone: nn.Module, checkpoint: Checkpoint) -> list[str]:
    """Give a backbone a checkpoint's weights; return the names of those that it has no use for.

    The frame that SpecAugment writes over others, which only training uses, stays random where the
    checkpoint has none.

    Raises:
        ModelError: a weight of the backbone is missing or has another shape.
    """
    assert isinstance(backbone, Transformer), "others have no checkpoints"
    probe = next(name for kind, name in _PROBES.items() if isinstance(backbone, kind))
    expected = backbone.transformer.state_dict()
    if not any(name.endswith("masked_spec_embed") for name in checkpoint.weights):
        expected.pop("masked_spec_embed", None)
    weights, left_over = fit(checkpoint, expected, probe=probe)
    backbone.transformer.load_state_dict({**backbone.transformer.state_dict(), **weights})
    if left_over:
        shown = ", ".join(left_over[:5]) + (", ..." if len(left_over) > 5 else "")
        logger.info("%s: %d weights not used: %s", checkpoint.source, len(left_over), shown)
    return left_over


def _with_checkpoint(config: OfConfig) -> tuple[OfConfig, Checkpoint | None]:
    """Return a backbone's configuration as its checkpoint completes it, and the checkpoint."""
    if config.pretrained is None:
        return config, None
    checkpoint = read_checkpoint(config.pretrained, config.revision)
    return _agreed(config, checkpoint), checkpoint


def _found(config: TransformerConfig, checkpoint: Checkpoint) -> TransformerConfig:
    """Return what a checkpoint says of the backbone that is asked for."""
    depth = config.num_hidden_layers
    if checkpoint.config.get("format") == FORMAT:
        return _backbone_of_trained(checkpoint, config)
    if isinstance(config, TextTransformerConfig):
        try:
            return text_config_from_library(checkpoint.config, num_hidden_layers=depth)
        except ValueError as error:
            raise ModelError(f"{checkpoint.source} is no text backbone: {error}") from error
    return architecture_of(
        checkpoint,
        num_hidden_layers=depth,
        do_normalize=getattr(config, "do_normalize", None),
    )


def _backbone_of_trained(checkpoint: Checkpoint, config: TransformerConfig) -> TransformerConfig:
    """Return the backbone of a model that was trained here, with fewer layers where asked for."""
    mapping = {name: value for name, value in checkpoint.config.items() if name != "format"}
    try:
        trained = build(ModelConfig, mapping)
    except ValueError as error:
        raise ModelError(f"{checkpoint.source} is no model that Serval knows: {error}") from error
    for backbone in (trained.backbone, trained.text):
        if isinstance(backbone, type(config)):
            depth = min(config.num_hidden_layers, backbone.num_hidden_layers)
            found: TransformerConfig = dataclasses.replace(backbone, num_hidden_layers=depth)
            return found
    raise ModelError(f"{checkpoint.source} has no backbone of the kind {config.kind!r}")


def _agreed(config: OfConfig, checkpoint: Checkpoint) -> OfConfig:
    """Return the configuration with what only the checkpoint knows, once both agree on the rest."""
    given: dict[str, Any] = dataclasses.asdict(config)
    found: dict[str, Any] = dataclasses.asdict(_found(config, checkpoint))
    differing = [
        f"{name} is {value!r}, there {found.get(name)!r}"
        for name, value in given.items()
        if name not in CHOICES and value != found.get(name)
    ]
    if differing:
        raise ModelError(f"the backbone is not that of {checkpoint.source}: {'; '.join(differing)}")
    changes: dict[str, Any] = {"revision": checkpoint.revision}
    if "do_normalize" in given:
        changes["do_normalize"] = found["do_normalize"]
    return dataclasses.replace(config, **changes)


def _whisper_config(library: Any, num_hidden_layers: int | None) -> WhisperConfig:  # noqa: ANN401  a file's content
    for name, only in _WHISPER_ONLY.items():
        if library.get(name, only) != only:
            raise ValueError(f"{name} {library[name]!r} is not built; only {only!r} is")
    missing = [name for name in _WHISPER_NAMES.values() if not isinstance(library.get(name), int)]
    if missing:
        raise ValueError(f"config.json has no {', '.join(missing)}")
    fields = {name: library[library_name] for name, library_name in _WHISPER_NAMES.items()}
    if num_hidden_layers is not None:
        if num_hidden_layers > fields["num_hidden_layers"]:
            raise ValueError(
                f"the checkpoint has {fields['num_hidden_layers']} layers, not {num_hidden_layers}"
            )
        fields["num_hidden_layers"] = num_hidden_layers
    return WhisperConfig(**fields)
