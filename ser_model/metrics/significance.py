"""How surprising a gap is: Student's t, and corrections for looking at many gaps."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from ser_model.metrics.moments import Floats


def student_t_p_value(t: float, degrees_of_freedom: float) -> float:
    """Return the two-sided p-value of Student's t.

    p = I_x(df / 2, 1 / 2) with x = df / (df + t ** 2), I the regularised incomplete beta function
    (Abramowitz & Stegun 1964, 26.5.27 and 26.7.1).

    Args:
        t: estimate over standard error.
        degrees_of_freedom: more than 0.

    Returns:
        0 to 1; NaN for a NaN.

    Raises:
        ValueError: `degrees_of_freedom` is not more than 0.

    Example:
        >>> round(student_t_p_value(2.228, 10), 4)
        0.05
    """
    if not degrees_of_freedom > 0:
        raise ValueError(f"degrees_of_freedom is {degrees_of_freedom}, not more than 0")
    if math.isnan(t):
        return math.nan
    if math.isinf(t):
        return 0.0
    square = t * t
    x = degrees_of_freedom / (degrees_of_freedom + square)
    return _regularised_beta(x, square / (degrees_of_freedom + square), degrees_of_freedom / 2, 0.5)


def student_t_quantile(probability: float, degrees_of_freedom: float) -> float:
    """Return the value that Student's t stays below with this probability.

    Newton's method on the tail from the normal quantile: the tail is convex, so that each step
    comes closer from the same side.

    Args:
        probability: .5 or more, less than 1.
        degrees_of_freedom: more than 0.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> round(student_t_quantile(.975, 10), 3)
        2.228
    """
    if not 0.5 <= probability < 1.0:
        raise ValueError(f"probability is {probability}, not .5 or more and less than 1")
    tails = 2.0 * (1.0 - probability)
    t = statistics.NormalDist().inv_cdf(probability)
    for _ in range(100):
        density = math.exp(
            math.lgamma((degrees_of_freedom + 1.0) / 2.0)
            - math.lgamma(degrees_of_freedom / 2.0)
            - math.log(degrees_of_freedom * math.pi) / 2.0
            - (degrees_of_freedom + 1.0) / 2.0 * math.log1p(t * t / degrees_of_freedom)
        )
        step = (student_t_p_value(t, degrees_of_freedom) - tails) / (2.0 * density)
        t += step
        if abs(step) <= 1e-12 * max(t, 1.0):
            break
    return t


def holm(p_values: ArrayLike) -> Floats:
    """Return Holm's step-down adjusted p-values of one family of tests.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Stat. 6 (1979). The
    smallest of m is multiplied by m, the next by m - 1 ...; none is adjusted to less than those
    before it.

    Args:
        p_values: [m] 0 to 1, in any order; NaN is no test, and stays NaN.

    Example:
        >>> holm([.01, .04, .03]).tolist()
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    tests = np.flatnonzero(np.isfinite(p))
    order = tests[np.argsort(p[tests], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """Return Benjamini and Hochberg's step-up adjusted p-values of one family of tests.

    Benjamini & Hochberg, "Controlling the False Discovery Rate", J. R. Stat. Soc. B 57 (1995). Of
    those at or below a level, that share at most is false on average, while Holm's correction
    keeps the chance of a single false one there.

    Args:
        p_values: [m] 0 to 1, in any order; NaN is no test, and stays NaN.

    Example:
        >>> benjamini_hochberg([.01, .04, .03]).tolist()
        [0.03, 0.04, 0.04]
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    tests = np.flatnonzero(np.isfinite(p))
    order = tests[np.argsort(p[tests], kind="stable")]
    scaled = p[order] * (order.size / np.arange(1, order.size + 1))
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def _regularised_beta(x: float, complement: float, a: float, b: float) -> float:
    """I_x(a, b) by the continued fraction 26.5.8, on the side where it converges fast.

    Args:
        x: 0 to 1.
        complement: 1 - x, given because the subtraction would lose its digits near 1.
        a: more than 0.
        b: more than 0.
    """
    if x <= 0.0 or complement <= 0.0:
        return 0.0 if x <= 0.0 else 1.0
    log_front = (
        math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
        + a * math.log(x)
        + b * math.log(complement)
    )
    front = math.exp(log_front)
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _continued_fraction(_beta_coefficients(x, a, b)) / a
    return 1.0 - front * _continued_fraction(_beta_coefficients(complement, b, a)) / b


def _beta_coefficients(x: float, a: float, b: float, num_terms: int = 500) -> Iterator[float]:
    for m in range(num_terms):
        if m > 0:
            yield m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        yield -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))


def _continued_fraction(coefficients: Iterable[float]) -> float:
    """1 / (1 + c1 / (1 + c2 / (1 + ...))) by Lentz's method, to 1e-15."""
    tiny = 1e-300
    numerator, denominator, value = 1.0, 0.0, 1.0
    for coefficient in coefficients:
        denominator = 1.0 / ((1.0 + coefficient * denominator) or tiny)
        numerator = (1.0 + coefficient / numerator) or tiny
        step = numerator * denominator
        value *= step
        if abs(step - 1.0) < 1e-15:
            break
    return 1.0 / value
