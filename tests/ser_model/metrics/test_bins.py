"""Distributions and parts of the scale against scipy and scikit-learn; no value is lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from ser_model.metrics.bins import (
    NUM_BINS,
    NUM_COUNTS,
    NUM_FINE_BINS,
    QUARTERS,
    BinCounts,
    fine_bins,
    jensen_shannon_distance,
    jensen_shannon_distance_of,
    precision_per_bin,
    recall_per_bin,
)
from ser_model.metrics.dimension_sums import DimensionSums

METRICS = [jensen_shannon_distance, recall_per_bin, precision_per_bin]


def make_pairs(seed, num_pairs=400):
    random = np.random.default_rng(seed)
    truth = random.beta(2, 3, num_pairs)
    return truth, 0.5 * truth + random.normal(0.25, 0.25, num_pairs)


def quarter(values):
    """The quarter of each value, by counting the edges that it reaches."""
    return (np.asarray(values)[:, None] >= [0.25, 0.5, 0.75]).sum(axis=1)


@pytest.mark.parametrize("seed", range(5))
def test_the_distance_equals_scipy(seed):
    truth, prediction = make_pairs(seed)
    assert prediction.min() < 0
    assert prediction.max() > 1
    shares = [
        np.histogram(np.clip(side, 0, 1), bins=np.arange(11) / 10)[0]
        for side in (truth, prediction)
    ]
    assert jensen_shannon_distance(truth, prediction) == pytest.approx(
        jensenshannon(*shares, base=2), abs=1e-12
    )


@pytest.mark.parametrize("seed", range(5))
def test_recall_and_precision_per_bin_equal_scikit_learn(seed):
    truth, prediction = make_pairs(seed)
    sides = (quarter(truth), quarter(prediction))
    options = {"labels": range(4), "average": None, "zero_division": np.nan}
    assert list(recall_per_bin(truth, prediction).values()) == pytest.approx(
        recall_score(*sides, **options), abs=1e-12, nan_ok=True
    )
    assert list(precision_per_bin(truth, prediction).values()) == pytest.approx(
        precision_score(*sides, **options), abs=1e-12, nan_ok=True
    )


def test_values_on_an_edge_belong_to_the_bin_above_it():
    edges = np.arange(NUM_FINE_BINS) / NUM_FINE_BINS
    np.testing.assert_array_equal(fine_bins(edges), np.arange(NUM_FINE_BINS))
    tenths = np.arange(NUM_BINS) / NUM_BINS
    counts = BinCounts.from_values(tenths, tenths)
    np.testing.assert_array_equal(counts.truth, np.ones(NUM_BINS))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), num_pairs=st.integers(1, 40), num_parts=st.integers(1, 6))
def test_no_value_is_lost_and_any_split_merges_to_the_whole(data, num_pairs, num_parts):
    values = st.floats(-2, 3) | st.sampled_from([0.25, 0.5, 0.75, 1.0, 0.3, 1e300, -1e300])
    truth = data.draw(arrays(np.float64, num_pairs, elements=values))
    prediction = data.draw(arrays(np.float64, num_pairs, elements=values))
    part = data.draw(arrays(np.int64, num_pairs, elements=st.integers(0, num_parts - 1)))

    whole = BinCounts.from_values(truth, prediction)
    for counted in (whole.quarters.counts, whole.truth, whole.prediction):
        assert counted.sum() == num_pairs
    np.testing.assert_array_equal(
        whole.quarters.counts,
        confusion_matrix(quarter(truth), quarter(prediction), labels=range(4)),
    )
    bins = (fine_bins(truth), fine_bins(prediction))
    parts = BinCounts.from_groups(*bins, part, num_parts)
    at_once = parts.merge_groups(np.zeros(num_parts, dtype=np.int64), 1)
    weighted = parts.weighted_totals(np.ones((1, num_parts)))
    one_by_one = BinCounts.zeros()
    for index in data.draw(st.permutations(range(num_parts))):
        one_by_one = one_by_one.merge(BinCounts(counts=parts.counts[index]))
    for merged in (at_once.counts[0], weighted.counts[0], one_by_one.counts):
        np.testing.assert_array_equal(merged, whole.counts)


def test_weights_repeat_the_speakers():
    truth, prediction = make_pairs(1)
    random = np.random.default_rng(2)
    speaker = random.integers(0, 9, truth.size)
    weights = random.integers(0, 4, (5, 9))
    totals = DimensionSums.from_groups(truth, prediction, speaker, 9).weighted_totals(weights)
    for replicate, row in enumerate(weights):
        repeated = [np.repeat(side, row[speaker]) for side in (truth, prediction)]
        np.testing.assert_array_equal(
            totals[replicate].bins.counts, BinCounts.from_values(*repeated).counts
        )
        assert totals.num_segments[replicate] == row[speaker].sum()


@pytest.mark.parametrize("count", [5, 300, 2**24 + 1, 2**40 + 1])
def test_counts_stay_whole_however_large_and_travel_in_few_bytes(count):
    counts = np.zeros((2, NUM_COUNTS))
    counts[:, 0] = [count, 1]
    totals = BinCounts(counts=counts).weighted_totals(np.array([[1, 0], [3, 2], [0, 0]]))
    expected = [count, 3 * count + 2, 0]
    assert [int(value) for value in totals.counts[:, 0]] == expected
    packed = totals.packed()
    assert packed.counts[:, 0].tolist() == expected
    assert packed.counts.itemsize <= 2 * max(1, (3 * count + 2).bit_length() / 8)
    merged = packed.merge(packed)
    assert merged.counts[:, 0].tolist() == [2 * value for value in expected]


CASES = {
    # name: (truth, prediction, distance)
    "empty": ([], [], np.nan),
    "same distribution": ([0.1, 0.6], [0.6, 0.1], 0),
    "no bin in common": ([0.1, 0.2], [0.5, 0.6], 1),
    "above the scale is in the last bin": ([0.95, 0.1], [7.0, 0.1], 0),
    "below the scale is in the first bin": ([0.05], [-3.0], 0),
}


@pytest.mark.parametrize("name", CASES)
def test_odd_cases(name):
    truth, prediction, expected = CASES[name]
    assert jensen_shannon_distance(truth, prediction) == pytest.approx(expected, nan_ok=True)


def test_the_distance_of_many_at_once_is_that_of_each():
    pairs = [make_pairs(seed) for seed in range(3)]
    each = [BinCounts.from_values(*pair) for pair in pairs]
    together = BinCounts(counts=np.stack([one.counts for one in each]))
    assert together.counts.shape == (3, NUM_COUNTS)
    assert jensen_shannon_distance_of(together).tolist() == pytest.approx(
        [jensen_shannon_distance(*pair) for pair in pairs]
    )


@pytest.mark.parametrize("metric", METRICS)
def test_lengths_must_agree(metric):
    with pytest.raises(ValueError, match="truth has 2 values, prediction 1"):
        metric([0, 1], [0])


def test_an_empty_quarter_has_no_recall():
    assert np.isnan(recall_per_bin([0.1], [0.1])[QUARTERS[2]])
