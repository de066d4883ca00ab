"""How far apart two distributions are: population stability index and Jensen-Shannon divergence.

Both are for counts in bins of any kind, parts of a scale or emotions, and 0 for equal shares. From
samples both come out too large, the more so the fewer segments there are:
`ser_model.metrics.exchanged_nights` says how large they are by chance.

Shape suffix: K bins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ser_model.metrics.moments import Floats

ADDED_PER_BIN = 0.5
"""Segments that smoothing adds to each side for each bin, as in Jeffreys's prior (1946) and the
estimator of Krichevsky & Trofimov (1981)."""


def population_stability_index(before: ArrayLike, after: ArrayLike) -> float:
    r"""Return the population stability index (PSI) of two histograms.

    .. math:: \sum_k (a_k - b_k) \ln \frac{a_k}{b_k}

    with the smoothed shares a (after) and b (before). It is the symmetric divergence of Jeffreys
    ("An Invariant Form for the Prior Probability in Estimation Problems", 1946); Siddiqi, "Credit
    Risk Scorecards" (2006), has it under this name. A normal distribution that moves by d of its
    standard deviations has one of d squared, in fine bins.

    A bin that is empty on one side would make it infinite. So half a segment for each bin that is
    not empty on both is added to either side, all of them spread as the mean of both distributions
    is. Equal shares stay equal, whatever the sides' sizes.

    Args:
        before: [num_bins] counts, 0 or more.
        after: [num_bins] counts in the same bins.

    Returns:
        0 (equal shares) or more; NaN where a side has no segments.

    Raises:
        ValueError: the numbers of bins differ or are 0, or a count is below 0.

    Example:
        >>> round(population_stability_index([10, 20], [100, 200]), 12)
        0.0
        >>> round(population_stability_index([100, 0], [50, 50]), 2)
        2.96
    """
    return float(population_stability_index_of(*_counts(before, after)))


def jensen_shannon_divergence(before: ArrayLike, after: ArrayLike) -> float:
    r"""Return the Jensen-Shannon divergence of two histograms.

    .. math:: \frac{1}{2} \sum_k b_k \log_2 \frac{b_k}{m_k} + a_k \log_2 \frac{a_k}{m_k}
        \qquad m_k = \frac{b_k + a_k}{2}

    with the shares b (before) and a (after). Lin, "Divergence Measures Based on the Shannon
    Entropy", IEEE Trans. Inf. Theory 37 (1991). Its root is `jensen_shannon_distance`. Empty bins
    need no smoothing. For small shifts it is the PSI divided by 8 ln 2.

    Args:
        before: [num_bins] counts, 0 or more.
        after: [num_bins] counts in the same bins.

    Returns:
        0 (equal shares) to 1 (no bin in common); NaN where a side has no segments.

    Raises:
        ValueError: the numbers of bins differ or are 0, or a count is below 0.

    Example:
        >>> jensen_shannon_divergence([9, 0], [0, 1])
        1.0
        >>> round(jensen_shannon_divergence([100, 0], [50, 50]), 3)
        0.311
    """
    return float(jensen_shannon_divergence_of(*_counts(before, after)))


def population_stability_index_of(before_K: Floats, after_K: Floats) -> Floats:
    """Return [...] the index of histograms of shape [..., K]; see `population_stability_index`."""
    before, after = shares_of(before_K), shares_of(after_K)
    middle = (before + after) / 2.0
    before = _smoothed(before, middle, before_K)
    after = _smoothed(after, middle, after_K)
    ratio = np.divide(after, before, out=np.ones_like(after), where=middle > 0)
    return np.asarray(((after - before) * np.log(ratio)).sum(axis=-1))


def jensen_shannon_divergence_of(before_K: Floats, after_K: Floats) -> Floats:
    """Return [...] the divergence of histograms of shape [..., K]."""
    shares = [shares_of(before_K), shares_of(after_K)]
    middle = (shares[0] + shares[1]) / 2.0
    divergence = sum(_relative_entropy(side, middle) for side in shares) / 2.0
    return np.asarray(np.clip(divergence, 0.0, 1.0))


def shares_of(counts_K: Floats) -> Floats:
    """Return [..., K] the share of each bin; NaN where there is nothing."""
    total = counts_K.sum(axis=-1, keepdims=True)
    shares: Floats = np.full(counts_K.shape, np.nan)
    np.divide(counts_K, total, out=shares, where=total > 0)
    return shares


def _smoothed(shares_K: Floats, middle_K: Floats, counts_K: Floats) -> Floats:
    total = counts_K.sum(axis=-1, keepdims=True)
    added = ADDED_PER_BIN * (middle_K > 0).sum(axis=-1, keepdims=True)
    return np.asarray((total * shares_K + added * middle_K) / (total + added))


def _relative_entropy(shares_K: Floats, reference_K: Floats) -> Floats:
    """Sum of shares * log2(shares / reference); a share of 0 adds nothing, NaN gives NaN."""
    ratio = np.divide(shares_K, reference_K, out=np.ones_like(shares_K), where=shares_K > 0)
    return np.asarray((shares_K * np.log2(ratio)).sum(axis=-1))


def _counts(before: ArrayLike, after: ArrayLike) -> tuple[Floats, Floats]:
    sides = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if sides[0].shape != sides[1].shape or sides[0].ndim != 1 or not sides[0].size:
        raise ValueError(f"before has the shape {sides[0].shape}, after {sides[1].shape}")
    if any((side < 0).any() for side in sides):
        raise ValueError("a count is below 0")
    return sides
