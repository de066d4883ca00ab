"""Power, and what is done to a waveform's level: gain, fade, loudness, clipping."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ser_model.audio import SAMPLING_RATE_HZ, Waveform
from ser_model.augment.condition import too_short
from ser_model.schema import Reason, SegmentError, Stage

if TYPE_CHECKING:
    import pyloudnorm

SILENT_POWER = 1e-10
"""At most this mean square (-100 dB of full scale) is silence: under the rounding of 16 bits."""

LOUDNESS_BLOCK_S = 0.4
"""The loudness of anything shorter is not defined (ITU-R BS.1770-5, annex 1)."""


def power(waveform: Waveform) -> float:
    """Return the mean square of [num_samples], in float64.

    >>> power(np.array([0.5, -0.5], np.float32))
    0.25
    """
    return float(np.mean(np.square(waveform, dtype=np.float64)))


def speech_power(waveform: Waveform) -> float:
    """Return the power of a segment that something is set in relation to.

    Raises:
        SegmentError: the segment is silent.
    """
    found = power(waveform)
    if found <= SILENT_POWER:
        detail = "a level in relation to that of the segment is not defined: the segment is silent"
        raise SegmentError(Stage.AUGMENT, Reason.SILENT_SEGMENT, detail)
    return found


def restore_power(augmented: Waveform, original: Waveform) -> Waveform:
    """Return `augmented` with the power of `original`; silence stays silence."""
    found = power(augmented)
    if found <= 0:
        return augmented
    return (augmented * math.sqrt(power(original) / found)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Multiplies by a gain that is drawn from `gains_db`."""

    gains_db: tuple[float, ...]

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Return [num_samples]."""
        return waveform * np.float32(10 ** (float(rng.choice(self.gains_db)) / 20))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fade:
    """Changes the amplitude by a part each second; down or up is drawn.

    Wagner et al. 2023, section III-D, name 2 %. Each second's change is of what the one before has
    left, so that long segments never reach zero. The loud end keeps its amplitude.
    """

    part_per_s: float

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Return [num_samples]."""
        gain = (1 - self.part_per_s) ** (np.arange(len(waveform)) / SAMPLING_RATE_HZ)
        fades_in = bool(rng.integers(2))
        return (waveform * (gain[::-1] if fades_in else gain)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loudness:
    """Brings a segment to a loudness by one gain: ITU-R BS.1770, as pyloudnorm measures it."""

    lufs: float

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:  # noqa: ARG002
        """Return [num_samples]; loud ones have samples beyond -1 to 1."""
        if len(waveform) < LOUDNESS_BLOCK_S * SAMPLING_RATE_HZ:
            detail = f"{len(waveform)} samples; loudness is defined from {LOUDNESS_BLOCK_S} s on"
            raise too_short(detail)
        speech_power(waveform)
        # What is all below the gate at -70 LUFS has no loudness; pyloudnorm takes its logarithm.
        with np.errstate(divide="ignore", invalid="ignore"):
            measured = float(_meter().integrated_loudness(waveform.astype(np.float64)))
        if not math.isfinite(measured):
            detail = "the segment has no loudness: all of it is below the gate at -70 LUFS"
            raise SegmentError(Stage.AUGMENT, Reason.SILENT_SEGMENT, detail)
        return waveform * np.float32(10 ** ((self.lufs - measured) / 20))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Cuts the loudest samples off at the amplitude that a share of all samples is above.

    The share is drawn from `shares`. Of equal samples fewer may be cut.
    """

    shares: tuple[float, ...]

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Return [num_samples]."""
        num_above = round(float(rng.choice(self.shares)) * len(waveform))
        highest_kept = len(waveform) - 1 - num_above
        amplitude = np.abs(waveform)
        limit = np.partition(amplitude, highest_kept)[highest_kept]
        return np.clip(waveform, -limit, limit)


@cache
def _meter() -> pyloudnorm.Meter:
    import pyloudnorm

    return pyloudnorm.Meter(SAMPLING_RATE_HZ, block_size=LOUDNESS_BLOCK_S)
