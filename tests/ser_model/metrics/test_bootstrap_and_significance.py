"""Weights depend on seed, replicate and speaker alone, are Poisson(1), and tests are corrected."""

import math

import numpy as np
import pytest
from scipy import stats

from ser_model.metrics.bootstrap import (
    has_enough_replicates,
    poisson_weights,
    random_bits,
    speaker_keys,
)
from ser_model.metrics.concordance import concordance_cc_of
from ser_model.metrics.intervals import Scale, speaker_interval
from ser_model.metrics.moments import CoMoments
from ser_model.metrics.significance import (
    benjamini_hochberg,
    holm,
    student_t_p_value,
    student_t_quantile,
)

SPEAKERS = [f"speaker {number}" for number in range(200)]


def weights_of(speakers, seed=0, num_replicates=500):
    return poisson_weights(speaker_keys(speakers), seed=seed, num_replicates=num_replicates)


def test_weights_are_poisson():
    weights = weights_of(SPEAKERS)
    observed = np.bincount(weights.ravel(), minlength=8)
    expected = stats.poisson.pmf(range(7), 1.0)
    expected *= observed[:7].sum() / expected.sum()
    assert stats.chisquare(observed[:7], expected).pvalue > 0.001
    assert observed[8:].sum() <= 5


def test_weights_invert_the_distribution_as_scipy_does():
    """Among 3 million of them are hundreds that the first sixteen bits do not decide."""
    keys = speaker_keys([str(number) for number in range(1000)])
    bits = random_bits(keys, purpose="seed 3", num_replicates=3000)
    uniform = (bits >> np.uint64(11)) / 2.0**53
    expected = np.maximum(stats.poisson(1).ppf(uniform), 0)
    np.testing.assert_array_equal(poisson_weights(keys, seed=3, num_replicates=3000), expected)


def test_weights_are_independent_across_speakers_and_replicates():
    weights = weights_of(SPEAKERS).astype(float)
    for table in (weights, weights.T):
        correlation = np.corrcoef(table)
        off_diagonal = correlation[~np.eye(len(correlation), dtype=bool)]
        assert abs(off_diagonal.mean()) < 0.01
        assert abs(off_diagonal).max() < 6 / math.sqrt(table.shape[1])


def test_weights_do_not_depend_on_who_else_is_there_nor_on_how_many_replicates():
    together = weights_of(SPEAKERS)
    np.testing.assert_array_equal(together[:, 17:19], weights_of(SPEAKERS[17:19]))
    np.testing.assert_array_equal(together[:10], weights_of(SPEAKERS, num_replicates=10))


def test_the_seed_changes_the_weights():
    assert (weights_of(SPEAKERS, seed=0) != weights_of(SPEAKERS, seed=1)).mean() > 0.5


PINNED = [[0, 0, 2], [0, 1, 3], [2, 0, 1], [0, 1, 0]]


def test_weights_are_the_same_for_ever():
    """Pinned: other weights would change every published interval."""
    assert weights_of(["ann", "bob", "čeněk"], num_replicates=4).tolist() == PINNED


def test_the_bootstrap_finds_the_spread_between_speakers():
    """The standard error of a mean of speaker means is their standard deviation over root S."""
    random = np.random.default_rng(0)
    speaker_bias = random.normal(0, 1, 200)
    speaker = np.repeat(np.arange(200), 10)
    truth = np.zeros(2_000)
    moments = CoMoments.from_groups(truth, speaker_bias[speaker], speaker, 200)
    totals = moments.weighted_totals(weights_of(SPEAKERS, num_replicates=2_000))
    assert totals.mean_prediction.std() == pytest.approx(
        speaker_bias.std() / math.sqrt(200), rel=0.08
    )


def test_an_interval_needs_enough_replicates_with_a_value():
    replicates = np.ones((100, 2))
    replicates[:20, 0] = np.nan
    replicates[:21, 1] = np.nan
    assert has_enough_replicates(replicates).tolist() == [True, False]


def test_a_concordance_interval_covers_the_value():
    random = np.random.default_rng(5)
    truth = random.uniform(0, 1, 1_000)
    speaker = random.integers(0, 200, 1_000)
    moments = CoMoments.from_groups(truth, truth + random.normal(0, 0.2, 1_000), speaker, 200)
    weights_B1S = np.vstack([np.ones((1, 200)), weights_of(SPEAKERS)])
    values_B1 = concordance_cc_of(moments.weighted_totals(weights_B1S))
    value = values_B1[0]
    low, high = speaker_interval(values_B1, 200, Scale.CORRELATION)
    assert low < value < high < low + 0.1


@pytest.mark.parametrize("degrees_of_freedom", [1, 2, 3, 10, 100, 10_000_000])
@pytest.mark.parametrize("t", [0.0, -0.01, 0.5, -2.0, 5.0, 30.0])
def test_student_t_equals_scipy(t, degrees_of_freedom):
    expected = 2 * stats.t.sf(abs(t), degrees_of_freedom)
    assert student_t_p_value(t, degrees_of_freedom) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("degrees_of_freedom", [1, 1.3, 2, 3.7, 10, 100, 10_000_000])
@pytest.mark.parametrize("probability", [0.5, 0.8, 0.95, 0.975, 0.9995])
def test_quantiles_of_student_t_equal_scipy(probability, degrees_of_freedom):
    expected = stats.t.ppf(probability, degrees_of_freedom)
    assert student_t_quantile(probability, degrees_of_freedom) == pytest.approx(
        expected, rel=1e-7, abs=1e-9
    )


@pytest.mark.parametrize("probability", [0.4, 1.0])
def test_quantiles_are_of_the_upper_half(probability):
    with pytest.raises(ValueError, match=r"not \.5 or more"):
        student_t_quantile(probability, 3)


def test_student_t_of_odd_values():
    assert np.isnan(student_t_p_value(math.nan, 3))
    assert student_t_p_value(math.inf, 3) == 0
    with pytest.raises(ValueError, match="not more than 0"):
        student_t_p_value(1.0, 0)


def test_holm_against_its_definition():
    p = np.random.default_rng(6).uniform(0, 0.2, 9)
    adjusted = holm(p)
    for alpha in (0.01, 0.05, 0.1, 0.3, 0.9):
        rejected = set()
        for step, index in enumerate(np.argsort(p)):
            if p[index] * (len(p) - step) > alpha:
                break
            rejected.add(int(index))
        assert set(np.flatnonzero(adjusted <= alpha).tolist()) == rejected


def test_holm_leaves_what_is_no_test_alone():
    assert holm([np.nan, 0.02, 0.5]).tolist()[1:] == [0.04, 0.5]
    assert np.isnan(holm([np.nan, 0.02])[0])
    assert holm([]).tolist() == []
    assert holm([0.9, 0.8]).max() == 1


def test_benjamini_and_hochberg_equal_scipy():
    p = np.random.default_rng(7).uniform(0, 0.2, 25)
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p))
    assert (benjamini_hochberg(p) <= holm(p)).all()
    with_holes = benjamini_hochberg([np.nan, 0.02, 0.5])
    assert np.isnan(with_holes[0])
    assert with_holes[1:].tolist() == [0.04, 0.5]
    assert benjamini_hochberg([]).tolist() == []
