"""How often a gate is wrong, in simulated corpora where the true worsening is known.

Segments of a speaker share a part of their error (ICC), and both models share half of theirs, as
models of one family do. CCC of a model whose error is independent of the truth follows from the
variance of the error, so that drops and gaps of a known size can be planted.
"""

import math

import numpy as np
import pytest

from orchestration.gate_audits import Kept
from orchestration.gate_worsening import gap_worsening, statistic_worsening
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.noninferiority import outcome

NUM_REPLICATES = 200
SEGMENTS_EACH = 20
TRUTH_VARIANCE = 1 / 12
SHARED = 0.5
NUM_CORPORA = 400
HIGHEST_RATE = 0.05 + 3 * math.sqrt(0.05 * 0.95 / NUM_CORPORA)
"""Three standard deviations above the level of the tests."""


def kept(truth, said, weights_B1N, num_speakers):
    with np.errstate(invalid="ignore"):
        w = weights_B1N / weights_B1N.sum(axis=1, keepdims=True)
    mean_t, mean_s = w @ truth, w @ said
    spread = w @ truth**2 - mean_t**2 + w @ said**2 - mean_s**2
    both = w @ (truth * said) - mean_t * mean_s
    return Kept(
        values=2 * both / (spread + (mean_t - mean_s) ** 2),
        effective_speakers=float(num_speakers),
        num_compared_speakers=num_speakers,
        num_segments=len(truth),
        num_speakers=num_speakers,
        reason=None,
    )


def simulate(seed, num_speakers, icc, champion_cc, candidate_cc):
    """A slice of new speakers, as the champion's audit and the candidate's keep it."""
    speaker = np.repeat(np.arange(num_speakers), SEGMENTS_EACH)
    random = np.random.default_rng(seed)
    keys = speaker_keys([f"{seed} {n} {num_speakers}" for n in range(num_speakers)])
    drawn = poisson_weights(keys, seed=0, num_replicates=NUM_REPLICATES)
    weights = np.vstack([np.ones(num_speakers), drawn])[:, speaker]
    truth = random.uniform(0, 1, len(speaker))

    def error():
        own = random.normal(0, 1, num_speakers)[speaker]
        return math.sqrt(icc) * own + math.sqrt(1 - icc) * random.normal(0, 1, len(speaker))

    shared = error()
    found = []
    for concordance_cc in (candidate_cc, champion_cc):
        deviation = math.sqrt(2 * TRUTH_VARIANCE * (1 / concordance_cc - 1))
        wrong = math.sqrt(SHARED) * shared + math.sqrt(1 - SHARED) * error()
        found.append(kept(truth, truth + deviation * wrong, weights, num_speakers))
    return found


def share_of(wanted, margin, sides):
    """How often a comparison comes out so, of a statistic or of a gap."""
    outcomes = []
    for slices in sides:
        mine, theirs = zip(*slices, strict=True)
        if len(slices) == 1:
            _, held = statistic_worsening("concordance_cc", mine[0], theirs[0], margin)
        else:
            num_speakers = sum(one.num_speakers for one in mine)
            _, held = gap_worsening(mine, theirs, num_speakers, margin)
        outcomes.append(outcome(held, margin, held.p_value))
    return np.mean([one == wanted for one in outcomes])


@pytest.mark.parametrize("icc", [0.0, 0.3])
@pytest.mark.parametrize("num_speakers", [6, 12, 24, 60])
def test_a_drop_as_large_as_the_margin_rarely_passes_and_rarely_fails(num_speakers, icc):
    sides = [[simulate(seed, num_speakers, icc, 0.7, 0.68)] for seed in range(NUM_CORPORA)]
    assert share_of("pass", 0.02, sides) <= HIGHEST_RATE
    assert share_of("fail", 0.02, sides) <= HIGHEST_RATE


@pytest.mark.parametrize(
    ("champion", "candidate"),
    [
        ((0.7, 0.7), (0.7, 0.65)),
        ((0.7, 0.65), (0.7, 0.6)),
        ((0.7, 0.5), (0.7, 0.45)),
        ((0.7, 0.5), (0.45, 0.7)),
        ((0.7, 0.69), (0.64, 0.7)),
    ],
)
def test_a_gap_that_widens_by_the_margin_rarely_passes_and_rarely_fails(champion, candidate):
    sides = [
        [
            simulate(2 * seed + number, 24, 0.3, champion[number], candidate[number])
            for number in range(2)
        ]
        for seed in range(NUM_CORPORA)
    ]
    assert share_of("pass", 0.05, sides) <= HIGHEST_RATE
    assert share_of("fail", 0.05, sides) <= HIGHEST_RATE


def test_equally_good_models_pass_more_often_the_more_speakers_there_are():
    shares = []
    for num_speakers in (24, 96):
        sides = [[simulate(seed, num_speakers, 0.3, 0.7, 0.7)] for seed in range(100)]
        shares.append(share_of("pass", 0.02, sides))
    assert shares[0] < shares[1]


def test_a_gap_that_closes_passes():
    sides = [
        [simulate(seed, 24, 0.3, 0.7, 0.7), simulate(1000 + seed, 24, 0.3, 0.5, 0.7)]
        for seed in range(100)
    ]
    assert share_of("pass", 0.05, sides) >= 0.95
