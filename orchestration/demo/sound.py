"""What the demo does to a waveform beside its level: shelves and noise.

All functions take and return float32 [num_samples] at 16 kHz. Filters work on the whole spectrum at
once: no filter state, no delay, and numpy is all they need.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ser_model.audio import SAMPLING_RATE_HZ, Waveform

LOW_SHELF_HZ = 500.0
HIGH_SHELF_HZ = 2_500.0


def apply_gain(
    waveform: Waveform, gain_at: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> Waveform:
    """Multiply the spectrum by a gain that is given as a function of the frequency in Hz."""
    num_samples = 1 << len(waveform).bit_length()  # a power of two: fast, whatever the length
    gain = gain_at(np.fft.rfftfreq(num_samples, 1 / SAMPLING_RATE_HZ).astype(np.float64))
    filtered = np.fft.irfft(np.fft.rfft(waveform, num_samples) * gain)
    return filtered[: len(waveform)].astype(np.float32)


def apply_shelves(waveform: Waveform, *, low_db: float, high_db: float) -> Waveform:
    """Raise what is below 500 Hz by `low_db` and what is above 2.5 kHz by `high_db`."""

    def gain_at(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
        low = 1 / (1 + (frequency_hz / LOW_SHELF_HZ) ** 4)
        high = 1 - 1 / (1 + (frequency_hz / HIGH_SHELF_HZ) ** 4)
        return np.asarray(10 ** ((low_db * low + high_db * high) / 20))

    return apply_gain(waveform, gain_at)


def white_noise(num_samples: int, level_dbfs_wanted: float, rng: np.random.Generator) -> Waveform:
    """Draw white noise of a level."""
    noise = rng.standard_normal(num_samples, dtype=np.float32)
    return noise * np.float32(10 ** (level_dbfs_wanted / 20))
