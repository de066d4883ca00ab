"""Moments merge to the whole however the pairs are split, also far from zero."""

import audmetric
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ser_model.metrics.concordance import concordance_cc_of, pearson_cc_of
from ser_model.metrics.errors import mean_absolute_error_of, mean_squared_error_of
from ser_model.metrics.moments import CoMoments

NUM_PAIRS = 300


def make_pairs(seed=0, offset=0.0, num_pairs=NUM_PAIRS):
    random = np.random.default_rng(seed)
    truth = random.uniform(0, 1, num_pairs)
    prediction = 0.6 * truth + 0.1 + random.normal(0, 0.1, num_pairs)
    return truth + offset, prediction + offset


def assert_same(left, right, scale=1.0):
    for name, values in left.as_columns().items():
        np.testing.assert_allclose(
            values, right.as_columns()[name], rtol=1e-9, atol=1e-9 * scale, err_msg=name
        )


@settings(max_examples=60, deadline=None)
@given(data=st.data(), num_pairs=st.integers(1, 40), num_parts=st.integers(1, 6))
def test_any_split_merges_to_the_whole(data, num_pairs, num_parts):
    values = st.floats(-10, 10, width=32)
    truth = data.draw(arrays(np.float64, num_pairs, elements=values))
    prediction = data.draw(arrays(np.float64, num_pairs, elements=values))
    part = data.draw(arrays(np.int64, num_pairs, elements=st.integers(0, num_parts - 1)))

    parts = CoMoments.from_groups(truth, prediction, part, num_parts)
    one_by_one = CoMoments.zeros()
    for index in data.draw(st.permutations(range(num_parts))):
        one_by_one = one_by_one.merge(parts[index])
    at_once = parts.merge_groups(np.zeros(num_parts, dtype=np.int64), 1)[0]

    whole = CoMoments.from_values(truth, prediction)
    assert_same(one_by_one, whole, scale=4000)
    assert_same(at_once, whole, scale=4000)


@pytest.mark.parametrize("offset", [0.0, 1e6, -1e6])
@pytest.mark.parametrize("num_parts", [1, 2, 7, NUM_PAIRS])
def test_sharded_statistics_equal_audmetric_far_from_zero(offset, num_parts):
    truth, prediction = make_pairs(offset=offset)
    part = np.random.default_rng(1).integers(0, num_parts, NUM_PAIRS)
    parts = CoMoments.from_groups(truth, prediction, part, num_parts)
    whole = parts.merge_groups(np.zeros(num_parts, dtype=np.int64), 1)[0]

    assert concordance_cc_of(whole) == pytest.approx(
        audmetric.concordance_cc(truth, prediction), abs=1e-9
    )
    assert pearson_cc_of(whole) == pytest.approx(audmetric.pearson_cc(truth, prediction), abs=1e-9)
    assert mean_squared_error_of(whole) == pytest.approx(
        audmetric.mean_squared_error(truth, prediction), abs=1e-9
    )
    assert mean_absolute_error_of(whole) == pytest.approx(
        audmetric.mean_absolute_error(truth, prediction), abs=1e-9
    )


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_weighted_totals_equal_repeating_the_speakers(offset):
    truth, prediction = make_pairs(seed=2, offset=offset)
    random = np.random.default_rng(3)
    speaker = random.integers(0, 12, NUM_PAIRS)
    weights = random.integers(0, 4, (5, 12))

    totals = CoMoments.from_groups(truth, prediction, speaker, 12).weighted_totals(weights)

    for replicate, row in enumerate(weights):
        times = row[speaker]
        repeated = CoMoments.from_values(np.repeat(truth, times), np.repeat(prediction, times))
        assert_same(totals[replicate], repeated, scale=100)


def test_weighted_totals_of_one_constant_speaker_have_no_variance():
    """What cancellation leaves must not pass for variance when one constant speaker is drawn."""
    random = np.random.default_rng(4)
    truth = np.concatenate([np.full(50, 0.1 + 0.2), random.uniform(0, 1, 50)])
    speaker = np.repeat([0, 1], 50)
    speakers = CoMoments.from_groups(truth, random.uniform(0, 1, 100), speaker, 2)

    totals = speakers.weighted_totals(np.array([[3, 0], [1, 1]]))

    assert totals.m2_truth[0] == 0
    assert np.isnan(concordance_cc_of(totals)[0])
    assert np.isfinite(concordance_cc_of(totals)[1])


def test_a_replicate_that_draws_nobody_is_empty():
    speakers = CoMoments.from_groups(*make_pairs(), np.arange(NUM_PAIRS) % 2, 2)
    nobody = speakers.weighted_totals(np.zeros((1, 2)))
    assert_same(nobody, CoMoments.zeros((1,)))


def test_groups_without_pairs_are_neutral():
    parts = CoMoments.from_groups(*make_pairs(offset=1e6), np.zeros(NUM_PAIRS, dtype=int), 3)
    assert parts.n.tolist() == [NUM_PAIRS, 0, 0]
    assert_same(parts[1].merge(parts[0]), parts[0], scale=0)
    assert_same(parts[0].merge(parts[1]), parts[0], scale=0)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="differ in shape"):
        CoMoments.from_values([1, 2], [1])
