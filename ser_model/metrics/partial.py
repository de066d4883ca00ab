"""Partial correlation: how two things go together beyond what a third explains of both."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ser_model.metrics.concordance import has_variance, pearson_cc_of
from ser_model.metrics.moments import CoMoments, Floats

UNEXPLAINED_TOLERANCE = 1e-12
"""Where less than this share of a variance is left unexplained, it is rounding and counts as 0."""


def partial_cc(first: ArrayLike, second: ArrayLike, given: ArrayLike) -> float:
    r"""Return the partial correlation coefficient of two variables given a third.

    .. math:: r_{xy \cdot z} = \frac{r_{xy} - r_{xz} r_{yz}}{\sqrt{(1 - r_{xz}^2)(1 - r_{yz}^2)}}

    with Pearson's r: the correlation of what is left of x and y once each is predicted from z by
    least squares. Yule, "On the Theory of Correlation for any Number of Variables, Treated by a
    New System of Notation", Proceedings of the Royal Society A 79 (1907), section 4.

    Args:
        first: [num_segments] any scale.
        second: [num_segments] any scale.
        given: [num_segments] any scale. Without variance it explains nothing, and this is PCC.

    Returns:
        -1 to 1. NaN where `first` or `second` has no variance, or `given` explains all of it, and
        where a value is NaN.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> round(partial_cc([0, 1, 2, 3], [0, 1, 1, 3], [0, 0, 1, 1]), 6)
        0.948683
        >>> partial_cc([0, 1, 2], [5, 6, 8], [0, 1, 2])
        nan
    """
    return float(
        partial_cc_of(
            CoMoments.from_values(first, second),
            CoMoments.from_values(given, first),
            CoMoments.from_values(given, second),
        )
    )


def partial_cc_of(
    first_second: CoMoments, given_first: CoMoments, given_second: CoMoments
) -> Floats:
    """Return the partial correlation of each element; see `partial_cc`.

    Args:
        first_second: moments of x and y, in this order.
        given_first: moments of z and x, over the same segments with the same weights.
        given_second: moments of z and y, likewise.
    """
    r_xy = pearson_cc_of(first_second)
    r_xz, r_yz = (_explained(moments) for moments in (given_first, given_second))
    unexplained = [1.0 - r**2 for r in (r_xz, r_yz)]
    unexplained = [np.where(u > UNEXPLAINED_TOLERANCE, u, np.nan) for u in unexplained]
    partial = (r_xy - r_xz * r_yz) / np.sqrt(unexplained[0] * unexplained[1])
    return np.asarray(np.clip(partial, -1.0, 1.0))


def _explained(given_other: CoMoments) -> Floats:
    """Return the PCC with what is given, which is 0 where that has no variance."""
    constant = np.isfinite(given_other.m2_truth) & ~has_variance(
        given_other.m2_truth, given_other.mean_truth, given_other.n
    )
    return np.where(constant, 0.0, pearson_cc_of(given_other))
