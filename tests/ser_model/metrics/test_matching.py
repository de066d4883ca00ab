"""Matched groups against copies of segments, and against means that are weighed by hand."""

import numpy as np
import pytest

from ser_model.metrics.concordance import concordance_cc, concordance_cc_of
from ser_model.metrics.matching import StratifiedSums, match
from ser_model.metrics.moments import CoMoments

STRATA = ("a", "b", "c")


def sums(truth, prediction, stratum):
    moments = CoMoments.from_groups(truth, prediction, stratum, len(STRATA))
    counts = np.zeros((len(STRATA), 2))
    np.add.at(counts, (stratum, (prediction > 0.5).astype(int)), 1.0)
    return StratifiedSums(strata=STRATA, bins=("low", "high"), moments=moments, counts=counts)


def group(random, size, shares):
    stratum = random.choice(3, size, p=shares)
    truth = stratum / 3 + random.uniform(0, 1 / 3, size)
    return truth, np.clip(truth + random.normal(0.1, 0.2, size), 0, 1), stratum


def test_means_are_those_of_weighed_strata():
    random = np.random.default_rng(0)
    first, second = group(random, 80, [0.6, 0.3, 0.1]), group(random, 300, [0.1, 0.2, 0.7])
    one, other = match(sums(*first), sums(*second))
    weights, means = np.zeros(3), np.zeros((2, 3))
    for k in range(3):
        inside = [side[1][side[2] == k] for side in (first, second)]
        weights[k] = 1 / (1 / len(inside[0]) + 1 / len(inside[1]))
        means[:, k] = [np.mean(values) for values in inside]
    for side, mean in zip((one, other), means, strict=True):
        assert float(side.together().mean_prediction) == pytest.approx(
            np.average(mean, weights=weights)
        )
        assert side.by_stratum == pytest.approx(weights)


def test_matching_is_the_same_as_repeating_segments():
    """Strata of 2 against 6 and of 4 against 4: weights 1.5 and 2, so copies in 3:1:2:2."""
    random = np.random.default_rng(1)
    first = (random.uniform(0, 1, 6), random.uniform(0, 1, 6), np.array([0, 0, 1, 1, 1, 1]))
    second = (random.uniform(0, 1, 10), random.uniform(0, 1, 10), np.repeat([0, 1], [6, 4]))
    one, other = match(sums(*first), sums(*second))
    for side, matched, copies in ((first, one, (3, 2)), (second, other, (1, 2))):
        at = np.repeat(np.arange(len(side[0])), np.array(copies)[side[2]])
        expected = concordance_cc(side[0][at], side[1][at])
        assert float(concordance_cc_of(matched.together())) == pytest.approx(expected, abs=1e-12)


def test_a_stratum_that_a_group_lacks_counts_in_neither():
    random = np.random.default_rng(2)
    first, second = group(random, 50, [0.5, 0.5, 0]), group(random, 60, [0, 0.5, 0.5])
    one, other = match(sums(*first), sums(*second))
    assert one.by_stratum[[0, 2]].tolist() == other.by_stratum[[0, 2]].tolist() == [0, 0]
    n = [np.sum(side[2] == 1) for side in (first, second)]
    assert one.by_stratum[1] == pytest.approx(n[0] * n[1] / sum(n))
    assert other.by_stratum[1] == pytest.approx(n[0] * n[1] / sum(n))
    nothing, _ = match(sums(*group(random, 9, [1, 0, 0])), sums(*group(random, 9, [0, 0, 1])))
    assert float(nothing.num_segments) == 0


def test_groups_of_one_truth_distribution_stay_as_they_are():
    random = np.random.default_rng(3)
    stratum = np.arange(90) % 3
    sides = [(random.uniform(0, 1, 90), random.uniform(0, 1, 90), stratum) for _ in range(2)]
    one, _ = match(sums(*sides[0]), sums(*sides[1]))
    expected = concordance_cc(sides[0][0], sides[0][1])
    assert float(concordance_cc_of(one.together())) == pytest.approx(expected, abs=1e-12)
