"""Intervals of shares against scipy, a formulation row by row, and simulated speakers."""

import math

import numpy as np
import pytest
from scipy import stats

from ser_model.metrics.share_intervals import mean_share_interval, wilson_interval


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 10), (3, 10), (10, 10), (417, 1000)])
def test_wilson_equals_scipy(hits, n):
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson_interval(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_without_segments_there_is_no_interval():
    assert np.isnan(wilson_interval([0, 0], [0, 0])).all()
    assert np.isnan(mean_share_interval([0, 0], [0, 0])).all()


def test_a_mean_of_one_share_has_the_interval_of_that_share():
    ends = np.stack(mean_share_interval([7, 0], [12, 0]))
    assert ends == pytest.approx(np.stack(wilson_interval(7, 12)))


def test_a_mean_of_shares_equals_the_formula_written_out():
    hits, n = [3, 10, 0], [8, 10, 4]
    ends = [
        stats.binomtest(k, m).proportion_ci(method="wilson") for k, m in zip(hits, n, strict=True)
    ]
    shares = [k / m for k, m in zip(hits, n, strict=True)]
    below = math.sqrt(sum((s - e.low) ** 2 for s, e in zip(shares, ends, strict=True))) / 3
    above = math.sqrt(sum((e.high - s) ** 2 for s, e in zip(shares, ends, strict=True))) / 3
    mean = sum(shares) / 3
    assert mean_share_interval(hits, n) == pytest.approx((mean - below, mean + above), abs=1e-12)


@pytest.mark.parametrize("recalls", [(0.9, 0.8, 0.5, 0.3), (0.98, 0.95, 0.9, 0.97)])
@pytest.mark.parametrize("num_segments", [(4, 6, 12, 20), (30, 30, 30, 30)])
def test_the_interval_of_a_mean_covers_it_about_as_often_as_it_says(recalls, num_segments):
    random = np.random.default_rng(0)
    hits = random.binomial(num_segments, recalls, size=(20_000, 4))
    low, high = mean_share_interval(hits, np.broadcast_to(num_segments, hits.shape))
    mean = np.mean(recalls)
    assert 0.91 < ((low <= mean) & (mean <= high)).mean() < 0.96
