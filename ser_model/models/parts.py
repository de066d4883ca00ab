"""The parts of an emotion model, made as its configuration says, and their initial weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from ser_model.models.backbone import Backbone
from ser_model.models.cnn14 import Cnn14, Cnn14Config
from ser_model.models.egemaps import Egemaps, EgemapsConfig
from ser_model.models.fusion import Fusion
from ser_model.models.head import Head
from ser_model.models.speech_transformer import SpeechTransformer
from ser_model.models.support_vectors import SupportVectorConfig, SupportVectorHead
from ser_model.models.text_transformer import TextTransformer
from ser_model.models.text_transformer_config import TextTransformerConfig
from ser_model.models.whisper_encoder import WhisperConfig, WhisperEncoder

if TYPE_CHECKING:
    from ser_model.models.base import BackboneConfig, EmotionModel, ModelConfig


def build_backbone(config: BackboneConfig, tokeniser: bytes | None) -> Backbone | TextTransformer:
    """Return the backbone of a configuration; only one that reads has a use for a tokeniser."""
    if isinstance(config, TextTransformerConfig):
        return TextTransformer(config, tokeniser)
    if isinstance(config, Cnn14Config):
        return Cnn14(config)
    if isinstance(config, EgemapsConfig):
        return Egemaps(config)
    if isinstance(config, WhisperConfig):
        return WhisperEncoder(config)
    return SpeechTransformer(config)


def build_fusion(config: ModelConfig, *, num_pooled: int, tokeniser: bytes | None) -> Fusion | None:
    """Return what joins text and audio; None where the model has no such part."""
    if config.fusion is None:
        return None
    channels = config.backbone.channels if isinstance(config.backbone, Cnn14Config) else ()
    return Fusion(config.fusion, num_pooled=num_pooled, channels=channels, tokeniser=tokeniser)


def build_head(config: ModelConfig, *, num_in: int) -> Head | SupportVectorHead:
    """Return the head, for vectors of `num_in` features."""
    num_scores = len(config.targets)
    if isinstance(config.head, SupportVectorConfig):
        votes = config.task == "emotion"
        return SupportVectorHead(config.head, num_in=num_in, num_scores=num_scores, votes=votes)
    return Head(config.head, num_in=num_in, num_scores=num_scores)


def initialise(model: EmotionModel) -> None:
    """Give the weights PANNs' initial values, but for the transformers, whose library has done so.

    Xavier's, with zeros for the biases; in an order that the seed's numbers depend on.
    """
    parts: list[nn.Module] = [model.backbone, model.pooling, model.head]
    if model.fusion is not None:
        parts += [model.fusion.pooling, model.fusion.projections]
    for part in parts:
        if isinstance(part, SpeechTransformer | WhisperEncoder | TextTransformer):
            continue
        for module in part.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
