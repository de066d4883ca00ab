"""Edits that are exact to the sample: zeros added, samples cut away, frames lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ser_model.audio import SAMPLING_RATE_HZ, Waveform
from ser_model.augment.condition import too_short

GAP_SAMPLES = SAMPLING_RATE_HZ // 50
"""20 ms: what one lost packet of speech holds."""

Side = Literal["beginning", "end"]


def keep(waveform: Waveform, rng: np.random.Generator) -> Waveform:  # noqa: ARG001
    """Return the waveform as it was recorded."""
    return waveform


@dataclass(frozen=True, slots=True, kw_only=True)
class AddZeros:
    """Adds a number of zeros that is drawn from `nums_samples` at one side."""

    side: Side
    nums_samples: tuple[int, ...]

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Return [num_samples + drawn]."""
        num = int(rng.choice(self.nums_samples))
        before, after = (num, 0) if self.side == "beginning" else (0, num)
        return np.pad(waveform, (before, after))


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """Cuts a number of samples that is drawn from `nums_samples` away at one side."""

    side: Side
    nums_samples: tuple[int, ...]

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Return [num_samples - drawn], which may be empty."""
        num = int(rng.choice(self.nums_samples))
        if self.side == "beginning":
            return waveform[num:]
        return waveform[: max(len(waveform) - num, 0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """Silences a share of the frames of 20 ms, at least one; which ones is drawn."""

    share: float

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Return [num_samples]; between the gaps nothing is changed."""
        num_frames = -(-len(waveform) // GAP_SAMPLES)
        num_lost = max(1, round(self.share * num_frames))
        if num_lost >= num_frames:
            raise too_short(f"{len(waveform)} samples; gaps of {GAP_SAMPLES} would leave nothing")
        lost = np.zeros(num_frames, bool)
        lost[rng.choice(num_frames, num_lost, replace=False)] = True
        return np.where(np.repeat(lost, GAP_SAMPLES)[: len(waveform)], np.float32(0), waveform)
