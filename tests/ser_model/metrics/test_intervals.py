"""Intervals against scipy's distributions, at the ends of scales, and with few speakers."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from ser_model.metrics.intervals import (
    Estimate,
    Scale,
    effective_speakers,
    gap_estimate,
    speaker_error,
    speaker_interval,
)


def replicates(value, spread, num=400, seed=0):
    return np.append(value, np.random.default_rng(seed).normal(value, spread, num))


@pytest.mark.parametrize(
    ("scale", "there", "back", "factor"),
    [
        (Scale.LINEAR, np.asarray, np.asarray, math.sqrt(9 / 8)),
        (Scale.SHARE, logit, expit, math.sqrt(9 / 8)),
        (Scale.CORRELATION, np.arctanh, np.tanh, 9 / 8),
        (Scale.ERROR, np.log, np.exp, 9 / 8),
    ],
)
def test_the_interval_is_students_where_the_metric_scatters_evenly(scale, there, back, factor):
    values = replicates(0.6, 0.05)
    z = there(values)
    error = np.std(z[1:]) * factor
    expected = back(np.array(stats.t.interval(0.9, 8, z[0], error)))
    assert speaker_interval(values, 9, scale, confidence=0.9) == pytest.approx(tuple(expected))


@pytest.mark.parametrize(
    ("value", "scale"),
    [
        (0.97, Scale.SHARE),
        (0.97, Scale.CORRELATION),
        (0.02, Scale.ERROR),
        (-0.97, Scale.CORRELATION),
    ],
)
def test_no_interval_leaves_the_scale(value, scale):
    values = np.clip(replicates(value, 0.05), *scale.value)
    low, high = speaker_interval(values, 4, scale)
    assert scale.value[0] <= low < value < high <= scale.value[1]


def test_replicates_without_spread_are_an_interval_of_one_point():
    assert speaker_interval(np.full(9, 1.0), 5, Scale.CORRELATION) == (1.0, 1.0)
    assert speaker_interval(np.zeros(9), 5, Scale.ERROR) == (0.0, 0.0)


def test_an_interval_needs_enough_replicates_with_a_value():
    values = replicates(0.5, 0.1, num=100)
    values[1:21] = np.nan
    assert np.isfinite(speaker_interval(values, 9, Scale.SHARE)).all()
    values[21] = np.nan
    assert np.isnan(speaker_interval(values, 9, Scale.SHARE)).all()
    assert math.isnan(speaker_error(values, 9))
    assert gap_estimate(values, np.zeros(101), (9, 9), 18) is None


def test_fewer_speakers_make_wider_intervals():
    values = replicates(0.5, 0.1)
    widths = [np.diff(speaker_interval(values, size, Scale.LINEAR))[0] for size in (2, 3, 9, 900)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(2 * 1.96 * np.std(values[1:]), rel=0.01)


def test_speakers_with_most_segments_count_as_fewer():
    random = np.random.default_rng(1)
    for counts in (np.full(20, 30), np.array([300, 200, *[10] * 18])):
        weights = np.vstack([np.ones((1, 20)), random.poisson(1, (20_000, 20))])
        kish = counts.sum() ** 2 / (counts**2).sum()
        assert effective_speakers(weights @ counts, 20) == pytest.approx(kish, rel=0.03)
    assert effective_speakers(np.array([10.0, 10.0, 10.0]), 1) == 1


def test_pairs_are_closer_than_strangers():
    """Speakers who are in both groups take their own spread out of the gap."""
    own = np.random.default_rng(2).normal(0, 0.2, 400)
    first = np.append(0.6, 0.6 + own)
    second = np.append(0.5, 0.5 + own + np.random.default_rng(3).normal(0, 0.02, 400))
    paired = gap_estimate(first, second, (8, 8), 8)
    strangers = gap_estimate(first, second[[0, *range(400, 0, -1)]], (8, 8), 16)
    assert paired.value == strangers.value == pytest.approx(0.1)
    assert paired.standard_error < strangers.standard_error / 5
    assert paired.degrees_of_freedom == pytest.approx(7)


def test_groups_that_are_the_same_have_no_spread():
    values = replicates(0.6, 0.1)
    assert gap_estimate(values, values, (8, 8), 8) is None


def test_a_test_against_0_and_its_interval_agree():
    for value in np.linspace(-0.5, 0.5, 41):
        estimate = Estimate(value=value, standard_error=0.1, degrees_of_freedom=6)
        low, high = estimate.interval()
        assert (estimate.p_value < 0.05) == (low > 0 or high < 0)
