"""Faster speech at the same pitch, as players of podcasts do it: FFmpeg's atempo (WSOLA)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ser_model.audio import Waveform
from ser_model.augment.codecs import fit_length
from ser_model.augment.ffmpeg import run_filter

LOOK_AHEAD_SAMPLES = 4_096
"""atempo works in overlapping windows of 512 samples at 16 kHz and drops what fills none: it gets
more than is needed of it."""

FADE_SAMPLES = 80
"""5 ms, over which a faster stretch goes over into what follows it."""


def speed_up(waveform: Waveform, factor: float) -> Waveform:
    """Return [num_samples / factor], rounded, at the same pitch."""
    padded = np.pad(waveform, (0, LOOK_AHEAD_SAMPLES))
    return fit_length(run_filter(padded, "atempo", str(factor)), round(len(waveform) / factor) or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """Plays the whole segment faster."""

    factor: float

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:  # noqa: ARG002
        """Return [num_samples / factor], rounded."""
        return speed_up(waveform, self.factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedUpStretch:
    """Plays one stretch of the segment faster: Wagner et al. 2023, section III-D.

    Attributes:
        least: the stretch's part of the segment is drawn between this ...
        most: ... and this; so is its position.
        factor: how much faster.
    """

    least: float
    most: float
    factor: float

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Return the segment, shorter by what the stretch loses; all else is as it was."""
        num_stretch = max(1, round(rng.uniform(self.least, self.most) * len(waveform)))
        start = int(rng.integers(len(waveform) - num_stretch, endpoint=True))
        end = start + num_stretch
        after = waveform[end:]
        num_fade = min(FADE_SAMPLES, len(after))
        # What follows the stretch is made faster too: into its beginning the stretch fades out.
        heard_by_filter = waveform[start : end + LOOK_AHEAD_SAMPLES]
        faster = speed_up(heard_by_filter, self.factor)
        num_faster = round(num_stretch / self.factor) or 1
        fade_out = np.linspace(1, 0, num_fade + 2, dtype=np.float32)[1:-1]
        tail = fit_length(faster[num_faster : num_faster + num_fade], num_fade)
        joint = tail * fade_out + after[:num_fade] * (1 - fade_out)
        return np.concatenate([waveform[:start], faster[:num_faster], joint, after[num_fade:]])
