"""The positional convolution of wav2vec 2.0 by fast Fourier transform, segments end to end.

A grouped convolution with 128 taps is 4 % of a large model's operations, and libraries run it far
below a processor's speed. As products of spectra it takes a small part of those operations
(overlap-save: blocks of twice the taps, of which the part that no block edge touches is kept). The
weight is the product of its weight norm, folded once: nothing is saved in that form.

Shapes: P places, F frames, D features, G groups, I and O features of a group in and out,
L samples of a block, S frequencies, M blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser_model.models.packing import Packing


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionWeights:
    """The convolution's spectrum.

    Attributes:
        spectrum: complex64 [S, G, I, O], the conjugate transform of the taps.
        bias: float32 [D].
        kernel: taps.
    """

    spectrum: Tensor
    bias: Tensor
    kernel: int


def position_weights(conv: nn.Conv1d) -> PositionWeights:
    """Read the library's convolution; a weight norm on it is multiplied out."""
    weight_DIK = conv.weight.detach().float()
    num_features, num_in, kernel = weight_DIK.shape
    # Conjugate, as what layers call a convolution is a correlation.
    spectrum_DIS = torch.fft.rfft(weight_DIK, n=2 * kernel).conj()
    spectrum_GOIS = spectrum_DIS.reshape(conv.groups, num_features // conv.groups, num_in, -1)
    assert conv.bias is not None, "the family's positional convolutions have a bias"
    return PositionWeights(
        spectrum=spectrum_GOIS.permute(3, 0, 2, 1).resolve_conj().contiguous(),
        bias=conv.bias.detach().float(),
        kernel=kernel,
    )


def convolve_positions(hidden_FD: Tensor, packing: Packing, weights: PositionWeights) -> Tensor:
    """Return the convolution of each segment's frames, zeros before and behind them, float32.

    The library pads with kernel // 2 zeros at both ends and, for an even kernel, drops the last
    frame that comes out.
    """
    gap = weights.kernel // 2
    place_F, num_places = packing.spaced(gap, hidden_FD.device)
    # One gap serves two neighbours: a window ends at most `gap` places from its centre.
    spaced_PD = hidden_FD.new_zeros(num_places, hidden_FD.shape[1], dtype=torch.float32)
    spaced_PD.index_copy_(0, place_F, hidden_FD.float())
    return _correlate(spaced_PD, weights)[place_F - gap].add_(weights.bias)


def _correlate(spaced_PD: Tensor, weights: PositionWeights) -> Tensor:
    """Return out[p] = sum over k of spaced[p + k] W[k], for p with a whole window, or more."""
    num_frequencies, groups, _, num_out = weights.spectrum.shape
    num_places, num_features = spaced_PD.shape
    length = 2 * (num_frequencies - 1)
    hop = length - weights.kernel + 1
    num_blocks = -(-(num_places - weights.kernel + 1) // hop)
    behind = (num_blocks - 1) * hop + length - num_places
    blocks_DML = F.pad(spaced_PD.T, (0, max(0, behind))).unfold(1, length, hop)[:, :num_blocks]
    spectrum_DMS = torch.fft.rfft(blocks_DML)
    spectrum_GIMS = spectrum_DMS.view(groups, -1, num_blocks, num_frequencies)
    product_SGMO = spectrum_GIMS.permute(3, 0, 2, 1) @ weights.spectrum
    product_DMS = product_SGMO.permute(1, 3, 2, 0).reshape(groups * num_out, num_blocks, -1)
    valid_DMH = torch.fft.irfft(product_DMS, n=length)[:, :, :hop]
    out_PD: Tensor = valid_DMH.reshape(num_features, -1).T
    return out_PD
