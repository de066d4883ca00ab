"""Intervals of shares of independent segments: for single speakers, of whom there are no others.

A speaker's recall or accuracy is k hits of n segments. Where n is small or all are hits, the
interval by the normal law has no width; Wilson's has.

Shape suffix: K shares that are averaged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ser_model.metrics.moments import Floats

CONFIDENCE_Z = 1.959963984540054
"""The 97.5 % quantile of the normal law."""


def wilson_interval(num_hits: ArrayLike, num_segments: ArrayLike) -> tuple[Floats, Floats]:
    """Return the ends of the 95 % interval of each share of hits.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", J. Am. Stat.
    Assoc. 22 (1927); recommended for small n by Brown, Cai & DasGupta, Stat. Sci. 16 (2001).

    Args:
        num_hits: [...] 0 to `num_segments`.
        num_segments: [...] 0 or more.

    Returns:
        [...] and [...], each 0 to 1; NaN where there are no segments.

    Example:
        >>> low, high = wilson_interval([0, 9, 10], [10, 10, 10])
        >>> low.round(3).tolist(), high.round(3).tolist()
        ([0.0, 0.596, 0.722], [0.278, 0.982, 1.0])
    """
    hits = np.asarray(num_hits, dtype=np.float64)
    n = np.asarray(num_segments, dtype=np.float64)
    square = CONFIDENCE_Z**2
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = (hits + square / 2.0) / (n + square)
        spread = hits * (n - hits) / n + square / 4.0
        reach = CONFIDENCE_Z * np.sqrt(spread) / (n + square)
    # All or no hits end at the end of the scale, which rounding would miss by some 1e-17.
    low = np.where(hits == 0, 0.0, np.clip(centre - reach, 0.0, 1.0))
    high = np.where(hits == n, 1.0, np.clip(centre + reach, 0.0, 1.0))
    has_value = n > 0
    return np.where(has_value, low, np.nan), np.where(has_value, high, np.nan)


def mean_share_interval(num_hits_K: ArrayLike, num_segments_K: ArrayLike) -> tuple[Floats, Floats]:
    """Return the ends of the 95 % interval of the mean of several shares, as UAR is one of recalls.

    Each share's distance to the ends of its own Wilson interval takes the place of its standard
    error: Zou, Huang & Zhang, "A Note on Confidence Interval Estimation for a Linear Function of
    Binomial Proportions", Comput. Stat. Data Anal. 53 (2009). So the mean of perfect recalls still
    has an interval. In simulations of 4 recalls it holds the true mean in 91 to 95 %, from 100
    segments of each on in 95 %.

    Args:
        num_hits_K: [..., K] hits of each share.
        num_segments_K: [..., K] segments of each; a share of none does not count.

    Returns:
        [...] and [...], each 0 to 1; NaN where no share counts.

    Example:
        >>> low, high = mean_share_interval([8, 5], [10, 5])
        >>> round(float(low), 3), round(float(high), 3)
        (0.633, 0.972)
    """
    hits, n = np.asarray(num_hits_K, np.float64), np.asarray(num_segments_K, np.float64)
    low_K, high_K = wilson_interval(hits, n)
    counts = n > 0
    num_shares = counts.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share_K = hits / n
        mean = np.where(counts, share_K, 0.0).sum(axis=-1) / num_shares
        below = np.sqrt(np.where(counts, (share_K - low_K) ** 2, 0.0).sum(axis=-1)) / num_shares
        above = np.sqrt(np.where(counts, (high_K - share_K) ** 2, 0.0).sum(axis=-1)) / num_shares
    return np.clip(mean - below, 0.0, 1.0), np.clip(mean + above, 0.0, 1.0)
