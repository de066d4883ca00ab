"""The unfairness that the demo plants: one accent is heard through a telephone line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestration.demo.sound import apply_gain, white_noise
from orchestration.demo.speakers import Speaker
from ser_model.audio import Waveform
from ser_model.schema import SPLITS

BAND_HZ = (300.0, 3_400.0)
EDGE_HZ = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Telephone:
    """A telephone line and who speaks through it.

    Attributes:
        accent: whose speech it is.
        splits: the splits in which it is so.
        level_dbfs: towards which automatic gain control brings each segment.
        gain_control: the part of the way that it goes, 0 to 1: what is left of the difference in
            level between calm and aroused is 1 minus this.
        noise_dbfs: level of the line's white noise.
    """

    accent: str = "scottish"
    splits: tuple[str, ...] = SPLITS
    level_dbfs: float = -26.0
    gain_control: float = 0.85
    noise_dbfs: float = -35.0

    def carries(self, speaker: Speaker) -> bool:
        """Tell whether a speaker is heard through this line."""
        return speaker.accent == self.accent and speaker.split in self.splits

    def controlled_level_dbfs(self, level_dbfs: float) -> float:
        """Return the level at which a segment of some level leaves the line.

        Example:
            >>> Telephone(level_dbfs=-26, gain_control=0.5).controlled_level_dbfs(-30)
            -28.0
        """
        return level_dbfs + self.gain_control * (self.level_dbfs - level_dbfs)

    def transmit(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Add the line's noise and keep what is between 300 and 3,400 Hz."""
        low_hz, high_hz = BAND_HZ

        def gain_at(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
            inside_hz = np.minimum(frequency_hz - low_hz, high_hz - frequency_hz)
            return np.clip(inside_hz / EDGE_HZ + 1, 0, 1)

        return apply_gain(waveform + white_noise(len(waveform), self.noise_dbfs, rng), gain_at)
