"""Residuals against scipy and numpy, from moments that were merged."""

import numpy as np
import pytest
from scipy import stats

from ser_model.metrics.moments import CoMoments
from ser_model.metrics.residuals import residual_line_of, residual_mean_of, residual_t_test


def make_pairs(seed=0, offset=0.0, num=200):
    random = np.random.default_rng(seed)
    truth = random.beta(2, 3, num)
    return truth + offset, 0.4 * truth + 0.25 + random.normal(0, 0.1, num) + offset


def merged(truth, prediction, num_parts):
    part = np.random.default_rng(1).integers(0, num_parts, truth.size)
    parts = CoMoments.from_groups(truth, prediction, part, num_parts)
    return parts.merge_groups(np.zeros(num_parts, dtype=np.int64), 1)[0]


@pytest.mark.parametrize("num_parts", [1, 7])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_the_t_test_equals_scipy(num_parts, offset):
    truth, prediction = make_pairs(offset=offset)
    test = residual_t_test(merged(truth, prediction, num_parts))
    expected = stats.ttest_1samp(truth - prediction, 0.0)
    assert test.value == pytest.approx(np.mean(truth - prediction), abs=1e-9)
    assert test.value / test.standard_error == pytest.approx(expected.statistic, rel=1e-6)
    assert test.p_value == pytest.approx(expected.pvalue, rel=1e-5)
    assert test.interval() == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=1e-9)


@pytest.mark.parametrize("num_parts", [1, 7])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_the_line_equals_least_squares(num_parts, offset):
    truth, prediction = make_pairs(offset=offset)
    line = residual_line_of(merged(truth, prediction, num_parts))
    slope, intercept = np.polyfit(truth - offset, truth - prediction, 1)
    assert line.slope == pytest.approx(slope, abs=1e-9)
    assert line.intercept + line.slope * offset == pytest.approx(intercept, abs=1e-9)


def test_a_perfect_model_has_no_slope_and_a_constant_one_slope_1():
    truth, _ = make_pairs()
    assert residual_line_of(CoMoments.from_values(truth, truth)).slope == pytest.approx(0)
    constant = residual_line_of(CoMoments.from_values(truth, np.full(truth.size, 0.4)))
    assert constant.slope == pytest.approx(1)
    assert constant.intercept == pytest.approx(-0.4)


@pytest.mark.parametrize(
    ("truth", "prediction"), [([], []), ([0.5], [0.25]), ([0.5, 0.7], [0.25, 0.45])]
)
def test_without_spread_there_is_no_test(truth, prediction):
    assert residual_t_test(CoMoments.from_values(truth, prediction)) is None


def test_odd_cases():
    assert np.isnan(residual_mean_of(CoMoments.zeros()))
    line = residual_line_of(CoMoments.from_values([0.5, 0.5], [0.1, 0.9]))
    assert np.isnan(line.slope)
    assert np.isnan(line.intercept)
