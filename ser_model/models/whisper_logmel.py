"""Whisper's log-mel spectrogram, of pieces of exactly 30 s.

Radford et al., "Robust speech recognition via large-scale weak supervision", 2023, section 2.2: 80
mel bands (128 of large-v3) over windows of 25 ms every 10 ms; logarithms to base 10, cut off 8
below the piece's loudest, mapped to about -1..1. A shorter piece is padded with silence, a longer
waveform is cut into pieces.

Shapes: N samples, P pieces of 30 s, F frequencies, M mel bands, T frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIECE_SAMPLES = 480_000
WINDOW_SAMPLES = 400
HOP_SAMPLES = 160
POWER_FLOOR = 1e-10


class WhisperLogmel(nn.Module):
    """Pieces of waveforms to spectrograms, as the library's WhisperFeatureExtractor makes them."""

    def __init__(self, num_mels: int) -> None:
        """Make the filters, which are no weights: nothing of them is saved."""
        from transformers.audio_utils import mel_filter_bank

        super().__init__()
        filters_FM = mel_filter_bank(
            num_frequency_bins=WINDOW_SAMPLES // 2 + 1,
            num_mel_filters=num_mels,
            min_frequency=0.0,
            max_frequency=8000.0,
            sampling_rate=16_000,
            norm="slaney",
            mel_scale="slaney",
        )
        self.filters_FM: Tensor
        self.window_N: Tensor
        self.register_buffer(
            "filters_FM", torch.from_numpy(filters_FM.astype(np.float32)), persistent=False
        )
        self.register_buffer("window_N", torch.hann_window(WINDOW_SAMPLES), persistent=False)

    def forward(self, pieces: Sequence[Tensor]) -> Tensor:
        """Return logmel_PMT float32; each piece is a waveform [at most PIECE_SAMPLES]."""
        piece_PN = torch.stack([F.pad(p.float(), (0, PIECE_SAMPLES - len(p))) for p in pieces])
        with torch.autocast(piece_PN.device.type, enabled=False):
            spectrum_PFT = torch.stft(
                piece_PN, WINDOW_SAMPLES, HOP_SAMPLES, window=self.window_N, return_complex=True
            )
            return compress(self.filters_FM.T @ spectrum_PFT[..., :-1].abs().square())


def compress(mel_PMT: Tensor) -> Tensor:
    """Return logmel_PMT of powers: logarithms, cut off 8 below each piece's loudest, scaled."""
    logmel_PMT = mel_PMT.clamp(min=POWER_FLOOR).log10()
    loudest_P11 = logmel_PMT.amax(dim=(1, 2), keepdim=True)
    return (torch.maximum(logmel_PMT, loudest_P11 - 8.0) + 4.0) / 4.0


def cut_pieces(waveform_BN: Tensor, num_samples_B: Tensor) -> tuple[list[Tensor], list[int]]:
    """Cut the true samples of each row into pieces of 30 s; return them and the row of each.

    Example:
        >>> pieces, rows = cut_pieces(torch.zeros(2, 500_000), torch.tensor([500_000, 16_000]))
        >>> [len(piece) for piece in pieces], rows
        ([480000, 20000, 16000], [0, 0, 1])
    """
    pieces: list[Tensor] = []
    rows: list[int] = []
    for row, num_samples in enumerate(num_samples_B.tolist()):
        cut = torch.split(waveform_BN[row, :num_samples], PIECE_SAMPLES)
        pieces += cut
        rows += [row] * len(cut)
    return pieces, rows
