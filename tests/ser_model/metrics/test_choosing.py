"""The correction for choosing the best of many, on candidates whose skill is known."""

import numpy as np
import pytest

from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.choosing import corrected_best

SKILL = 0.6


def accuracies(right_CSN, weights_BS):
    """[C, B] the share of right segments, of the speakers counted by weight."""
    right_CS, number = right_CSN.sum(axis=2), right_CSN.shape[2]
    return (right_CS @ weights_BS.T) / (weights_BS.sum(axis=1) * number)


def apparent_and_corrected(seed, skill_C):
    random = np.random.default_rng(seed)
    right_CSN = random.random((len(skill_C), 24, 10)) < skill_C[:, None, None]
    keys = speaker_keys([f"speaker {number}" for number in range(24)])
    weights_BS = poisson_weights(keys, seed=seed, num_replicates=200).astype(float)
    apparent = right_CSN.mean(axis=(1, 2)).max()
    outside = accuracies(right_CSN, (weights_BS == 0).astype(float))
    return apparent, corrected_best(accuracies(right_CSN, weights_BS), outside)


def test_the_luck_of_the_best_of_equals_is_taken_out():
    pairs = np.array([apparent_and_corrected(seed, np.full(100, SKILL)) for seed in range(20)])
    apparent, corrected = pairs.mean(axis=0) - SKILL
    assert apparent > 0.06
    assert abs(corrected) < 0.02


def test_a_candidate_that_is_better_keeps_its_lead():
    skill_C = np.r_[0.9, np.full(99, SKILL)]
    pairs = np.array([apparent_and_corrected(seed, skill_C) for seed in range(20)])
    assert pairs.mean(axis=0) == pytest.approx([0.9, 0.9], abs=0.02)


def test_written_out_replicate_by_replicate():
    random = np.random.default_rng(0)
    in_bag, out_of_bag = random.random((2, 7, 50))
    in_bag[:, 3] = np.nan
    out_of_bag[:, 5] = np.nan
    in_bag[2, 8] = np.nan
    values = []
    for replicate in range(50):
        column = in_bag[:, replicate]
        if np.isnan(column).all() or np.isnan(out_of_bag[:, replicate]).all():
            continue
        values.append(out_of_bag[int(np.nanargmax(column)), replicate])
    assert corrected_best(in_bag, out_of_bag) == pytest.approx(np.mean(values), abs=1e-12)


def test_nothing_to_choose_on_is_nan():
    nothing = np.full((3, 4), np.nan)
    assert np.isnan(corrected_best(nothing, np.ones((3, 4))))
    assert np.isnan(corrected_best(np.ones((3, 4)), nothing))
