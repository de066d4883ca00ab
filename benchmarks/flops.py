"""The operations that a model has by its definition, whether or not they are done."""

from __future__ import annotations

from collections.abc import Sequence

from ser_model.models.logmel import SAMPLING_RATE_HZ
from ser_model.models.speech_transformer_config import SpeechTransformerConfig


def model_flops(num_samples: int, config: SpeechTransformerConfig) -> float:
    """Return the operations of one segment, two for a multiply-add, norms and activations not.

    For w2v2-L-robust-12 and 10 s these are 22.1 GFLOP per audio second.
    """
    flops, frames, channels_in = 0.0, num_samples, 1
    for channels, kernel, stride in zip(
        config.conv_dim, config.conv_kernel, config.conv_stride, strict=True
    ):
        frames = (frames - kernel) // stride + 1
        flops += 2.0 * frames * kernel * channels_in * channels
        channels_in = channels
    hidden = config.hidden_size
    flops += 2.0 * frames * channels_in * hidden
    group = hidden // config.num_conv_pos_embedding_groups
    flops += 2.0 * frames * hidden * group * config.num_conv_pos_embeddings
    linear = 2.0 * frames * hidden * (4 * hidden + 2 * config.intermediate_size)
    attention = 4.0 * frames * frames * hidden
    return flops + config.num_hidden_layers * (linear + attention)


def gflop_per_audio_s(segments: Sequence[int], config: SpeechTransformerConfig) -> float:
    """Return the operations of segments of these lengths for a second of their audio."""
    total = sum(model_flops(num_samples, config) for num_samples in segments)
    return total / (sum(segments) / SAMPLING_RATE_HZ) / 1e9
