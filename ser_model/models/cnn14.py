"""The CNN14 family of PANNs: log-mel spectrograms through blocks of 3x3 convolutions.

Kong et al., "PANNs: large-scale pretrained audio neural networks for audio pattern recognition",
2020, table I. CNN14 has the channels 64, 128, 256, 512, 1024, 2048; the demo's small CNN is the
same class with fewer.

Shapes: B batch, N samples, T frames, M mel bands, C channels, D hidden features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ser_model.models.backbone import Backbone, PartName
from ser_model.models.logmel import MIN_SAMPLES, NUM_MELS, LogMel


@dataclass(frozen=True, slots=True, kw_only=True)
class Cnn14Config:
    """The switches of the family.

    Attributes:
        kind: name of the backbone.
        hop_samples: between two frames of the spectrogram, at 16 kHz.
        channels: width of each block.
        pool: how 2 x 2 neighbours of time and frequency become one. PANNs averages; the papers that
            build on it say that they take the maximum.
        num_pools: blocks that pool, the first ones. PANNs pools in all but the last.
        dropout: part of the features that training leaves out after each block.
    """

    kind: Literal["cnn14"] = "cnn14"
    hop_samples: int = 160
    channels: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    pool: Literal["avg", "max"] = "avg"
    num_pools: int = 5
    dropout: float = 0.2

    def __post_init__(self) -> None:
        """Refuse what gives no network."""
        if self.hop_samples < 1:
            raise ValueError(f"hop_samples {self.hop_samples} is not positive")
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"channels {list(self.channels)} must be a list of counts from 1 on")
        highest = min(len(self.channels), NUM_MELS.bit_length() - 1)
        if not 0 <= self.num_pools <= highest:
            raise ValueError(f"num_pools {self.num_pools} is not 0 to {highest}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout {self.dropout} is not in [0, 1)")


class Cnn14(Backbone):
    """Log-mel bands, normalised by band, through the blocks; then the mean over frequency."""

    def __init__(self, config: Cnn14Config) -> None:
        """Make the layers with random weights."""
        super().__init__()
        self.num_hidden = config.channels[-1]
        # Every pool halves the frames, rounding down; one must be left.
        self.min_samples = max(MIN_SAMPLES, (2**config.num_pools - 1) * config.hop_samples)
        self.logmel = LogMel(hop_samples=config.hop_samples)
        self.mel_norm = nn.BatchNorm1d(NUM_MELS)
        self.blocks = nn.ModuleList(
            ConvBlock(
                num_in,
                num_out,
                pool=config.pool if index < config.num_pools else None,
                dropout=config.dropout,
            )
            for index, (num_in, num_out) in enumerate(
                zip((1, *config.channels), config.channels, strict=False)
            )
        )

    def prepare(self, waveform_BN: Tensor, num_samples_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return logmel_BTM and num_frames_B."""
        logmel_BTM, num_frames_B = self.logmel(waveform_BN, num_samples_B)
        return logmel_BTM, num_frames_B

    def forward(
        self, inputs_BT: Tensor, num_inputs_B: Tensor, shifts: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor]:
        """Return hidden_BTD and num_frames_B of a log-mel spectrogram [B, T, M].

        Args:
            inputs_BT: the spectrogram.
            num_inputs_B: its true frames.
            shifts: shift_BC of each block, which `ConvBlock` adds to its maps; none to add nothing.
        """
        # BatchNorm1d normalises its second axis: the mel bands stand there for the moment.
        maps_BCTM = self.mel_norm(inputs_BT.transpose(1, 2)).transpose(1, 2)[:, None]
        # On a CPU, small convolutions run two to three times faster with the channels last.
        maps_BCTM = maps_BCTM.contiguous(memory_format=torch.channels_last)
        num_frames_B = num_inputs_B.to(inputs_BT.device)
        for block, shift_BC in zip(self.blocks, shifts or repeat(None), strict=False):
            maps_BCTM, num_frames_B = block(maps_BCTM, num_frames_B, shift_BC)
        return maps_BCTM.mean(dim=3).transpose(1, 2), num_frames_B

    def modules_of(self, part: PartName) -> tuple[nn.Module, ...]:
        """Return the norm of the bands, or the blocks."""
        return (self.mel_norm,) if part == "front_end" else (self.blocks,)


class ConvBlock(nn.Module):
    """Twice a 3x3 convolution, batch normalisation and ReLU; then a 2x2 pool, or none.

    A convolution looks one frame beyond the end, where a segment alone would find zeros: the
    padding is set to zero before each convolution, so that a segment in a batch finds the same.
    """

    def __init__(
        self, num_in: int, num_out: int, *, pool: Literal["avg", "max"] | None, dropout: float
    ) -> None:
        """Make the layers with random weights."""
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(num_out)
        self.dropout = nn.Dropout(dropout)
        self._pool = pool

    def forward(
        self, maps_BCTM: Tensor, num_frames_B: Tensor, shift_BC: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the maps and how many of their frames are true.

        A shift is added behind the pool, the same at all places of a map. Padding is shifted too:
        whoever is next, a block or the pooling, sets it to zero or leaves it out.
        """
        mask_B1T1 = frame_mask(num_frames_B, maps_BCTM.shape[2])[:, None, :, None]
        maps_BCTM = maps_BCTM.masked_fill(~mask_B1T1, 0.0)
        maps_BCTM = F.relu(self.norm1(self.conv1(maps_BCTM)))
        maps_BCTM = maps_BCTM.masked_fill(~mask_B1T1, 0.0)
        maps_BCTM = F.relu(self.norm2(self.conv2(maps_BCTM)))
        if self._pool is not None:
            # Without a rest: a last odd frame is dropped, so no pooled frame mixes in padding.
            pool = F.avg_pool2d if self._pool == "avg" else F.max_pool2d
            maps_BCTM, num_frames_B = pool(maps_BCTM, 2), num_frames_B // 2
        if shift_BC is not None:
            maps_BCTM = maps_BCTM + shift_BC[:, :, None, None].to(maps_BCTM.dtype)
        return self.dropout(maps_BCTM), num_frames_B


def frame_mask(num_frames_B: Tensor, num_frames: int) -> Tensor:
    """Return mask_BT, true where a row has a frame.

    >>> frame_mask(torch.tensor([1, 3]), 3).int().tolist()
    [[1, 0, 0], [1, 1, 1]]
    """
    return torch.arange(num_frames, device=num_frames_B.device) < num_frames_B[:, None]
