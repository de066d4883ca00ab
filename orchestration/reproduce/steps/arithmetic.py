"""How much arithmetic a second of audio takes, from the numbers of an architecture.

Multiplications and additions of the forward pass, with 49.9 frames a second and attention over
10 s: 14.8 GFLOP for HuBERT base, 38.4 for wav2vec 2.0 large, 4.0 for CNN14. Training takes twice
as much again for whatever has a gradient.
"""

from __future__ import annotations

from ser_model.audio import SAMPLING_RATE_HZ
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.logmel import NUM_MELS
from ser_model.models.speech_transformer_config import SpeechTransformerConfig
from ser_model.models.text_transformer_config import TextTransformerConfig
from ser_model.training.recipe import AnyRecipe, Recipe

CONV_GFLOP = 4.91
"""Seven convolutions of 512 channels, which all the speech transformers share."""

FRAMES_PER_S = 49.9
FRAMES_OF_ATTENTION = 499
TOKENS_PER_S = 3.0
"""Of speech; an estimate."""


def forward_gflop(recipe: AnyRecipe) -> float:
    """Return GFLOP for a second of audio, of the model without its head."""
    return sum(_parts(recipe).values())


def training_gflop(recipe: AnyRecipe) -> float:
    """Return GFLOP for a second of audio that is learned from."""
    if not isinstance(recipe, Recipe):
        return 0.0
    trained = sum(gflop for part, gflop in _parts(recipe).items() if part not in recipe.freeze)
    return forward_gflop(recipe) + 2.0 * trained


def _parts(recipe: AnyRecipe) -> dict[str, float]:
    if not isinstance(recipe, Recipe):
        return {}
    backbone = recipe.backbone
    parts = {}
    if isinstance(backbone, Cnn14Config):
        parts["encoder"] = _convolutions_gflop(backbone)
    elif isinstance(backbone, SpeechTransformerConfig):
        hidden = backbone.hidden_size
        positions = 2 * hidden * (hidden / 16) * 128 * FRAMES_PER_S / 1e9
        parts["front_end"] = CONV_GFLOP
        parts["encoder"] = positions + _layers_gflop(backbone, FRAMES_PER_S, FRAMES_OF_ATTENTION)
    text = backbone if isinstance(backbone, TextTransformerConfig) else None
    if recipe.fusion is not None:
        text = recipe.fusion.text
    if text is not None:
        parts["text"] = _layers_gflop(text, TOKENS_PER_S, round(10 * TOKENS_PER_S))
    return parts


def _convolutions_gflop(config: Cnn14Config) -> float:
    """Two convolutions of 3 x 3 a block, on half as many frames and bands block after block."""
    frames_per_s, channels_before, gflop = SAMPLING_RATE_HZ / config.hop_samples, 1, 0.0
    for block, channels in enumerate(config.channels):
        places_per_s = frames_per_s * NUM_MELS / 4 ** min(block, config.num_pools)
        weights = 9 * (channels_before * channels + channels * channels)
        gflop += 2 * weights * places_per_s / 1e9
        channels_before = channels
    return gflop


def _layers_gflop(
    config: SpeechTransformerConfig | TextTransformerConfig, steps_per_s: float, length: int
) -> float:
    hidden, inner = config.hidden_size, config.intermediate_size
    products = 2 * (4 * hidden * hidden + 2 * hidden * inner) + 4 * length * hidden
    return config.num_hidden_layers * products * steps_per_s / 1e9
