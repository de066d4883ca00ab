"""Intervals from speaker-level replicates that hold with few speakers too, and tests of gaps.

The middle 95 % of the replicates (the percentile interval) is too narrow with few speakers: of 4
speakers it covers the truth in 83 to 90 % of simulated corpora only. Three things mend that:

- The bootstrap's spread is too small by sqrt((S - 1) / S), S the number of speakers (Efron &
  Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 5); for what rests on squares, as
  correlations and errors do, by (S - 1) / S, as the jackknife has it (MacKinnon & White 1985, J.
  Econometrics 29).
- It is itself uncertain: Student's t with S - 1 degrees of freedom takes the place of the normal.
- Correlations and shares lean away from their ends, errors away from 0: intervals are made where
  they do not, for correlations by Fisher's z, for errors in the logarithm, for shares in the
  logit, and carried back. Where a replicate is at an end of the scale, which lies infinitely far
  there, the interval is made on the plain scale and ends at its ends.

S is the effective number of speakers, which is smaller where few speakers have most segments.
docs/statistics.md says how often such intervals cover the truth; tests/ser_model/metrics/
test_coverage.py measures it.

Shape suffix: B1 the estimate and then the replicates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ser_model.metrics.bootstrap import has_enough_replicates
from ser_model.metrics.moments import Floats
from ser_model.metrics.significance import student_t_p_value, student_t_quantile

CONFIDENCE = 0.95

POWER = 0.8
"""How often a minimum detectable effect would be found; the custom since Cohen 1988."""

NO_SPREAD = 1e-12
"""Replicates that differ by less than this are the same number, but for rounding."""


class Scale(Enum):
    """Where a metric's replicates scatter evenly, and the ends of its values."""

    LINEAR = (-math.inf, math.inf)
    SHARE = (0.0, 1.0)
    CORRELATION = (-1.0, 1.0)
    ERROR = (0.0, math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number that was estimated from speakers, on a scale where Student's t holds.

    Attributes:
        value: the estimate.
        standard_error: of the value; more than 0.
        degrees_of_freedom: of the standard error.

    Example:
        >>> gap = Estimate(value=.3, standard_error=.1, degrees_of_freedom=10)
        >>> low, high = gap.interval()
        >>> round(low, 3), round(high, 3), round(gap.p_value, 3)
        (0.077, 0.523, 0.013)
        >>> round(gap.minimum_detectable_effect, 3)
        0.311
    """

    value: float
    standard_error: float
    degrees_of_freedom: float

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return the two-sided interval."""
        quantile = student_t_quantile((1.0 + confidence) / 2.0, self.degrees_of_freedom)
        reach = quantile * self.standard_error
        return self.value - reach, self.value + reach

    def as_columns(self) -> dict[str, float]:
        """Return what a row of statistics says of how certain the value is, by column."""
        low, high = self.interval()
        return {
            "ci_low": low,
            "ci_high": high,
            "standard_error": self.standard_error,
            "degrees_of_freedom": self.degrees_of_freedom,
        }

    @property
    def p_value(self) -> float:
        """Two-sided p-value of the test against 0."""
        return student_t_p_value(self.value / self.standard_error, self.degrees_of_freedom)

    @property
    def minimum_detectable_effect(self) -> float:
        """The smallest true value that a two-sided test at the 5 % level finds with POWER."""
        both = student_t_quantile((1.0 + CONFIDENCE) / 2.0, self.degrees_of_freedom)
        return (both + student_t_quantile(POWER, self.degrees_of_freedom)) * self.standard_error


def effective_speakers(num_segments_B1: Floats, num_speakers: int) -> float:
    """Return how many speakers with equally many segments would be as uncertain as these.

    (sum of n) ** 2 / sum of n ** 2 over the speakers (Kish 1965), where the sum of n ** 2 is the
    variance of the Poisson replicates of n.

    Args:
        num_segments_B1: [B1] segments: the count, then the weighted counts of the replicates.
        num_speakers: those that there are.

    Returns:
        1 to num_speakers.

    Example:
        >>> effective_speakers(np.array([20., 20., 10., 30., 20.]), 12)
        8.0
    """
    variance = float(np.var(num_segments_B1[1:]))
    effective = float(num_segments_B1[0]) ** 2 / variance if variance > 0 else math.inf
    return min(max(effective, 1.0), float(num_speakers))


def speaker_error(values_B1: Floats, num_speakers: float) -> float:
    """Return the standard error of a metric over speakers; NaN where too few replicates.

    Args:
        values_B1: [B1] the estimate, then its replicates; NaN where they have no value.
        num_speakers: effective speakers.
    """
    if not has_enough_replicates(values_B1[1:]):
        return math.nan
    return float(np.nanstd(values_B1[1:])) * math.sqrt(_small_sample_factor(num_speakers))


def speaker_interval(
    values_B1: Floats, num_speakers: float, scale: Scale, *, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the interval of a metric over speakers.

    Args:
        values_B1: [B1] the estimate, then its replicates; NaN where they have no value.
        num_speakers: effective speakers; 2 at least are counted.
        scale: of the metric.
        confidence: 0 to 1.

    Returns:
        NaN, NaN where too few replicates have a value.
    """
    if not has_enough_replicates(values_B1[1:]):
        return math.nan, math.nan
    value = float(values_B1[0])
    if np.nanmax(np.abs(values_B1 - value)) <= NO_SPREAD * max(abs(value), 1.0):
        return value, value
    there, back = _TRANSFORMS[scale]
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = there(values_B1)
    if not np.isfinite(scaled[np.isfinite(values_B1)]).all():
        scaled, back = values_B1, float
    error = speaker_error(scaled, num_speakers)
    if scale in _OF_SQUARES:
        error *= math.sqrt(_small_sample_factor(num_speakers))
    estimate = Estimate(
        value=float(scaled[0]),
        standard_error=error,
        degrees_of_freedom=max(num_speakers - 1.0, 1.0),
    )
    low, high = estimate.interval(confidence)
    lowest, highest = scale.value
    return max(back(low), lowest), min(back(high), highest)


def gap_estimate(
    first_B1: Floats, second_B1: Floats, speakers: tuple[float, float], num_speakers: int
) -> Estimate | None:
    """Return the gap of two groups of speakers: a metric of the first minus that of the second.

    The spread is that of the gap's own replicates, so that speakers who are in both groups count
    as pairs. Small samples are corrected for, and degrees of freedom counted, as in Welch's test
    (Welch 1947; Satterthwaite 1946): the group with few speakers decides.

    Args:
        first_B1: [B1] the metric of the first group, then its replicates.
        second_B1: [B1] likewise of the second, of the same draws.
        speakers: effective speakers of each.
        num_speakers: distinct speakers of both together.

    Returns:
        None where too few replicates have a value, or they are all the same.
    """
    gap_B1 = first_B1 - second_B1
    if not has_enough_replicates(gap_B1[1:]):
        return None
    has_both = np.isfinite(gap_B1[1:])
    variances = [float(np.var(side[1:][has_both])) for side in (first_B1, second_B1)]
    spread = float(np.std(gap_B1[1:][has_both]))
    scale = max(abs(float(gap_B1[0])), 1.0)
    if spread <= NO_SPREAD * scale or not sum(variances) > 0:
        return None
    corrected = [
        variance * _small_sample_factor(size)
        for variance, size in zip(variances, speakers, strict=True)
    ]
    freedom = sum(corrected) ** 2 / sum(
        variance**2 / max(size - 1.0, 1.0)
        for variance, size in zip(corrected, speakers, strict=True)
    )
    return Estimate(
        value=float(gap_B1[0]),
        standard_error=spread * math.sqrt(sum(corrected) / sum(variances)),
        degrees_of_freedom=max(min(freedom, num_speakers - 1.0), 1.0),
    )


def has_spread(values_B1: Floats) -> bool:
    """Tell whether replicates differ by more than rounding; those without a value do not count.

    Example:
        >>> has_spread(np.array([.1, .1, np.nan])), has_spread(np.array([.1, .2, .1]))
        (False, True)
    """
    scale = max(abs(float(values_B1[0])), 1.0)
    return bool(np.nanmax(np.abs(values_B1 - values_B1[0])) > NO_SPREAD * scale)


def paired_estimate(difference_B1: Floats, num_speakers: float) -> Estimate | None:
    """Return the difference of two metrics of the same segments, with its error over speakers.

    Both sides have the same speakers, so there is one number of speakers and S - 1 degrees of
    freedom, as in the paired t-test.

    Args:
        difference_B1: [B1] the difference, then that of each replicate; NaN where it has no value.
        num_speakers: effective speakers.

    Returns:
        None where too few replicates have a value, or they are all the same.

    Example:
        >>> found = paired_estimate(np.array([.1, .0, .1, .2, .1]), 5.0)
        >>> found.value, round(found.standard_error, 4), found.degrees_of_freedom
        (0.1, 0.0791, 4.0)
    """
    error = speaker_error(difference_B1, num_speakers)
    if np.isnan(error) or not has_spread(difference_B1):
        return None
    return Estimate(
        value=float(difference_B1[0]),
        standard_error=error,
        degrees_of_freedom=max(num_speakers - 1.0, 1.0),
    )


def _small_sample_factor(num_speakers: float) -> float:
    """S / (S - 1), what a variance between S speakers is too small by."""
    size = max(num_speakers, 2.0)
    return size / (size - 1.0)


def _logit(shares: Floats) -> Floats:
    return np.asarray(np.log(shares) - np.log1p(-shares))


def _expit(z: float) -> float:
    return 0.5 * (1.0 + math.tanh(z / 2.0))


def _exp(z: float) -> float:
    return math.exp(min(z, 700.0))  # beyond, the largest number ends


_OF_SQUARES = (Scale.CORRELATION, Scale.ERROR)

_TRANSFORMS: dict[Scale, tuple[Callable[[Floats], Floats], Callable[[float], float]]] = {
    Scale.LINEAR: (np.asarray, float),
    Scale.SHARE: (_logit, _expit),
    Scale.CORRELATION: (np.arctanh, math.tanh),
    Scale.ERROR: (np.log, _exp),
}
