"""How far predictions are from the truth: squared, absolute and signed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ser_model.metrics.moments import CoMoments, Floats


def mean_squared_error(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return the mean of (prediction - truth) ** 2 (MSE).

    Args:
        truth: [num_segments] any scale.
        prediction: [num_segments] the same scale.

    Returns:
        0 or more; NaN without pairs or where a value is NaN.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> mean_squared_error([0, 1], [0, 3])
        2.0
    """
    return float(mean_squared_error_of(CoMoments.from_values(truth, prediction)))


def mean_absolute_error(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return the mean of abs(prediction - truth) (MAE).

    Args:
        truth: [num_segments] any scale.
        prediction: [num_segments] the same scale.

    Returns:
        0 or more; NaN without pairs or where a value is NaN.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> mean_absolute_error([0, 1], [0, 3])
        1.0
    """
    return float(mean_absolute_error_of(CoMoments.from_values(truth, prediction)))


def bias(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return mean(prediction) - mean(truth): positive where the model says too much.

    Args:
        truth: [num_segments] any scale.
        prediction: [num_segments] the same scale.

    Returns:
        Any number; NaN without pairs or where a value is NaN.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> bias([0, 1], [0, 3])
        1.0
    """
    return float(bias_of(CoMoments.from_values(truth, prediction)))


def mean_squared_error_of(moments: CoMoments) -> Floats:
    """Return the MSE of each element of `moments`: variance of the error plus squared bias."""
    squares = moments.m2_truth + moments.m2_prediction - 2.0 * moments.c_truth_prediction
    variance = _per_pair(np.maximum(squares, 0.0), moments)
    return variance + (moments.mean_prediction - moments.mean_truth) ** 2


def mean_absolute_error_of(moments: CoMoments) -> Floats:
    """Return the MAE of each element of `moments`."""
    return _per_pair(moments.sum_absolute_error, moments)


def bias_of(moments: CoMoments) -> Floats:
    """Return the bias of each element of `moments`."""
    return np.where(moments.n > 0, moments.mean_prediction - moments.mean_truth, np.nan)


def _per_pair(total: Floats, moments: CoMoments) -> Floats:
    mean = np.full(moments.shape, np.nan)
    np.divide(total, moments.n, out=mean, where=moments.n > 0)
    return mean
