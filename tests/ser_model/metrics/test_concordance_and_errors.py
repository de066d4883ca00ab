"""CCC, PCC, MSE, MAE and bias against audmetric, a second formulation, and the odd cases."""

import audmetric
import numpy as np
import pytest

from ser_model.metrics.concordance import concordance_cc, pearson_cc
from ser_model.metrics.errors import bias, mean_absolute_error, mean_squared_error

METRICS = [concordance_cc, pearson_cc, mean_squared_error, mean_absolute_error, bias]


def concordance_by_distance_from_the_diagonal(truth, prediction):
    """Lin 1989, section 2: one minus the expected squared distance over that without dependence."""
    distance = np.mean((truth - prediction) ** 2)
    independent = np.mean((truth[:, None] - prediction[None, :]) ** 2)
    return 1 - distance / independent


def pearson_by_standard_scores(truth, prediction):
    def scores(values):
        return (values - values.mean()) / values.std()

    return np.mean(scores(truth) * scores(prediction))


def pairs(seed):
    random = np.random.default_rng(seed)
    truth = random.beta(2, 3, 200)
    return truth, 0.4 * truth + random.normal(0.2, 0.2, 200)


@pytest.mark.parametrize("seed", range(5))
def test_against_a_second_formulation(seed):
    truth, prediction = pairs(seed)
    assert concordance_cc(truth, prediction) == pytest.approx(
        concordance_by_distance_from_the_diagonal(truth, prediction), abs=1e-12
    )
    assert pearson_cc(truth, prediction) == pytest.approx(
        pearson_by_standard_scores(truth, prediction), abs=1e-12
    )
    error = prediction - truth
    assert mean_squared_error(truth, prediction) == pytest.approx(np.mean(error**2), abs=1e-12)
    assert mean_absolute_error(truth, prediction) == pytest.approx(np.mean(abs(error)), abs=1e-12)
    assert bias(truth, prediction) == pytest.approx(np.mean(error), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_against_audmetric(seed):
    truth, prediction = pairs(seed)
    for ours in (concordance_cc, pearson_cc, mean_squared_error, mean_absolute_error):
        theirs = getattr(audmetric, ours.__name__)
        assert ours(truth, prediction) == pytest.approx(theirs(truth, prediction), abs=1e-12)


def test_population_variances():
    """With variances over n - 1, as some libraries have it, this would be 4/7 instead of 2/3."""
    assert concordance_cc([0, 1, 2], [0, 1, 1]) == pytest.approx(2 / 3, abs=1e-15)


CASES = {
    # name: (truth, prediction, CCC, PCC, MSE, MAE, bias)
    "empty": ([], [], np.nan, np.nan, np.nan, np.nan, np.nan),
    "one pair": ([0.5], [0.75], np.nan, np.nan, 0.0625, 0.25, 0.25),
    "equal": ([0, 1, 2], [0, 1, 2], 1, 1, 0, 0, 0),
    "opposite": ([-1, 0, 1], [1, 0, -1], -1, -1, 8 / 3, 4 / 3, 0),
    "shifted": ([0, 1, 2], [1, 2, 3], 4 / 7, 1, 1, 1, 1),
    "constant truth": ([0.1] * 3, [0, 1, 2], np.nan, np.nan, 1.4766667, 0.9666667, 0.9),
    "constant prediction": ([0, 1, 2], [0.1] * 3, 0, np.nan, 1.4766667, 0.9666667, -0.9),
    "both constant": ([0.3] * 3, [0.3] * 3, np.nan, np.nan, 0, 0, 0),
    "constant far from zero": ([1e6 + 0.1] * 7, [0] * 7, np.nan, np.nan, None, None, None),
    "NaN in truth": ([0, np.nan, 1], [0, 1, 1], *[np.nan] * 5),
    "NaN in prediction": ([0, 1, 1], [0, np.nan, 1], *[np.nan] * 5),
}


@pytest.mark.parametrize("name", CASES)
def test_odd_cases(name):
    truth, prediction, *expected = CASES[name]
    for metric, value in zip(METRICS, expected, strict=True):
        if value is not None:
            assert metric(truth, prediction) == pytest.approx(value, abs=1e-6, nan_ok=True), metric


def test_sums_of_tenths_have_no_variance():
    """A mean of 0.1 is not exactly 0.1: `variance == 0` would take rounding for agreement."""
    assert np.isnan(concordance_cc([0.1] * 1_000, [0.1] * 1_000))


@pytest.mark.parametrize("metric", METRICS)
def test_lengths_must_agree(metric):
    with pytest.raises(ValueError, match="differ in shape"):
        metric([0, 1], [0])
