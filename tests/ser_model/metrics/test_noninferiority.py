"""Worsenings against scipy's one-sided t-test, and what each outcome takes."""

import numpy as np
import pytest
from scipy import stats

from ser_model.metrics.intervals import Estimate
from ser_model.metrics.noninferiority import (
    FAIL,
    INCONCLUSIVE,
    PASS,
    hold_against,
    is_unchanged,
    outcome,
    without_spread,
)


@pytest.mark.parametrize("margin", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_bounds_and_p_value_equal_scipy(seed, margin):
    sample = np.random.default_rng(seed).normal(0.1, 0.2, 12)
    size = len(sample)
    estimate = Estimate(
        value=float(sample.mean()),
        standard_error=float(sample.std(ddof=1) / np.sqrt(size)),
        degrees_of_freedom=size - 1.0,
    )
    found = hold_against(estimate, margin)
    beyond = stats.ttest_1samp(sample, margin, alternative="greater")
    assert found.p_value == pytest.approx(beyond.pvalue, abs=1e-9)
    low = stats.ttest_1samp(sample, 0, alternative="greater").confidence_interval(0.95).low
    high = stats.ttest_1samp(sample, 0, alternative="less").confidence_interval(0.95).high
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_each_outcome():
    def judged(value, p_adjusted=None):
        estimate = Estimate(value=value, standard_error=0.01, degrees_of_freedom=30)
        held = hold_against(estimate, 0.02)
        return outcome(held, 0.02, held.p_value if p_adjusted is None else p_adjusted)

    assert judged(0.0) == PASS
    assert judged(-0.5) == PASS
    assert judged(0.01) == INCONCLUSIVE
    assert judged(0.05) == FAIL
    assert judged(0.05, p_adjusted=0.06) == INCONCLUSIVE


def test_what_is_the_same_in_every_replicate_is_known():
    better, worse = np.full(20, -0.1), np.full(20, 0.1)
    assert outcome(without_spread(better, 0.02), 0.02, 1.0) == PASS
    held = without_spread(worse, 0.02)
    assert outcome(held, 0.02, held.p_value) == FAIL
    assert without_spread(np.linspace(0, 1, 20), 0.02) is None
    assert without_spread(np.array([0.1, *[np.nan] * 19]), 0.02) is None


def test_only_the_same_predictions_are_unchanged():
    assert is_unchanged(np.array([0.0, 0.0, np.nan]))
    assert not is_unchanged(np.array([np.nan, 0.0, 0.0]))
    assert not is_unchanged(np.array([0.0, 1e-15, 0.0]))
