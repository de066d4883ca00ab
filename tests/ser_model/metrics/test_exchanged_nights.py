"""What chance does to histograms: permutations by hand, and how often an alarm is a false one."""

from collections.abc import Iterator

import numpy as np
import pytest

from ser_model.metrics import exchanged_nights
from ser_model.metrics.drift import population_stability_index_of
from ser_model.metrics.exchanged_nights import (
    NUM_GROUPS,
    NUM_PERMUTATIONS,
    exchanged,
    limit_by_chance,
    speaker_groups,
)

NUM_BINS = 10
ICC = 0.3
SPREAD = 0.15
"""Standard deviation of the predictions of all speakers."""

THRESHOLD = 0.2


def make_night(random, num_speakers, *, mean=0.5):
    """Predictions of speakers that no other night has, about 20 segments of each."""
    num_segments = np.maximum(random.poisson(20, num_speakers), 1)
    speaker = np.repeat(np.arange(num_speakers), num_segments)
    between = random.normal(0, np.sqrt(ICC), num_speakers)[speaker]
    within = random.normal(0, np.sqrt(1 - ICC), speaker.size)
    bins = np.clip((mean + SPREAD * (between + within)) * NUM_BINS, 0, NUM_BINS - 1)
    groups = speaker_groups(random.integers(0, 2**63, num_speakers, dtype=np.uint64))[speaker]
    cells = groups.astype(int) * NUM_BINS + bins.astype(int)
    return np.bincount(cells, minlength=NUM_GROUPS * NUM_BINS).reshape(NUM_GROUPS, NUM_BINS)


def index_and_limit(before, tonight, level):
    together = np.concatenate(before).sum(axis=0)
    value = float(population_stability_index_of(together * 1.0, tonight.sum(axis=0) * 1.0))
    return value, limit_by_chance(
        value, population_stability_index_of(*exchanged(before, tonight)), level
    )


def found(num_corpora, num_speakers, num_nights, *, shift=0.0, before=None) -> Iterator:
    """Yield the index and its limit at a level of 5 % for each of many corpora."""
    random = np.random.default_rng(2026)
    for _ in range(num_corpora):
        others = [make_night(random, before or num_speakers) for _ in range(num_nights)]
        yield index_and_limit(others, make_night(random, num_speakers, mean=0.5 + shift), 0.05)


def false_alarms(num_corpora, *sizes, **others):
    return np.mean([value > limit for value, limit in found(num_corpora, *sizes, **others)])


@pytest.mark.parametrize(("num_speakers", "num_nights"), [(12, 1), (12, 4)])
def test_without_drift_chance_is_exceeded_as_often_as_said(num_speakers, num_nights):
    """In 5 to 7 % at a level of 5 %; three standard errors in 200 corpora are allowed."""
    assert false_alarms(200, num_speakers, num_nights) < 0.07 + 3 * 0.018


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_speakers", "num_nights", "before"),
    [(4, 7, 4), (12, 7, 12), (24, 7, 24), (60, 7, 60), (60, 1, 60), (60, 7, 12), (12, 7, 60)],
)
def test_nor_in_more_corpora(num_speakers, num_nights, before):
    """Where the nights before are of other sizes than tonight, up to 8 %: they are scaled."""
    allowed = 0.07 if before == num_speakers else 0.08
    assert false_alarms(500, num_speakers, num_nights, before=before) < allowed + 3 * 0.012


def test_without_the_limit_a_small_corpus_would_raise_alarms_for_nothing():
    values = [value for value, _ in found(100, 12, 1)]
    assert np.mean(np.array(values) > THRESHOLD) > 0.15


@pytest.mark.parametrize("num_nights", [1, 7])
def test_a_shift_of_a_tenth_is_found_with_60_speakers(num_nights):
    shown = [v > THRESHOLD and v > limit for v, limit in found(50, 60, num_nights, shift=0.1)]
    assert np.mean(shown) > 0.95


def test_a_group_changes_places_whole():
    """Where all groups are of one size, it is counts that are exchanged."""
    random = np.random.default_rng(0)
    tonight, *before = random.multinomial(30, np.full(4, 0.25), size=(3, NUM_GROUPS))
    drawn = exchanged_nights._drawn_nights(3)
    before_BK, tonight_BK = exchanged(before, tonight)
    for number in (0, 1, NUM_PERMUTATIONS - 1):
        nights = [tonight.copy(), before[0].copy(), before[1].copy()]
        for group in range(NUM_GROUPS):
            other = drawn[number, group]
            nights[0][group], nights[other][group] = (
                nights[other][group].copy(),
                nights[0][group].copy(),
            )
        assert tonight_BK[number] == pytest.approx(nights[0].sum(axis=0), rel=1e-5)
        assert before_BK[number] == pytest.approx((nights[1] + nights[2]).sum(axis=0), rel=1e-5)


def test_each_night_is_drawn_alike_and_always_the_same():
    drawn = exchanged_nights._drawn_nights(5)
    assert drawn.shape == (NUM_PERMUTATIONS, NUM_GROUPS)
    assert np.bincount(drawn.ravel()) / drawn.size == pytest.approx(np.full(5, 0.2), abs=0.001)
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.05
    exchanged_nights._drawn_nights.cache_clear()
    assert (exchanged_nights._drawn_nights(5) == drawn).all()


def test_the_same_predictions_every_night_are_no_drift():
    night = make_night(np.random.default_rng(1), 30)
    for side, times in zip(exchanged([night, night], night), (2, 1), strict=True):
        assert side == pytest.approx(np.tile(times * night.sum(axis=0), (NUM_PERMUTATIONS, 1)))
    value, limit = index_and_limit([night, night], night, 0.05)
    assert value <= limit < 1e-6


def test_the_same_speakers_every_night_hide_nothing():
    """What speakers differ by is in all nights, so that a small shift of each is shown."""
    random = np.random.default_rng(2)
    shares = random.dirichlet(np.full(NUM_BINS, 0.1), NUM_GROUPS)
    *before, unmoved = random.multinomial(20, shares, size=(4, NUM_GROUPS))
    moved = random.multinomial(20, 0.95 * shares + 0.05 * np.eye(NUM_BINS)[0])
    for tonight, is_shown in ((moved, True), (unmoved, False), (np.roll(moved, 1, axis=0), False)):
        value, limit = index_and_limit(before, tonight, 0.01)
        assert (value > limit) == is_shown


def test_few_groups_show_nothing():
    """Five groups and one night before: 16 permutations, so that nothing is rarer than 1 in 16."""
    before, tonight = np.zeros((2, NUM_GROUPS, 2), dtype=int)
    before[:5, 0] = tonight[:5, 1] = 100
    value, limit = index_and_limit([before], tonight, 0.05)
    assert value > 5
    assert value < limit


@pytest.mark.parametrize(("level", "limit"), [(0.01, 98.0), (0.05, 94.0), (0.5, 49.0)])
def test_at_most_this_share_lies_above_the_limit(level, limit):
    values = np.random.default_rng(0).permutation(np.arange(99.0))
    assert limit_by_chance(99.0, values, level) == pytest.approx(limit, rel=1e-5)
