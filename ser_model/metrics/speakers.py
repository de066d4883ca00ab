"""What is said of single speakers, and of how they differ: errors, shrinkage, ranks.

A single speaker's statistic is uncertain because of how few segments there are; these are taken as
independent draws of what the speaker says. All errors follow from the speaker's moments.

Shape suffix: S speakers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ser_model.metrics.concordance import concordance_cc_of, pearson_cc_of
from ser_model.metrics.errors import mean_absolute_error_of, mean_squared_error_of
from ser_model.metrics.moments import CoMoments, Floats


def concordance_z_error_of(moments: CoMoments) -> Floats:
    """Return the standard error of Fisher's z of each CCC, as of normal truth and prediction.

    Lin, "A Concordance Correlation Coefficient to Evaluate Reproducibility", Biometrics 45 (1989),
    section 3, with the correction of Biometrics 56 (2000), written in CCC / PCC so that it holds
    where both are 0.

    Returns:
        [...] NaN where CCC or PCC has no value, or there are fewer than 3 pairs.
    """
    ccc, pcc = concordance_cc_of(moments), pearson_cc_of(moments)
    spreads = np.sqrt(moments.m2_truth) * np.sqrt(moments.m2_prediction)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = moments.n * (moments.mean_truth - moments.mean_prediction) ** 2 / spreads
        scale = np.sqrt(moments.m2_truth / moments.m2_prediction)
        accuracy = 2.0 / (scale + 1.0 / scale + shift)
        rest = 1.0 - ccc**2
        variance = (
            (1.0 - pcc**2) * accuracy**2 / rest
            + 2.0 * ccc**2 * accuracy * (1.0 - ccc) * shift / rest**2
            - ccc**2 * accuracy**2 * shift**2 / (2.0 * rest**2)
        ) / (moments.n - 2.0)
        error = np.sqrt(np.maximum(variance, 0.0))
    return np.where(np.isfinite(error) & (moments.n > 2), error, np.nan)


def bias_error_of(moments: CoMoments) -> Floats:
    """Return [...] the standard error of each bias; NaN with fewer than 2 pairs."""
    squares = moments.m2_truth + moments.m2_prediction - 2.0 * moments.c_truth_prediction
    return _mean_error(np.maximum(squares, 0.0), moments.n)


def mean_absolute_error_error_of(moments: CoMoments) -> Floats:
    """Return [...] the standard error of each MAE; NaN with fewer than 2 pairs.

    The mean square of the absolute errors is the MSE.
    """
    variance = mean_squared_error_of(moments) - mean_absolute_error_of(moments) ** 2
    return _mean_error(np.maximum(variance, 0.0) * moments.n, moments.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunk:
    """Values of speakers, drawn towards the mean of all of them.

    Attributes:
        values: [S] the more uncertain a value, the closer to the mean.
        errors: [S] their standard errors.
        mean: of the speakers.
        spread: standard deviation between speakers beyond what their few segments explain; 0 where
            these explain all of it.
    """

    values: Floats
    errors: Floats
    mean: float
    spread: float


def shrink(values: Floats, errors: Floats) -> Shrunk:
    """Shrink the values of speakers by empirical Bayes, normal around a normal.

    The spread between speakers is that of DerSimonian & Laird, "Meta-analysis in Clinical Trials",
    Control. Clin. Trials 7 (1986); each value is weighed by its own precision against that of the
    speakers (Efron & Morris 1975). That mean and spread are estimated is not in the errors.

    Args:
        values: [S] any scale.
        errors: [S] their standard errors; speakers without a finite one above 0 stay as they are
            and have no part in mean and spread.

    Example:
        >>> some = shrink(np.array([0., .1, .9, 1.]), np.array([.1, .1, .1, .5]))
        >>> some.values.round(2).tolist(), round(some.spread, 2)
        ([0.02, 0.11, 0.88, 0.7], 0.48)
    """
    counts = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    if counts.sum() < 2:
        return Shrunk(values=values, errors=errors, mean=math.nan, spread=math.nan)
    y, variances = values[counts], errors[counts] ** 2
    weights = 1.0 / variances
    total = weights.sum()
    heterogeneity = (weights * (y - weights @ y / total) ** 2).sum()
    scale = total - (weights**2).sum() / total
    between = max(float((heterogeneity - (y.size - 1)) / scale), 0.0)
    mean = float(np.average(y, weights=1.0 / (variances + between)))
    share = between / (between + variances)
    shrunk_values, shrunk_errors = values.copy(), errors.copy()
    shrunk_values[counts] = mean + share * (y - mean)
    shrunk_errors[counts] = np.sqrt(share * variances)
    return Shrunk(values=shrunk_values, errors=shrunk_errors, mean=mean, spread=math.sqrt(between))


def spearman_cc(left: ArrayLike, right: ArrayLike) -> float:
    """Return Spearman's rank correlation: Pearson's of the ranks, equal values sharing theirs.

    Spearman 1904, Am. J. Psychol. 15.

    Returns:
        -1 to 1; NaN where all values of a side are equal, or there are none.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> round(spearman_cc([1, 2, 30], [.1, .2, .15]), 6)
        0.5
    """
    moments = CoMoments.from_values(average_ranks(left), average_ranks(right))
    return float(pearson_cc_of(moments))


def spearman_interval(
    correlation: float, num_speakers: int, *, confidence_z: float = 1.959964
) -> tuple[float, float]:
    """Return the 95 % interval of Spearman's correlation of speakers.

    Fisher's z with a standard error of 1.03 / root of (S - 3): Fieller, Hartley & Pearson, "Tests
    for Rank Correlation Coefficients", Biometrika 44 (1957).

    Returns:
        NaN, NaN with fewer than 4 speakers, and where the correlation is NaN, -1 or 1.
    """
    if num_speakers < 4 or not abs(correlation) < 1.0:
        return math.nan, math.nan
    z, reach = math.atanh(correlation), confidence_z * 1.03 / math.sqrt(num_speakers - 3)
    return math.tanh(z - reach), math.tanh(z + reach)


def average_ranks(values: ArrayLike) -> Floats:
    """Return the rank of each value, 1 for the smallest; equal values share their mean rank.

    >>> average_ranks([.3, .1, .3]).tolist()
    [2.5, 1.0, 2.5]
    """
    _, group, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[group], dtype=np.float64)


def worst_share(values: Floats, part: float = 0.1) -> float:
    """Return the share of the sum of all values that the largest `part` of them holds.

    Where all are equal it is `part`. The last of the largest counts in part, so that it does not
    jump from one number of values to the next.

    Args:
        values: [S] 0 or more.
        part: 0 to 1.

    Returns:
        NaN where the sum is 0.

    Example:
        >>> round(worst_share(np.array([1.] * 9 + [11.])), 2), round(worst_share(np.ones(7)), 2)
        (0.55, 0.1)
    """
    largest_first = np.sort(values)[::-1]
    counted = np.clip(part * values.size - np.arange(values.size), 0.0, 1.0)
    total = float(values.sum())
    return float(counted @ largest_first) / total if total > 0 else math.nan


def _mean_error(sum_of_squares: Floats, n: Floats) -> NDArray[np.float64]:
    error = np.full(np.shape(n), np.nan)
    np.divide(sum_of_squares, (n - 1.0) * n, out=error, where=n > 1)
    return np.asarray(np.sqrt(error))
