"""Segments of a batch laid end to end, so that a model computes true frames and no padding.

A convolutional front end with a total stride of P samples maps a stretch that begins at a multiple
of P to frames of its own. So segments can share one long waveform: each gets ceil(N / P) slots of
P samples, the convolutions run over the whole, and the frames whose window reaches into the next
segment (at most one or two at a segment's end) are left out by index. What stays are exactly the
frames that each segment gives alone.

Shapes: B batch, N samples, T frames of a padded row, F true frames of all segments, D features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvGeometry:
    """How a stack of convolutions without padding maps samples to frames.

    Attributes:
        kernels: width of each layer's window, in frames of the layer below.
        strides: step of each layer's window; never wider than its kernel.

    Example:
        >>> geometry = ConvGeometry(kernels=(10, 3, 3, 3, 3, 2, 2), strides=(5, 2, 2, 2, 2, 2, 2))
        >>> geometry.stride, geometry.window, geometry.num_frames(16_000)
        (320, 400, 49)
    """

    kernels: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that no sample is skipped: the slots of a packing rest on that."""
        if len(self.kernels) != len(self.strides) or not self.kernels:
            raise ValueError(f"kernels {self.kernels} and strides {self.strides} must pair up")
        if any(not 1 <= s <= k for k, s in zip(self.kernels, self.strides, strict=True)):
            raise ValueError(f"strides {self.strides} must be 1 or more and at most {self.kernels}")

    @property
    def stride(self) -> int:
        """Samples between the beginnings of neighbouring frames."""
        return math.prod(self.strides)

    @property
    def window(self) -> int:
        """Samples that one frame sees."""
        window, step = 1, 1
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            window += (kernel - 1) * step
            step *= stride
        return window

    def num_frames(self, num_samples: int) -> int:
        """Return how many frames a waveform gives; 0 where it is shorter than the window."""
        return max(0, (num_samples - self.window) // self.stride + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """Where the segments of one batch lie when they are laid end to end.

    Attributes:
        geometry: the front end's convolutions.
        num_samples: true length of each segment, at least one window.
    """

    geometry: ConvGeometry
    num_samples: tuple[int, ...]

    @property
    def num_frames(self) -> tuple[int, ...]:
        """True frames of each segment, at least one."""
        return tuple(self.geometry.num_frames(n) for n in self.num_samples)

    @property
    def num_slots(self) -> tuple[int, ...]:
        """Slots of `geometry.stride` samples that each segment takes up."""
        return tuple(-(-n // self.geometry.stride) for n in self.num_samples)

    def lay_out(self, waveform_BN: Tensor) -> Tensor:
        """Return the one long waveform, [geometry.window + (num_slots - 1) * geometry.stride]."""
        geometry = self.geometry
        length = geometry.window + (sum(self.num_slots) - 1) * geometry.stride
        packed = waveform_BN.new_zeros(length)
        begin = 0
        for row_N, num_samples, slots in zip(
            waveform_BN, self.num_samples, self.num_slots, strict=True
        ):
            packed[begin : begin + num_samples] = row_N[:num_samples]
            begin += slots * geometry.stride
        return packed

    def slot_of_frame(self, device: torch.device) -> Tensor:
        """Return for each true frame its slot, int64 [F]."""
        return _places(self.num_frames, _begins(self.num_slots), device)

    def spaced(self, gap: int, device: torch.device) -> tuple[Tensor, int]:
        """Return places with `gap` empty ones before and after each segment, and how many.

        Returns:
            For each true frame its place, int64 [F], and the number of places.
        """
        steps = [frames + gap for frames in self.num_frames]
        begins = _begins(steps) + gap
        return _places(self.num_frames, begins, device), gap + sum(steps)

    def padded(self, frames_FD: Tensor) -> Tensor:
        """Return hidden_BTD: true frames as rows of equal length, zeros behind them."""
        num_rows, longest = len(self.num_frames), max(self.num_frames)
        if min(self.num_frames) == longest:
            return frames_FD.view(num_rows, longest, -1)
        places = _places(self.num_frames, np.arange(num_rows) * longest, frames_FD.device)
        rows_FD = frames_FD.new_zeros(num_rows * longest, frames_FD.shape[1])
        return rows_FD.index_copy_(0, places, frames_FD).view(num_rows, longest, -1)

    def equal_runs(self) -> list[tuple[int, int, int]]:
        """Return (first frame, segments, frames of each) of neighbours with as many frames.

        Example:
            >>> geometry = ConvGeometry(kernels=(2,), strides=(2,))
            >>> Packing(geometry=geometry, num_samples=(8, 9, 4)).equal_runs()
            [(0, 2, 4), (8, 1, 2)]
        """
        runs, begin = [], 0
        for frames, members in groupby(self.num_frames):
            count = len(list(members))
            runs.append((begin, count, frames))
            begin += count * frames
        return runs


def _begins(lengths: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return where each stretch begins when stretches of these lengths follow one another."""
    return np.cumsum([0, *lengths[:-1]], dtype=np.int64)


def _places(
    lengths: Sequence[int],
    begins: np.ndarray[tuple[int], np.dtype[np.int64]],
    device: torch.device,
) -> Tensor:
    """Return begins[i], begins[i] + 1, ... lengths[i] of them, one stretch after the other."""
    shift = np.repeat(begins - _begins(lengths), lengths)
    return torch.from_numpy(shift + np.arange(sum(lengths))).to(device)
