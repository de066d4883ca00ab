"""Permuted dimensions are told from bad models, over many corpora."""

import numpy as np
import pytest

from ser_model.metrics.dimension_order import better_order
from ser_model.metrics.moments import CoMoments

ORDERS = [(2, 1, 0), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1)]
ALIKE = [[1.0, 0.85, 0.3], [0.85, 1.0, 0.4], [0.3, 0.4, 1.0]]
APART = [[1.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 1.0]]
NUM_SEEDS = 40


def make_corpus(seed, kind, num_segments, num_speakers):
    """Speakers with means of their own, in truth and in the model's error."""
    random = np.random.default_rng(seed)
    speaker = random.integers(0, num_speakers, num_segments)
    truth = random.multivariate_normal([0, 0, 0], ALIKE if seed % 2 else APART, num_segments)
    truth += random.normal(0, 0.6, (num_speakers, 3))[speaker]
    error = random.normal(0, 1, (num_segments, 3))
    error_of_speaker = random.normal(0, 0.5, (num_speakers, 3))[speaker]
    said = {
        "good": truth + 0.6 * error + error_of_speaker,
        "weak": truth + 2.0 * error + error_of_speaker,
        "random": error + error_of_speaker,
        "one for all": truth[:, [0]] + 0.5 * error,
        "constant": np.full_like(truth, 0.5),
    }
    said["valence upside down"] = said["good"].copy()
    said["valence upside down"][:, 2] = 0.6 * truth[:, 0] - 0.5 * truth[:, 2] + error[:, 2]
    return speaker, truth, said[kind]


def order_of(speaker, truth, said, seed=0):
    num_speakers = speaker.max() + 1
    moments = [
        [CoMoments.from_groups(t, p, speaker, num_speakers) for p in said.T] for t in truth.T
    ]
    stacked = CoMoments.stack([CoMoments.stack(row, axis=1) for row in moments], axis=1)
    weights = np.random.default_rng(seed).poisson(1, (200, num_speakers))
    return better_order(stacked, np.vstack([np.ones((1, num_speakers), int), weights]))


@pytest.mark.parametrize(
    "kind", ["good", "weak", "random", "one for all", "constant", "valence upside down"]
)
@pytest.mark.parametrize("size", [(60, 6), (300, 4), (300, 10), (600, 24)])
def test_no_model_is_blamed_for_being_bad(kind, size):
    assert [order_of(*make_corpus(seed, kind, *size), seed) for seed in range(NUM_SEEDS)] == [
        None
    ] * NUM_SEEDS


@pytest.mark.parametrize(
    ("kind", "size", "least"), [("good", (300, 10), 0.9), ("weak", (600, 24), 0.9)]
)
def test_permuted_dimensions_are_found_and_named(kind, size, least):
    right = 0
    for seed in range(NUM_SEEDS):
        speaker, truth, said = make_corpus(seed, kind, *size)
        order = ORDERS[seed % len(ORDERS)]
        found = order_of(speaker, truth, said[:, order], seed)
        right += found == tuple(np.argsort(order).tolist())
    assert right >= least * NUM_SEEDS


def test_dimensions_that_are_rated_alike_cannot_be_told_apart():
    """Arousal and dominance swapped, where both are nearly the same thing."""
    random = np.random.default_rng(0)
    speaker = random.integers(0, 30, 900)
    both = random.normal(0, 1, (900, 1)) + random.normal(0, 0.15, (900, 2))
    truth = np.hstack([both, random.normal(0, 1, (900, 1))])
    said = truth[:, [1, 0, 2]] + random.normal(0, 0.6, (900, 3))
    assert order_of(speaker, truth, said) is None


def test_a_copy_of_the_truth_in_another_order_is_found():
    speaker, truth, _ = make_corpus(0, "good", 90, 6)
    assert order_of(speaker, truth, truth[:, [2, 0, 1]]) == (1, 2, 0)


def test_one_speaker_is_no_evidence():
    speaker, truth, said = make_corpus(0, "good", 400, 1)
    assert order_of(speaker, truth, said[:, [2, 1, 0]]) is None
