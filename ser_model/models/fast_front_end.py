"""The convolutional front end of wav2vec 2.0, HuBERT and UniSpeech as matrix products.

The library keeps channels before time and so transposes twice around every LayerNorm, which costs
half of the time of a whole model. Here frames stay rows: a window of k frames that lie side by side
in memory *is* one row of k * C numbers, and a convolution is a matrix product of such rows. A
stride s < k would make the rows overlap, which matrix products do not take, so the window is cut
into pieces of at most s frames, one product each, summed in place:

    k=3, s=2:   y[n] = (x[2n], x[2n+1]) @ W[0:2]  +  x[2n+2] @ W[2]          no copy is made
    k=2, s=2:   y[n] = (x[2n], x[2n+1]) @ W                                 a reshape

The waveform is a packed one (see packing.py), worked through in stretches that fit into a
processor's cache. A GroupNorm with one channel a group (the first layer of base-sized models) is
exact per segment: the mean and variance of a channel over time follow from those of the k
samples of the window, so it becomes a filter of each segment's own.

Shapes: N samples, R rows (frames of a layer), F frames, C channels, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser_model.models.packing import Packing


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """Weight, bias and epsilon of a normalisation over channels."""

    weight: Tensor
    bias: Tensor
    eps: float

    def layer_norm(self, rows_RC: Tensor) -> Tensor:
        """Normalise each row by its own mean and variance; in the dtype of the weights."""
        shape = (rows_RC.shape[-1],)
        rows_RC = rows_RC.to(self.weight.dtype)
        return F.layer_norm(rows_RC, shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvWeights:
    """One convolution.

    Attributes:
        weight: [kernel * channels below, channels], the taps in the order of time.
        bias: None for none.
        kernel: taps.
        stride: step in frames of the layer below.
        norm: LayerNorm of the layer, None for none.
    """

    weight: Tensor
    bias: Tensor | None
    kernel: int
    stride: int
    norm: Affine | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEndWeights:
    """All of the front end.

    Attributes:
        convs: the convolutions; GELU follows each.
        group_norm: GroupNorm of the first convolution, one channel a group; None for none.
        feature_norm: LayerNorm before the projection; None for none.
        projection: [D, C], to the encoder's features.
        projection_bias: its bias.
    """

    convs: tuple[ConvWeights, ...]
    group_norm: Affine | None
    feature_norm: Affine | None
    projection: Tensor
    projection_bias: Tensor


def front_end_weights(
    feature_extractor: Any,  # noqa: ANN401  one of three library classes with no common type
    feature_projection: Any,  # noqa: ANN401  the same
    dtype: torch.dtype,
) -> FrontEndWeights:
    """Read the weights of the library's modules, in the layout and dtype of the products here."""
    group_norm = None
    convs = []
    for layer in feature_extractor.conv_layers:
        norm = getattr(layer, "layer_norm", None)
        if isinstance(norm, nn.GroupNorm):
            group_norm = affine(norm, dtype)
        convs.append(
            _conv_weights(layer.conv, norm if isinstance(norm, nn.LayerNorm) else None, dtype)
        )
    feature_norm = getattr(feature_projection, "layer_norm", None)
    projection = feature_projection.projection
    return FrontEndWeights(
        convs=tuple(convs),
        group_norm=group_norm,
        feature_norm=None if feature_norm is None else affine(feature_norm, dtype),
        projection=projection.weight.detach().to(dtype),
        projection_bias=projection.bias.detach().to(dtype),
    )


def affine(norm: nn.LayerNorm | nn.GroupNorm, dtype: torch.dtype) -> Affine:
    """Read a normalisation's weights."""
    return Affine(
        weight=norm.weight.detach().to(dtype),
        bias=norm.bias.detach().to(dtype),
        eps=norm.eps,
    )


def _conv_weights(conv: nn.Conv1d, norm: nn.LayerNorm | None, dtype: torch.dtype) -> ConvWeights:
    weight_KC = conv.weight.detach().permute(2, 1, 0).flatten(0, 1).to(dtype).contiguous()
    return ConvWeights(
        weight=weight_KC,
        bias=None if conv.bias is None else conv.bias.detach().to(dtype),
        kernel=conv.kernel_size[0],
        stride=conv.stride[0],
        norm=None if norm is None else affine(norm, dtype),
    )


def extract_features(
    waveform_N: Tensor, packing: Packing, weights: FrontEndWeights, stretch_frames: int
) -> Tensor:
    """Return the projected features of all true frames, hidden_FD.

    Args:
        waveform_N: float32, as `packing.lay_out` gives it.
        packing: where the segments lie.
        weights: of the front end; their dtype is that of the arithmetic.
        stretch_frames: frames to work through at a time.
    """
    geometry = packing.geometry
    dtype = weights.projection.dtype
    num_slots = sum(packing.num_slots)
    first_layer = _FirstLayer(waveform_N, packing, weights)
    channels = weights.projection.shape[1]
    features_FC = torch.empty(num_slots, channels, dtype=dtype, device=waveform_N.device)
    rows_per_frame = geometry.stride // weights.convs[0].stride
    rows_of_window = (geometry.window - weights.convs[0].kernel) // weights.convs[0].stride + 1
    for begin in range(0, num_slots, stretch_frames):
        end = min(begin + stretch_frames, num_slots)
        rows_RC = first_layer.rows(
            begin * rows_per_frame, (end - 1) * rows_per_frame + rows_of_window
        )
        for conv in weights.convs[1:]:
            rows_RC = _activate(_convolve(rows_RC, conv), conv.norm)
        features_FC[begin:end] = rows_RC
    features_FC = features_FC[packing.slot_of_frame(waveform_N.device)]
    if weights.feature_norm is not None:
        features_FC = weights.feature_norm.layer_norm(features_FC)
    return F.linear(features_FC, weights.projection, weights.projection_bias)


def _convolve(rows_RC: Tensor, conv: ConvWeights) -> Tensor:
    """Return the convolution of rows that lie side by side in memory, without its norm."""
    num_rows_in, channels = rows_RC.shape
    num_rows = (num_rows_in - conv.kernel) // conv.stride + 1
    product_RC = None
    for tap in range(0, conv.kernel, conv.stride):
        width = min(conv.stride, conv.kernel - tap) * channels
        window_RK = rows_RC.as_strided(
            (num_rows, width),
            (conv.stride * channels, 1),
            rows_RC.storage_offset() + tap * channels,
        )
        weight_KC = conv.weight[tap * channels : tap * channels + width]
        if product_RC is not None:
            product_RC.addmm_(window_RK, weight_KC)
        elif conv.bias is not None:
            product_RC = torch.addmm(conv.bias, window_RK, weight_KC)
        else:
            product_RC = window_RK @ weight_KC
    assert product_RC is not None
    return product_RC


def _activate(rows_RC: Tensor, norm: Affine | None) -> Tensor:
    if norm is not None:
        rows_RC = norm.layer_norm(rows_RC)
    return torch.ops.aten.gelu_(rows_RC)  # type: ignore[no-any-return]  # torch.ops is untyped


class _FirstLayer:
    """The first convolution, norm and GELU of any stretch of the packed waveform.

    With a GroupNorm, each segment has a filter of its own.
    """

    def __init__(self, waveform_N: Tensor, packing: Packing, weights: FrontEndWeights) -> None:
        self._conv = weights.convs[0]
        # The windows overlap, and one channel is too narrow for products in pieces: copy them,
        # a fiftieth of what comes out.
        windows_RK = waveform_N.unfold(0, self._conv.kernel, self._conv.stride).contiguous()
        # For each filter: the row behind its last one, the filter, the bias.
        self._filters: list[tuple[int, Tensor, Tensor | None]] = []
        if weights.group_norm is None:
            self._filters.append((len(windows_RK), self._conv.weight, self._conv.bias))
        else:
            rows_per_slot = packing.geometry.stride // self._conv.stride
            begin = 0
            for num_samples, slots in zip(packing.num_samples, packing.num_slots, strict=True):
                end = begin + slots * rows_per_slot
                true_rows = (num_samples - self._conv.kernel) // self._conv.stride + 1
                weight_KC = _normalised_filter(
                    windows_RK[begin:end], true_rows, self._conv, weights.group_norm
                )
                self._filters.append((end, weight_KC, weights.group_norm.bias))
                begin = end
        self._windows_RK = windows_RK.to(self._conv.weight.dtype)

    def rows(self, begin: int, end: int) -> Tensor:
        """Return rows begin to end, rows_RC. Rows behind the last segment's slots are undefined."""
        num_channels = self._conv.weight.shape[1]
        rows_RC = self._windows_RK.new_empty(end - begin, num_channels)
        first = begin
        for filter_end, weight_KC, bias in self._filters:
            last = min(filter_end, end)
            if last <= first:
                continue
            out_RC = rows_RC[first - begin : last - begin]
            windows_RK = self._windows_RK[first:last]
            if bias is None:
                torch.mm(windows_RK, weight_KC, out=out_RC)
            else:
                torch.addmm(bias, windows_RK, weight_KC, out=out_RC)
            first = last
        return _activate(rows_RC, self._conv.norm)


def _normalised_filter(
    windows_RK: Tensor, true_rows: int, conv: ConvWeights, group_norm: Affine
) -> Tensor:
    """Fold the GroupNorm of one segment into the convolution before it.

    A channel is y = w . u + c over windows u of the waveform; so y - mean(y) = w . (u - mean(u)),
    and its variance is w' cov(u) w (population, as in GroupNorm). The normalised channel is again a
    filter, w * weight / sqrt(w' cov(u) w + eps), of centred windows. The covariance is in float64:
    that of speech is nearly singular.

    Args:
        windows_RK: float32, all windows of the segment's slots; centred here, in place.
        true_rows: how many of them lie in the segment.
        conv: the convolution; its own bias cancels.
        group_norm: the norm; its bias is still to be added.
    """
    windows_RK -= windows_RK[:true_rows].double().mean(dim=0).float()
    centred_RK = windows_RK[:true_rows].double()
    weight_KC = conv.weight.double()
    variance_C = (weight_KC * (centred_RK.T @ centred_RK @ weight_KC)).sum(dim=0) / true_rows
    gain_C = group_norm.weight.double() / torch.sqrt(variance_C.clamp_min(0.0) + group_norm.eps)
    return (weight_KC * gain_C).to(conv.weight.dtype)
