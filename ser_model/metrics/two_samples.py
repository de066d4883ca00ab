"""Two samples of runs: does one way to train score higher than another over its seeds?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ser_model.metrics.intervals import NO_SPREAD, Estimate


def independent_t_test(first: ArrayLike, second: ArrayLike) -> Estimate | None:
    r"""Return the difference of two means with Student's two-sample t-test (pooled variance).

    .. math:: t = \frac{\bar x - \bar y}{s_p \sqrt{1 / m + 1 / n}},
        \quad s_p^2 = \frac{(m - 1) s_x^2 + (n - 1) s_y^2}{m + n - 2}

    with m + n - 2 degrees of freedom; it takes both for equally scattered. Student, "The Probable
    Error of a Mean", Biometrika 6 (1908), for two samples Fisher, "Applications of Student's
    Distribution", Metron 5 (1925). Triantafyllopoulos et al. 2023 (sections 5 and 6, tables 1, 2
    and 5) compare five runs with five by "two-sided independent t-tests"; the pooled one is what
    scipy.stats.ttest_ind computes where nothing else is said.

    Args:
        first: [m] a metric of each run, 2 at least.
        second: [n] likewise; the runs of both have nothing to do with each other.

    Returns:
        None where neither has any spread: then there is nothing to hold the difference against.

    Raises:
        ValueError: a sample has fewer than 2 runs.

    Example:
        >>> found = independent_t_test([.62, .64, .63], [.60, .61, .59])
        >>> round(found.value, 3), round(found.p_value, 4), found.degrees_of_freedom
        (0.03, 0.0213, 4.0)
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if min(x.size, y.size) < 2:
        raise ValueError(f"samples of {x.size} and {y.size} runs; each needs 2 at least")
    freedom = x.size + y.size - 2
    value = float(x.mean() - y.mean())
    pooled = (((x - x.mean()) ** 2).sum() + ((y - y.mean()) ** 2).sum()) / freedom
    error = math.sqrt(pooled * (1.0 / x.size + 1.0 / y.size))
    if error <= NO_SPREAD * max(float(np.abs([*x, *y]).max()), 1.0):
        return None
    return Estimate(value=value, standard_error=error, degrees_of_freedom=float(freedom))
