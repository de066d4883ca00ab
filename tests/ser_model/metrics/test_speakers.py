"""Errors of single speakers against simulation, shrinkage and ranks against second formulations."""

import numpy as np
import pytest
from scipy import stats

from ser_model.metrics.concordance import concordance_cc_of
from ser_model.metrics.errors import bias_of, mean_absolute_error_of
from ser_model.metrics.moments import CoMoments
from ser_model.metrics.speakers import (
    average_ranks,
    bias_error_of,
    concordance_z_error_of,
    mean_absolute_error_error_of,
    shrink,
    spearman_cc,
    spearman_interval,
    worst_share,
)


def simulate(num_speakers, num_segments, slope=0.7, shift=0.05, seed=0):
    random = np.random.default_rng(seed)
    truth = random.normal(0.5, 0.18, (num_speakers, num_segments))
    prediction = 0.5 + slope * (truth - 0.5) + random.normal(shift, 0.12, truth.shape)
    speaker = np.repeat(np.arange(num_speakers), num_segments)
    return CoMoments.from_groups(truth.ravel(), prediction.ravel(), speaker, num_speakers)


@pytest.mark.parametrize(("slope", "shift"), [(0.7, 0.05), (0.7, 0.3), (0.0, 0.05), (-0.5, 0.0)])
def test_the_errors_are_the_spread_of_speakers_who_are_all_alike(slope, shift):
    speakers = simulate(4000, 300, slope, shift)
    for values, errors in (
        (np.arctanh(concordance_cc_of(speakers)), concordance_z_error_of(speakers)),
        (bias_of(speakers), bias_error_of(speakers)),
        (mean_absolute_error_of(speakers), mean_absolute_error_error_of(speakers)),
    ):
        assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.05)


def test_the_error_of_a_bias_equals_scipy():
    random = np.random.default_rng(1)
    truth, prediction = random.uniform(0, 1, (2, 30))
    moments = CoMoments.from_values(truth, prediction)
    assert bias_error_of(moments) == pytest.approx(stats.sem(prediction - truth))
    assert mean_absolute_error_error_of(moments) == pytest.approx(
        stats.sem(abs(prediction - truth))
    )


def test_too_few_segments_have_no_error():
    few = CoMoments.from_groups(
        np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.2, 0.1]), np.array([0, 1, 1]), 3
    )
    assert np.isnan(concordance_z_error_of(few)).all()
    assert np.isnan(bias_error_of(few)).tolist() == [True, False, True]
    assert np.isnan(mean_absolute_error_error_of(few)).tolist() == [True, False, True]


def der_simonian_laird(values, errors):
    """The textbook formulas, one speaker after another."""
    w = [1 / e**2 for e in errors]
    fixed = sum(a * v for a, v in zip(w, values, strict=True)) / sum(w)
    q = sum(a * (v - fixed) ** 2 for a, v in zip(w, values, strict=True))
    between = max(0, (q - (len(values) - 1)) / (sum(w) - sum(a * a for a in w) / sum(w)))
    star = [1 / (e**2 + between) for e in errors]
    return between, sum(a * v for a, v in zip(star, values, strict=True)) / sum(star)


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_shrinkage_equals_the_textbook(spread):
    random = np.random.default_rng(2)
    errors = random.uniform(0.05, 0.4, 40)
    values = random.normal(0.5, spread, 40) + random.normal(0, errors)
    shrunk = shrink(values, errors)
    between, mean = der_simonian_laird(values, errors)
    assert shrunk.spread**2 == pytest.approx(between)
    assert shrunk.mean == pytest.approx(mean)
    for value, error, found, uncertain in zip(
        values, errors, shrunk.values, shrunk.errors, strict=True
    ):
        precision = 1 / error**2 + (1 / between if between else np.inf)
        expected = (value / error**2 + mean / between) * (1 / precision) if between else mean
        assert found == pytest.approx(expected)
        assert uncertain == pytest.approx(np.sqrt(1 / precision))


def test_shrunk_values_are_closer_to_the_truth_and_their_intervals_hold_it():
    random = np.random.default_rng(3)
    errors = random.uniform(0.05, 0.4, 2000)
    true = random.normal(0.5, 0.2, 2000)
    values = true + random.normal(0, errors)
    shrunk = shrink(values, errors)
    assert np.mean((shrunk.values - true) ** 2) < 0.7 * np.mean((values - true) ** 2)
    assert np.mean(abs(shrunk.values - true) < 1.96 * shrunk.errors) == pytest.approx(
        0.95, abs=0.015
    )
    assert shrunk.spread == pytest.approx(0.2, rel=0.1)


def test_speakers_without_an_error_stay_as_they_are():
    values = np.array([0.1, 0.9, 0.5, np.nan, 0.3])
    errors = np.array([0.1, 0.1, np.nan, 0.1, 0.0])
    shrunk = shrink(values, errors)
    np.testing.assert_array_equal(shrunk.values[2:], values[2:])
    alone = shrink(values[:2], errors[:2])
    np.testing.assert_array_equal(shrunk.values[:2], alone.values)
    assert np.isnan(shrink(values[2:], errors[2:]).spread)


@pytest.mark.parametrize("num_values", [2, 3, 50])
def test_spearman_and_ranks_equal_scipy(num_values):
    random = np.random.default_rng(num_values)
    left = random.integers(0, 10, num_values) + 1e6
    right = left + random.normal(0, 3, num_values)
    np.testing.assert_array_equal(average_ranks(left), stats.rankdata(left))
    assert spearman_cc(left, right) == pytest.approx(
        stats.spearmanr(left, right).statistic, abs=1e-12, nan_ok=True
    )


def test_spearman_of_equal_values_has_no_value():
    assert np.isnan(spearman_cc([1, 1], [1, 2]))
    assert np.isnan(spearman_cc([], []))
    assert np.isnan(spearman_interval(1.0, 9)).all()
    assert np.isnan(spearman_interval(0.5, 3)).all()


def test_the_interval_of_spearman_holds_it_nineteen_times_in_twenty():
    random = np.random.default_rng(5)
    true = 6 / np.pi * np.arcsin(0.6 / 2)  # of normal values with a PCC of .6
    held = 0
    for _ in range(600):
        left = random.normal(size=25)
        right = 0.6 * left + 0.8 * random.normal(size=25)
        low, high = spearman_interval(spearman_cc(left, right), 25)
        held += low <= true <= high
    assert 0.92 < held / 600 < 0.98


def test_the_worst_share_is_that_of_the_whole_where_all_are_equal():
    for size in (1, 3, 10, 19):
        assert worst_share(np.full(size, 0.2)) == pytest.approx(0.1)
    assert worst_share(np.array([0, 0, 0, 1.0])) == pytest.approx(0.4)
    assert np.isnan(worst_share(np.zeros(3)))
