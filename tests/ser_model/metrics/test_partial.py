"""The closed form equals the correlation of residuals, and says NaN where there is none."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ser_model.metrics.moments import CoMoments
from ser_model.metrics.partial import partial_cc, partial_cc_of


def residuals(values: np.ndarray, explained_by: np.ndarray) -> np.ndarray:
    design = np.column_stack([np.ones_like(explained_by), explained_by])
    coefficients, *_ = np.linalg.lstsq(design, values, rcond=None)
    return values - design @ coefficients


def three_variables(seed: int, offset: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3, 3)) @ rng.normal(size=(3, 60)) + offset


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), offset=st.sampled_from([0.0, -3.0, 1e4]))
def test_it_is_the_correlation_of_residuals(seed, offset):
    x, y, z = three_variables(seed, offset)
    expected = stats.pearsonr(residuals(x, z), residuals(y, z)).statistic
    assert partial_cc(x, y, z) == pytest.approx(expected, abs=1e-6)


def test_it_is_what_the_inverse_of_the_covariance_says():
    # Whittaker (1990): of the precision matrix P, -P_xy / sqrt(P_xx P_yy).
    variables = three_variables(seed=4)
    precision = np.linalg.inv(np.cov(variables))
    expected = -precision[0, 1] / math.sqrt(precision[0, 0] * precision[1, 1])
    assert partial_cc(*variables) == pytest.approx(expected, abs=1e-12)


def test_order_and_scale_do_not_matter():
    x, y, z = three_variables(seed=1)
    assert partial_cc(x, y, z) == pytest.approx(partial_cc(y, x, z), abs=1e-12)
    assert partial_cc(7 * x + 1, y, 3 - z) == pytest.approx(partial_cc(x, y, z), abs=1e-12)
    assert partial_cc(-x, y, z) == pytest.approx(-partial_cc(x, y, z), abs=1e-12)


def test_what_truth_explains_is_gone():
    # Prediction and sentiment go together only because both follow the truth.
    rng = np.random.default_rng(0)
    truth = rng.normal(size=20_000)
    prediction = truth + rng.normal(size=truth.size)
    sentiment = truth + rng.normal(size=truth.size)
    assert np.corrcoef(prediction, sentiment)[0, 1] > 0.45
    assert abs(partial_cc(prediction, sentiment, truth)) < 0.03


def test_a_constant_explains_nothing():
    x, y, _ = three_variables(seed=2)
    expected = stats.pearsonr(x, y).statistic
    assert partial_cc(x, y, np.full(x.size, 0.3)) == pytest.approx(expected, abs=1e-12)


X, Y, Z = three_variables(seed=3)


@pytest.mark.parametrize(
    ("first", "second", "given_values"),
    [
        ([], [], []),
        ([0.1], [0.2], [0.3]),
        (np.full(X.size, 0.1), Y, Z),
        (X, np.full(X.size, 1e6 + 0.1), Z),
        (X, 2 * Z - 1, Z),
        (Z, Y, Z),
        (np.where(np.arange(X.size) == 3, np.nan, X), Y, Z),
        (X, np.where(np.arange(X.size) == 3, np.nan, Y), Z),
        (X, Y, np.where(np.arange(X.size) == 3, np.nan, Z)),
    ],
    ids=[
        "nothing",
        "one segment",
        "constant first",
        "constant second",
        "second explained",
        "first explained",
        "NaN in first",
        "NaN in second",
        "NaN in given",
    ],
)
def test_without_anything_left_there_is_no_correlation(first, second, given_values):
    assert math.isnan(partial_cc(first, second, given_values))


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="differ in shape"):
        partial_cc([1, 2, 3], [1, 2, 3], [1, 2])


def test_replicates_at_once_are_replicates_one_by_one():
    speaker = np.arange(X.size) % 7
    weights = np.random.default_rng(5).poisson(1.0, size=(20, 7))
    pairs = [(X, Y), (Z, X), (Z, Y)]
    totals = [CoMoments.from_groups(a, b, speaker, 7).weighted_totals(weights) for a, b in pairs]
    together = partial_cc_of(*totals)
    for replicate, of_speakers in enumerate(weights):
        times = of_speakers[speaker]
        x, y, z = (np.repeat(values, times) for values in (X, Y, Z))
        assert together[replicate] == pytest.approx(partial_cc(x, y, z), abs=1e-9)
