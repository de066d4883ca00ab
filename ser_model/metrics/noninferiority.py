"""Non-inferiority: is a statistic shown to be worse by less than a margin?

A test of differences asks the wrong question of a new version: with few speakers it finds nothing
and everything passes. Here the burden is the other way round: the version passes where the upper
end of the one-sided interval of its worsening lies below the margin, and fails where it is shown to
be worse by more than the margin (Piaggio et al. 2012, JAMA 308, figure 1; Wellek 2010, "Testing
Statistical Hypotheses of Equivalence and Noninferiority", chapter 2).

A worsening is how much worse: above 0 worse, below 0 better, whichever end of a metric is good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ser_model.metrics.bootstrap import has_enough_replicates
from ser_model.metrics.intervals import Estimate, has_spread
from ser_model.metrics.moments import Floats
from ser_model.metrics.significance import student_t_p_value

LEVEL = 0.05
"""Of each one-sided test."""

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worsening:
    """How much worse a version is, held against a margin.

    Attributes:
        value: the estimate.
        low: lower end of the one-sided 95 % interval.
        high: upper end of the other one-sided 95 % interval.
        p_value: of the test that it is not worse by more than the margin.
    """

    value: float
    low: float
    high: float
    p_value: float


def hold_against(estimate: Estimate, margin: float) -> Worsening:
    """Return the one-sided intervals of a worsening, and the p-value for its being beyond a margin.

    Args:
        estimate: of the worsening.
        margin: more than 0, on the scale of the estimate.

    Example:
        >>> same = Estimate(value=.0, standard_error=.01, degrees_of_freedom=50)
        >>> found = hold_against(same, .02)
        >>> round(found.low, 4), round(found.high, 4), round(found.p_value, 3)
        (-0.0168, 0.0168, 0.975)
    """
    low, high = estimate.interval(1.0 - 2.0 * LEVEL)
    t = (estimate.value - margin) / estimate.standard_error
    tail = student_t_p_value(t, estimate.degrees_of_freedom) / 2.0
    return Worsening(
        value=estimate.value, low=low, high=high, p_value=tail if t > 0.0 else 1.0 - tail
    )


def without_spread(worsening_B1: Floats, margin: float) -> Worsening | None:
    """Return a worsening that is the same in every replicate: it is known, and has no interval.

    Args:
        worsening_B1: [B1] the estimate, then its replicates; NaN where they have no value.
        margin: more than 0.

    Returns:
        None where the replicates differ, or too few of them have a value.

    Example:
        >>> without_spread(np.zeros(5), .02)
        Worsening(value=0.0, low=0.0, high=0.0, p_value=1.0)
    """
    value = float(worsening_B1[0])
    is_known = math.isfinite(value) and bool(has_enough_replicates(worsening_B1[1:]))
    if not is_known or has_spread(worsening_B1):
        return None
    return Worsening(value=value, low=value, high=value, p_value=float(value <= margin))


def is_unchanged(worsening_B1: Floats) -> bool:
    """Tell whether nothing changed in any replicate, which holds of the same predictions.

    Replicates without a value on both sides do not count.

    Example:
        >>> is_unchanged(np.array([.0, .0, np.nan])), is_unchanged(np.array([.0, .1, .0]))
        (True, False)
    """
    return bool(np.isfinite(worsening_B1[0]) and (np.nan_to_num(worsening_B1) == 0.0).all())


def outcome(worsening: Worsening, margin: float, p_adjusted: float) -> str:
    """Return PASS, FAIL or INCONCLUSIVE.

    Args:
        worsening: as held against the margin.
        margin: more than 0.
        p_adjusted: its p-value, corrected for all that could fail with it. To pass needs no such
            correction where all must pass (intersection-union test, Berger 1982).

    Example:
        >>> shown = Worsening(value=.05, low=.03, high=.07, p_value=.001)
        >>> outcome(shown, .02, .003), outcome(shown, .02, .2), outcome(shown, .1, 1.0)
        ('fail', 'inconclusive', 'pass')
    """
    if worsening.high < margin:
        return PASS
    return FAIL if p_adjusted < LEVEL else INCONCLUSIVE
