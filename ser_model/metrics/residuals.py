"""Residuals, truth minus prediction: whether a model says too little, and of which segments.

All of it follows from the moments: with e = t - p, mean e = mean t - mean p, and the sums of
squares and products are m2_e = m2_t + m2_p - 2 c_tp and c_et = m2_t - c_tp.
Triantafyllopoulos et al., "Multistage linguistic conditioning of convolutional layers for speech
emotion recognition" (2023), sections 6.2 and 6.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ser_model.metrics.concordance import has_variance
from ser_model.metrics.intervals import Estimate
from ser_model.metrics.moments import CoMoments, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualLine:
    """The least-squares line of the residual on the truth, e = intercept + slope * t.

    A slope above 0 is regression to the mean: what is rated high is predicted too low, and what is
    rated low too high. At 1 the predictions do not follow the truth at all.

    Attributes:
        intercept: [...] NaN where the truth has no variance.
        slope: [...] likewise.
    """

    intercept: Floats
    slope: Floats


def residual_mean_of(moments: CoMoments) -> Floats:
    """Return the mean residual of each element: above 0 where the model says too little."""
    return np.where(moments.n > 0, moments.mean_truth - moments.mean_prediction, np.nan)


def residual_line_of(moments: CoMoments) -> ResidualLine:
    """Return the line of each element of `moments`.

    Example:
        >>> line = residual_line_of(CoMoments.from_values([.2, .4, .6, .8], [.4, .45, .55, .6]))
        >>> round(float(line.slope), 2), round(float(line.intercept), 2)
        (0.65, -0.33)
    """
    slope = np.full(moments.shape, np.nan)
    np.divide(
        moments.m2_truth - moments.c_truth_prediction,
        moments.m2_truth,
        out=slope,
        where=has_variance(moments.m2_truth, moments.mean_truth, moments.n),
    )
    intercept = residual_mean_of(moments) - slope * moments.mean_truth
    return ResidualLine(intercept=intercept, slope=slope)


def residual_t_test(moments: CoMoments) -> Estimate | None:
    """Return the mean residual with its error over segments: the one-sample t-test against 0.

    Student 1908. It takes segments for independent, which those of one speaker are not: with many
    segments of few speakers its p-value is far too small.

    Args:
        moments: of shape ().

    Returns:
        None where there is no spread to hold the mean against.

    Example:
        >>> test = residual_t_test(CoMoments.from_values([.2, .4, .6, .8], [.1, .3, .6, .6]))
        >>> round(test.value, 3), round(test.p_value, 3)
        (0.1, 0.092)
    """
    n = float(moments.n)
    squares = float(moments.m2_truth + moments.m2_prediction - 2.0 * moments.c_truth_prediction)
    if n < 2 or not squares > 1e-12 * float(moments.m2_truth + moments.m2_prediction):
        return None
    return Estimate(
        value=float(residual_mean_of(moments)),
        standard_error=math.sqrt(squares / (n - 1.0) / n),
        degrees_of_freedom=n - 1.0,
    )
