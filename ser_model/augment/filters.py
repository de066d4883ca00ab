"""Filters: Butterworth high- and low-pass, spectral tilt, and how other microphones sound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import fft, signal

from ser_model.audio import SAMPLING_RATE_HZ, Waveform
from ser_model.augment.level import power, restore_power

NYQUIST_HZ = SAMPLING_RATE_HZ / 2


def butterworth(
    waveform: Waveform, kind: Literal["highpass", "lowpass"], *, cutoff_hz: float, order: int
) -> Waveform:
    """Filter [num_samples], causally; at the cutoff the gain is -3 dB."""
    sections = signal.butter(order, cutoff_hz, kind, fs=SAMPLING_RATE_HZ, output="sos")
    filtered: npt.NDArray[np.float64] = signal.sosfilt(sections, waveform.astype(np.float64))
    return filtered.astype(np.float32)


def pink_noise(num_samples: int, rng: np.random.Generator) -> Waveform:
    """Draw [num_samples] of noise whose power falls by 3 dB an octave, with a power of 1.

    Below 20 Hz it is flat: without a limit, most of its power would lie where nobody hears it.
    """
    num_drawn = max(num_samples, SAMPLING_RATE_HZ)  # one sample has no spectrum
    spectrum = np.fft.rfft(rng.standard_normal(num_drawn))
    frequency_hz = np.fft.rfftfreq(num_drawn, 1 / SAMPLING_RATE_HZ)
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency_hz, 20.0)), num_drawn)
    scale = 1 / math.sqrt(np.mean(noise**2))
    return (noise[:num_samples] * scale).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A Butterworth filter whose cutoff is drawn from `cutoffs_hz`."""

    kind: Literal["highpass", "lowpass"]
    cutoffs_hz: tuple[float, ...]
    order: int

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Return [num_samples]."""
        cutoff_hz = float(rng.choice(self.cutoffs_hz))
        return butterworth(waveform, self.kind, cutoff_hz=cutoff_hz, order=self.order)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tilt:
    """Raises or lowers the spectrum by a straight line in dB over Hz; the power stays.

    Attributes:
        rise_db: from 0 Hz to 8 kHz; negative for a fall.
    """

    rise_db: float

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:  # noqa: ARG002
        """Return [num_samples]."""
        # Zeros behind the end keep the filter from wrapping around; its response is short.
        num_samples = fft.next_fast_len(len(waveform) + 1024, real=True)
        frequency_hz = np.fft.rfftfreq(num_samples, 1 / SAMPLING_RATE_HZ)
        gain = 10 ** (self.rise_db * frequency_hz / NYQUIST_HZ / 20)
        spectrum = fft.rfft(waveform.astype(np.float64), num_samples)
        tilted = fft.irfft(spectrum * gain, num_samples)[: len(waveform)]
        return restore_power(tilted.astype(np.float32), waveform)


@dataclass(frozen=True, slots=True, kw_only=True)
class Microphone:
    """A small microphone: a band of order 2 and hiss; the power stays.

    Attributes:
        low_hz: cutoff of the high-pass.
        high_hz: cutoff of the low-pass.
        hiss_snr_db: how far white noise lies below the filtered segment.
    """

    low_hz: float
    high_hz: float
    hiss_snr_db: float

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Return [num_samples]."""
        heard = butterworth(waveform, "highpass", cutoff_hz=self.low_hz, order=2)
        heard = butterworth(heard, "lowpass", cutoff_hz=self.high_hz, order=2)
        hiss = rng.standard_normal(len(waveform), dtype=np.float32)
        hiss *= np.float32(math.sqrt(power(heard)) * 10 ** (-self.hiss_snr_db / 20))
        return restore_power(heard + hiss, waveform)
