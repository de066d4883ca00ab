"""What is added to a segment at a signal-to-noise ratio (SNR).

y = s + n sqrt(P_s / (P_n 10^(SNR / 10))), with the mean squares P of the whole segment and of what
is added: Wagner et al. 2023, section III-D, whose paper leaves open over what stretch a power is
taken and what happens to noise that is too short or too long. Here short sounds are looped, long
ones cut at an offset that is drawn, and the sum is not clipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ser_model.audio import SAMPLING_RATE_HZ, Waveform
from ser_model.augment.level import power, speech_power
from ser_model.augment.noise_folder import NoiseFolder

EVENT_SAMPLES = SAMPLING_RATE_HZ
"""Of a cough or sneeze at most the first second is taken: recordings often hold several."""


def mix(waveform: Waveform, noise: Waveform, snr_db: float) -> Waveform:
    """Add noise [num_samples] at an SNR.

    Raises:
        SegmentError: the segment is silent.

    Example:
        >>> speech, noise = np.ones(4, np.float32), np.array([3, -3, 3, -3], np.float32)
        >>> mix(speech, noise, snr_db=20.0).round(3).tolist()
        [1.100000023841858, 0.8999999761581421, 1.100000023841858, 0.8999999761581421]
    """
    return waveform + noise * _factor(waveform, noise, snr_db)


def _factor(waveform: Waveform, noise: Waveform, snr_db: float) -> np.float32:
    return np.float32(math.sqrt(speech_power(waveform) / power(noise)) * 10 ** (-snr_db / 20))


@dataclass(frozen=True, slots=True, kw_only=True)
class WhiteNoise:
    """Adds Gaussian white noise at an SNR that is drawn from `snrs_db`."""

    snrs_db: tuple[float, ...]

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Return [num_samples]."""
        noise = rng.standard_normal(len(waveform), dtype=np.float32)
        return mix(waveform, noise, float(rng.choice(self.snrs_db)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tone:
    """Adds a sine of a drawn frequency and phase, at a ratio of the peaks."""

    low_hz: float
    high_hz: float
    peak_ratios_db: tuple[float, ...]

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Return [num_samples]."""
        speech_power(waveform)
        frequency_hz = rng.uniform(self.low_hz, self.high_hz)
        phase = rng.uniform(0, 2 * np.pi)
        ratio_db = float(rng.choice(self.peak_ratios_db))
        amplitude = float(np.abs(waveform).max()) * 10 ** (-ratio_db / 20)
        turns = frequency_hz * np.arange(len(waveform)) / SAMPLING_RATE_HZ
        return (waveform + amplitude * np.sin(2 * np.pi * turns + phase)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class FromFolder:
    """What all that mixes in sounds of a noise folder have in common.

    Attributes:
        kind: of the sounds, as in `noise_folder.KINDS`.
        snr_db: of the mixture.
        folder: where they come from; bound by `conditions`.
    """

    kind: str
    snr_db: float
    folder: NoiseFolder | None = None

    def draw(self, num_samples: int, rng: np.random.Generator) -> Waveform:
        """Draw [num_samples] of a sound."""
        assert self.folder is not None, "conditions() binds the noise folder"
        return self.folder.draw(self.kind, num_samples, rng)


@dataclass(frozen=True, slots=True, kw_only=True)
class Background(FromFolder):
    """Adds one sound over the whole segment."""

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Return [num_samples]."""
        speech_power(waveform)  # a silent segment need not wait for a sound to be read
        return mix(waveform, self.draw(len(waveform), rng), self.snr_db)


@dataclass(frozen=True, slots=True, kw_only=True)
class Babble(FromFolder):
    """Adds several voices of equal power, at an SNR of their sum."""

    fewest: int
    most: int

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Return [num_samples]."""
        speech_power(waveform)
        babble = np.zeros(len(waveform), np.float32)
        for _ in range(rng.integers(self.fewest, self.most, endpoint=True)):
            voice = self.draw(len(waveform), rng)
            babble += voice / np.float32(math.sqrt(power(voice)))
        return mix(waveform, babble, self.snr_db)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(FromFolder):
    """Adds one short sound at a position that is drawn; its power is that of its own length."""

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Return [num_samples]."""
        speech_power(waveform)
        assert self.folder is not None, "conditions() binds the noise folder"
        event = self.folder.draw_beginning(self.kind, min(EVENT_SAMPLES, len(waveform)), rng)
        start = int(rng.integers(len(waveform) - len(event), endpoint=True))
        augmented = waveform.copy()
        augmented[start : start + len(event)] += event * _factor(waveform, event, self.snr_db)
        return augmented
