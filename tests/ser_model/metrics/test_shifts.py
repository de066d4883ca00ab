"""Sums of shifts: any split adds up to the whole, and weights count pairs again."""

import numpy as np
import pytest

from ser_model.metrics.shifts import (
    ShiftSums,
    is_unchanged,
    mean_absolute_shift_of,
    mean_shift_of,
    unchanged_share_of,
)


@pytest.fixture
def pairs():
    random = np.random.default_rng(5)
    return random.normal(0.02, 0.06, 200), random.integers(0, 7, 200)


def sums_of(shifts, groups, num_groups=7):
    return ShiftSums.from_groups(shifts, is_unchanged(shifts), groups, num_groups)


def test_any_split_merges_to_the_whole(pairs):
    shifts, groups = pairs
    whole = sums_of(shifts, groups)
    parts = [sums_of(shifts[at::3], groups[at::3]) for at in range(3)]
    merged = parts[0].merge(parts[1]).merge(parts[2])
    for name, values in whole.as_columns().items():
        assert merged.as_columns()[name] == pytest.approx(values, abs=1e-12)
    together = whole.merge_groups(np.array([0, 0, 0, 1, 1, 1, 1]), 2)
    assert together.sum_shift == pytest.approx(
        [shifts[groups < 3].sum(), shifts[groups >= 3].sum()]
    )


def test_weights_count_speakers_again(pairs):
    shifts, groups = pairs
    weights = np.random.default_rng(6).poisson(1, (5, 7))
    totals = sums_of(shifts, groups).weighted_totals(weights)
    for number, weight in enumerate(weights):
        drawn = np.repeat(shifts, weight[groups])
        assert unchanged_share_of(totals)[number] == pytest.approx(np.mean(np.abs(drawn) < 0.05))
        assert mean_shift_of(totals)[number] == pytest.approx(drawn.mean())
        assert mean_absolute_shift_of(totals)[number] == pytest.approx(np.abs(drawn).mean())


def test_nothing_is_rounded_and_the_edge_is_a_change():
    shifts = np.array([0.0499999, -0.0499999, 0.05, -0.05, 0.0])
    assert is_unchanged(shifts).tolist() == [True, True, False, False, True]


def test_no_pairs_have_no_value():
    empty = sums_of(np.array([]), np.array([], dtype=int), 1)
    for value in (unchanged_share_of, mean_shift_of, mean_absolute_shift_of):
        assert np.isnan(value(empty)).all()


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        ShiftSums.from_groups(np.zeros(3), np.zeros(2, bool), np.zeros(3, int), 1)
