"""Synthetic segments: what is computed does not depend on what they sound like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scoring_rivals import Waveforms

from ser_model.models.logmel import SAMPLING_RATE_HZ


def equal_lengths(num_segments: int) -> list[int]:
    """Return segments of 10 s."""
    return [10 * SAMPLING_RATE_HZ] * num_segments


def podcast_lengths(num_segments: int) -> list[int]:
    """Return a podcast-like mix: log-normal around 5 s, 1 to 30 s, the same in every run."""
    seconds = np.random.default_rng(0).lognormal(np.log(5.0), 0.65, num_segments).clip(1.0, 30.0)
    return [int(second * SAMPLING_RATE_HZ) for second in seconds]


def noise(lengths: Sequence[int]) -> Waveforms:
    """Return waveforms of these lengths."""
    generator = np.random.default_rng(1)
    return [0.1 * generator.standard_normal(n, dtype=np.float32) for n in lengths]
