"""Residuals counted in bins, from which quantiles follow: counts of any parts add up to the whole.

Bins are .01 wide from -1 to 1, which holds every residual of truth and prediction on 0..1; what
lies outside is counted at the ends. So a quantile is within .005 of that of the residuals
themselves, and -1 or 1 stands for "-1 or less" and "1 or more".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ser_model.metrics.moments import Floats

BIN_WIDTH = 0.01
_BINS_PER_UNIT = 100
NUM_RESIDUAL_BINS = 2 * _BINS_PER_UNIT + 2
"""200 bins, and one at each end."""


def residual_bins(residuals: ArrayLike) -> NDArray[np.int32]:
    """Return the bin of each residual; an edge belongs to the bin above it.

    Args:
        residuals: [...] truth minus prediction, finite.

    Returns:
        [...] 0 (below -1) to NUM_RESIDUAL_BINS - 1 (1 and above).

    Example:
        >>> residual_bins([-3., -1., -.995, 0., .999, 1., 7.]).tolist()
        [0, 1, 1, 101, 200, 201, 201]
    """
    scaled = np.asarray(residuals, dtype=np.float64) * _BINS_PER_UNIT
    bins = np.floor(np.clip(scaled, -_BINS_PER_UNIT - 1, _BINS_PER_UNIT)) + _BINS_PER_UNIT + 1
    return np.asarray(bins, dtype=np.int32)


def residual_quantiles(counts: NDArray[Any], shares: Sequence[float]) -> Floats:
    """Return quantiles of residuals, with every residual in the middle of its bin.

    Between two residuals the quantile is interpolated as numpy's is (Hyndman & Fan, "Sample
    Quantiles in Statistical Packages", Am. Stat. 50 (1996), definition 7).

    Args:
        counts: [NUM_RESIDUAL_BINS] residuals in each bin.
        shares: [Q] 0 to 1.

    Returns:
        [Q] -1 to 1; NaN without residuals.

    Raises:
        ValueError: there are not NUM_RESIDUAL_BINS counts.

    Example:
        >>> counts = np.bincount(residual_bins([-.042, .001, .003, .2, 4.]), minlength=202)
        >>> residual_quantiles(counts, [0., .5, 1.]).round(3).tolist()
        [-0.045, 0.005, 1.0]
    """
    if counts.shape != (NUM_RESIDUAL_BINS,):
        raise ValueError(f"counts have the shape {counts.shape}, not ({NUM_RESIDUAL_BINS},)")
    up_to = np.cumsum(counts)
    num = int(up_to[-1])
    if num == 0:
        return np.full(len(shares), np.nan)
    rank = np.asarray(shares, dtype=np.float64) * (num - 1)
    below = np.floor(rank)
    low, high = (
        _MIDDLES[np.searchsorted(up_to, np.minimum(at, num - 1), side="right")]
        for at in (below, below + 1.0)
    )
    return np.asarray(low + (rank - below) * (high - low))


_MIDDLES = np.clip(
    (np.arange(NUM_RESIDUAL_BINS) - _BINS_PER_UNIT - 0.5) / _BINS_PER_UNIT, -1.0, 1.0
)
