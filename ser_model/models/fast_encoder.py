"""The transformer of wav2vec 2.0, HuBERT and UniSpeech over segments laid end to end.

All that a layer does to a frame alone (projections, norms, feed-forward) runs over the frames of
all segments at once; attention runs per segment, or over neighbours of equal length together. So
there is no padding to compute, no mask, and no segment sees another.

In bfloat16 the products are bfloat16, but the hidden frames that the layers add to stay float32: in
bfloat16 each sum would round away a part of what its layer adds. On real speech, scores of a small
trained model so have a CCC to float32's of .9999; with sums in bfloat16 it was .995.

Shapes: B batch, T frames of a segment, F frames of all segments, D features, H heads, A features of
a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser_model.models.fast_front_end import Affine, affine
from ser_model.models.packing import Packing
from ser_model.models.position_convolution import (
    PositionWeights,
    convolve_positions,
    position_weights,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearWeights:
    """A dense layer."""

    weight: Tensor
    bias: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Return rows @ weight.T + bias."""
        return F.linear(rows, self.weight, self.bias)

    def add_to(self, sum_rows: Tensor, rows: Tensor) -> Tensor:
        """Add rows @ weight.T + bias to float32 sum_rows, in place."""
        if rows.dtype != sum_rows.dtype:
            return sum_rows.add_(self(rows))
        # The product itself does the adding.
        return sum_rows.add_(self.bias).addmm_(rows, self.weight.T)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """One transformer layer, with the library's names."""

    query: LinearWeights
    key: LinearWeights
    value: LinearWeights
    attention_out: LinearWeights
    layer_norm: Affine
    intermediate: LinearWeights
    feed_forward_out: LinearWeights
    final_layer_norm: Affine


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderWeights:
    """The whole encoder.

    Attributes:
        position: the positional convolution, in float32.
        layer_norm: before the layers, or behind them with stable_layer_norm.
        layers: from the lowest to the top.
        num_heads: of the attention.
        stable_layer_norm: whether the norms stand before attention and feed-forward (large models)
            or behind them (base models).
        dtype: of the products.
    """

    position: PositionWeights
    layer_norm: Affine
    layers: tuple[LayerWeights, ...]
    num_heads: int
    stable_layer_norm: bool
    dtype: torch.dtype


def encoder_weights(
    encoder: Any,  # noqa: ANN401  one of three library classes with no common type
    *,
    num_heads: int,
    stable_layer_norm: bool,
    dtype: torch.dtype,
) -> EncoderWeights:
    """Read the weights of the library's encoder, in the dtype of the arithmetic."""
    # A norm before a product gives what the product takes; one behind it, the frames to add to.
    norm_dtype = dtype if stable_layer_norm else torch.float32

    def linear(module: nn.Linear) -> LinearWeights:
        return LinearWeights(
            weight=module.weight.detach().to(dtype), bias=module.bias.detach().to(dtype)
        )

    def layer_weights(layer: Any) -> LayerWeights:  # noqa: ANN401  the same
        attention, feed_forward = layer.attention, layer.feed_forward
        return LayerWeights(
            query=linear(attention.q_proj),
            key=linear(attention.k_proj),
            value=linear(attention.v_proj),
            attention_out=linear(attention.out_proj),
            layer_norm=affine(layer.layer_norm, norm_dtype),
            intermediate=linear(feed_forward.intermediate_dense),
            feed_forward_out=linear(feed_forward.output_dense),
            final_layer_norm=affine(layer.final_layer_norm, norm_dtype),
        )

    return EncoderWeights(
        position=position_weights(encoder.pos_conv_embed.conv),
        layer_norm=affine(encoder.layer_norm, torch.float32),
        layers=tuple(layer_weights(layer) for layer in encoder.layers),
        num_heads=num_heads,
        stable_layer_norm=stable_layer_norm,
        dtype=dtype,
    )


def encode(hidden_FD: Tensor, packing: Packing, weights: EncoderWeights) -> Tensor:
    """Return the top layer's hidden_FD of all true frames, float32; the argument is overwritten."""
    position_FD = F.gelu(convolve_positions(hidden_FD, packing, weights.position))
    hidden_FD = hidden_FD.float().add_(position_FD)
    if not weights.stable_layer_norm:
        hidden_FD = weights.layer_norm.layer_norm(hidden_FD)
    runs = packing.equal_runs()
    for layer in weights.layers:
        if weights.stable_layer_norm:
            normed_FD = layer.layer_norm.layer_norm(hidden_FD)
            context_FD = _attend(normed_FD, runs, layer, weights.num_heads)
            layer.attention_out.add_to(hidden_FD, context_FD)
            normed_FD = layer.final_layer_norm.layer_norm(hidden_FD)
            layer.feed_forward_out.add_to(hidden_FD, _widen(normed_FD, layer))
        else:
            context_FD = _attend(hidden_FD.to(weights.dtype), runs, layer, weights.num_heads)
            layer.attention_out.add_to(hidden_FD, context_FD)
            hidden_FD = layer.layer_norm.layer_norm(hidden_FD)
            wide_FW = _widen(hidden_FD.to(weights.dtype), layer)
            layer.feed_forward_out.add_to(hidden_FD, wide_FW)
            hidden_FD = layer.final_layer_norm.layer_norm(hidden_FD)
    if weights.stable_layer_norm:
        hidden_FD = weights.layer_norm.layer_norm(hidden_FD)
    return hidden_FD


def _attend(
    hidden_FD: Tensor, runs: list[tuple[int, int, int]], layer: LayerWeights, num_heads: int
) -> Tensor:
    """Return what each frame gathers from the frames of its own segment, before `attention_out`."""
    query_FD, key_FD, value_FD = (
        layer.query(hidden_FD),
        layer.key(hidden_FD),
        layer.value(hidden_FD),
    )
    context_FD = torch.empty_like(hidden_FD)
    for begin, num_segments, num_frames in runs:
        end = begin + num_segments * num_frames
        shape = (num_segments, num_frames, num_heads, -1)
        query_BHTA, key_BHTA, value_BHTA = (
            # Contiguous heads: the copy costs a tenth of what it saves on a CPU.
            rows_FD[begin:end].view(shape).transpose(1, 2).contiguous()
            for rows_FD in (query_FD, key_FD, value_FD)
        )
        context_BHTA = F.scaled_dot_product_attention(query_BHTA, key_BHTA, value_BHTA)
        context_FD[begin:end].view(shape).copy_(context_BHTA.transpose(1, 2))
    return context_FD


def _widen(hidden_FD: Tensor, layer: LayerWeights) -> Tensor:
    """Return the first half of the feed-forward part."""
    return torch.ops.aten.gelu_(layer.intermediate(hidden_FD))  # type: ignore[no-any-return]  # torch.ops is untyped
