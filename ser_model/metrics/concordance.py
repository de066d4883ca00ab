"""Correlation of truth and prediction: Lin's concordance (CCC) and Pearson's (PCC)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ser_model.metrics.moments import CoMoments, Floats

VARIANCE_TOLERANCE = 1e-12
"""Values have no variance where their standard deviation is at most this share of their mean:
equal float64 values differ from their computed mean by about 1e-16 of it."""


def concordance_cc(truth: ArrayLike, prediction: ArrayLike) -> float:
    r"""Return the concordance correlation coefficient (CCC).

    .. math:: \frac{2 s_{tp}}{s_t^2 + s_p^2 + (\bar t - \bar p)^2}

    with population variances and covariance (divided by n). Lin, "A Concordance Correlation
    Coefficient to Evaluate Reproducibility", Biometrics 45 (1989), equation 2.

    Args:
        truth: [num_segments] any scale.
        prediction: [num_segments] the same scale.

    Returns:
        -1 to 1. NaN where the truth has no variance (no pair, one pair, all equal), because then
        there is nothing to agree with, and where a value is NaN. 0 where only the predictions
        have none.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> round(concordance_cc([0, 1, 2], [0, 1, 1]), 6)
        0.666667
        >>> concordance_cc([.5, .5], [.1, .9])
        nan
    """
    return float(concordance_cc_of(CoMoments.from_values(truth, prediction)))


def pearson_cc(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return Pearson's correlation coefficient (PCC): covariance over both standard deviations.

    Args:
        truth: [num_segments] any scale.
        prediction: [num_segments] any scale.

    Returns:
        -1 to 1. NaN where truth or prediction has no variance, or a value is NaN.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> round(pearson_cc([0, 1, 2], [10, 30, 50]), 6)
        1.0
    """
    return float(pearson_cc_of(CoMoments.from_values(truth, prediction)))


def concordance_cc_of(moments: CoMoments) -> Floats:
    """Return the CCC of each element of `moments`; see `concordance_cc`."""
    denominator = (
        moments.m2_truth
        + moments.m2_prediction
        + moments.n * (moments.mean_truth - moments.mean_prediction) ** 2
    )
    ccc = np.full(moments.shape, np.nan)
    np.divide(
        2.0 * moments.c_truth_prediction,
        denominator,
        out=ccc,
        where=has_variance(moments.m2_truth, moments.mean_truth, moments.n),
    )
    constant = ~has_variance(moments.m2_prediction, moments.mean_prediction, moments.n)
    return np.where(constant & np.isfinite(ccc), 0.0, np.clip(ccc, -1.0, 1.0))


def pearson_cc_of(moments: CoMoments) -> Floats:
    """Return the PCC of each element of `moments`; see `pearson_cc`."""
    pcc = np.full(moments.shape, np.nan)
    varied = has_variance(moments.m2_truth, moments.mean_truth, moments.n) & has_variance(
        moments.m2_prediction, moments.mean_prediction, moments.n
    )
    denominator = np.sqrt(moments.m2_truth) * np.sqrt(moments.m2_prediction)
    np.divide(moments.c_truth_prediction, denominator, out=pcc, where=varied)
    return np.asarray(np.clip(pcc, -1.0, 1.0))


def has_variance(
    m2: Floats, mean: Floats, n: Floats
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Tell where a sum of squares is more than what rounding makes of equal values.

    Args:
        m2: sum of squared deviations from the mean.
        mean: the mean.
        n: number of values.
    """
    return np.asarray(m2 > n * (VARIANCE_TOLERANCE * mean) ** 2)
