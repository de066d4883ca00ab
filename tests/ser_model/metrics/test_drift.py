"""Distances of two histograms against scipy and a second way to write them; edges in a table."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, norm

from ser_model.metrics.drift import (
    jensen_shannon_divergence,
    jensen_shannon_divergence_of,
    population_stability_index,
    population_stability_index_of,
)

DISTANCES = [population_stability_index, jensen_shannon_divergence]
HISTOGRAMS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1).filter(
    lambda pairs: all(sum(side) for side in zip(*pairs, strict=True))
)


def smoothed(before, after):
    """The shares of both sides, bin by bin."""
    sums = sum(before), sum(after)
    num_bins = sum(b + a > 0 for b, a in zip(before, after, strict=True))
    for b, a in zip(before, after, strict=True):
        middle = (b / sums[0] + a / sums[1]) / 2
        yield tuple(
            (count + num_bins / 2 * middle) / (total + num_bins / 2)
            for count, total in zip((b, a), sums, strict=True)
        )


@given(HISTOGRAMS)
def test_the_index_is_both_relative_entropies(pairs):
    before, after = zip(*pairs, strict=True)
    shares = np.array([pair for pair in smoothed(before, after) if sum(pair)])
    assert shares.sum(axis=0) == pytest.approx(1)
    expected = entropy(shares[:, 0], shares[:, 1]) + entropy(shares[:, 1], shares[:, 0])
    assert population_stability_index(before, after) == pytest.approx(expected, abs=1e-12)


@given(HISTOGRAMS)
def test_the_divergence_equals_scipy(pairs):
    before, after = zip(*pairs, strict=True)
    expected = jensenshannon(before, after, base=2) ** 2
    assert jensen_shannon_divergence(before, after) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("distance", DISTANCES)
@given(pairs=HISTOGRAMS, times=st.integers(1, 9))
def test_it_is_symmetric_and_none_for_equal_shares(distance, pairs, times):
    before, after = zip(*pairs, strict=True)
    value = distance(before, after)
    assert 0 <= value < math.inf
    assert distance(after, before) == pytest.approx(value, abs=1e-12)
    assert distance(before, [times * count for count in before]) == pytest.approx(0, abs=1e-12)
    assert distance([*before, 0], [*after, 0]) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("before", "after", "index", "divergence"),
    [
        ([0, 0], [1, 2], math.nan, math.nan),
        ([1, 2], [0, 0], math.nan, math.nan),
        ([7], [1], 0.0, 0.0),
        ([1, 0], [0, 1], math.log(3), 1.0),  # one more each, half of it here: 3 / 4 and 1 / 4
        ([1, 0, 0], [0, 0, 1], math.log(3), 1.0),
    ],
)
def test_edges(before, after, index, divergence):
    assert population_stability_index(before, after) == pytest.approx(index, nan_ok=True)
    assert jensen_shannon_divergence(before, after) == pytest.approx(divergence, nan_ok=True)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(
    ("before", "after"), [([], []), ([1, 2], [1, 2, 3]), ([[1, 2]], [[1, 2]]), ([1, -1], [1, 1])]
)
def test_what_is_no_pair_of_histograms_is_refused(distance, before, after):
    with pytest.raises(ValueError, match=r"shape|below 0"):
        distance(before, after)


def test_many_histograms_at_once():
    before, after = np.random.default_rng(0).integers(0, 9, (2, 4, 5, 6)).astype(float)
    for distance, distance_of in zip(
        DISTANCES, (population_stability_index_of, jensen_shannon_divergence_of), strict=True
    ):
        together = distance_of(before, after)
        assert together.shape == (4, 5)
        assert together[3, 2] == pytest.approx(distance(before[3, 2], after[3, 2]))


def test_both_draw_the_same_line_for_small_shifts():
    """A normal distribution that moves by .1 standard deviations, in bins of .1."""
    edges = np.arange(-6, 6.1, 0.1)
    before, after = (1e9 * np.diff(norm.cdf(edges, loc=shift)) for shift in (0, 0.1))
    index = population_stability_index(before, after)
    assert index == pytest.approx(0.1**2, rel=0.01)
    assert jensen_shannon_divergence(before, after) == pytest.approx(
        index / (8 * math.log(2)), rel=0.01
    )
