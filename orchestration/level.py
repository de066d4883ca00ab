"""How loud a waveform is, and how to make it as loud as is wanted.

Waveforms are float32 [num_samples].
"""

from __future__ import annotations

import numpy as np

from ser_model.audio import Waveform


def level_dbfs(waveform: Waveform) -> float:
    """Return the root mean square in decibels below full scale; minus infinity for silence.

    Example:
        >>> level_dbfs(np.full(160, 0.1, dtype=np.float32))
        -20.0
    """
    mean_square = np.mean(waveform.astype(np.float64) ** 2)
    return round(float(10 * np.log10(mean_square)), 4) if mean_square > 0 else -np.inf


def set_level(waveform: Waveform, level_dbfs_wanted: float) -> Waveform:
    """Scale to a level in decibels below full scale; silence stays."""
    level = level_dbfs(waveform)
    if not np.isfinite(level):
        return waveform
    return waveform * np.float32(10 ** ((level_dbfs_wanted - level) / 20))
