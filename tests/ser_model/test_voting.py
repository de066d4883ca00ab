"""The vote: its properties, and against a plain second formulation and scikit-learn."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import VotingClassifier

from ser_model.voting import combine, hard_vote, mean_vote

PARTS = 64
"""Probabilities are multiples of 1/64, so that sums of them are exact and ties do occur."""


@st.composite
def elections(draw):
    """Probabilities [M][K] of one segment as numbers of 1/64."""
    num_members = draw(st.integers(2, 7))
    num_categories = draw(st.integers(2, 8))
    members = []
    for _ in range(num_members):
        cuts = draw(
            st.lists(
                st.sampled_from(range(0, PARTS + 1, 8)) | st.integers(0, PARTS),
                min_size=num_categories - 1,
                max_size=num_categories - 1,
            )
        )
        edges = [0, *sorted(cuts), PARTS]
        members.append([high - low for low, high in pairwise(edges)])
    return members


def as_array(members):
    return np.array(members, dtype=np.float64)[:, None, :] / PARTS


def winner_of(members, choices=None):
    """The rules atop voting.py, one segment at a time, in exact arithmetic."""
    choices = choices or [member.index(max(member)) for member in members]
    votes = Counter(choices)
    most = max(votes.values())
    tied = [category for category, number in votes.items() if number == most]
    mean = {c: Fraction(sum(member[c] for member in members), len(members)) for c in tied}
    return min(category for category in tied if mean[category] == max(mean.values()))


@given(elections())
def test_the_winner_is_that_of_the_rules_written_out(members):
    assert hard_vote(as_array(members))[0].argmax() == winner_of(members)


@given(elections(), st.data())
def test_votes_may_be_given_apart_from_probabilities(members, data):
    categories = st.integers(0, len(members[0]) - 1)
    choices = [data.draw(categories) for _ in members]
    scores_NK = hard_vote(as_array(members), np.array(choices)[:, None])
    assert scores_NK[0].argmax() == winner_of(members, choices)


@given(elections())
def test_the_winner_is_among_the_most_voted_and_a_unanimous_vote_wins(members):
    votes = Counter(member.index(max(member)) for member in members)
    winner = int(hard_vote(as_array(members))[0].argmax())
    assert votes[winner] == max(votes.values())
    if len(votes) == 1:
        assert winner in votes


@given(elections())
def test_scores_are_probabilities(members):
    scores_K = hard_vote(as_array(members))[0]
    assert scores_K.sum() == pytest.approx(1.0)
    assert scores_K.min() >= 0.0


@pytest.mark.parametrize("vote", ["hard", "soft", "mean"])
@given(seed=st.integers(0, 10_000), num_members=st.integers(2, 7))
def test_the_order_of_the_members_does_not_matter_to_the_last_bit(vote, seed, num_members):
    random = np.random.default_rng(seed)
    values_MNK = random.dirichlet(np.ones(8), (num_members, 5)).astype(np.float32)
    shuffled = combine(vote, values_MNK[random.permutation(num_members)])
    assert (shuffled == combine(vote, values_MNK)).all()


class Known:
    """A classifier of scikit-learn's kind that has been asked already."""

    def __init__(self, probabilities_NK):
        self.probabilities_NK = probabilities_NK

    def predict(self, rows):
        return self.probabilities_NK[rows[:, 0]].argmax(axis=1)

    def predict_proba(self, rows):
        return self.probabilities_NK[rows[:, 0]]


@pytest.mark.parametrize(("vote", "theirs"), [("hard", "hard"), ("soft", "soft")])
def test_against_scikit_learn(vote, theirs):
    random = np.random.default_rng(0)
    values_MNK = random.dirichlet(np.full(6, 0.4), (5, 500))
    classifier = VotingClassifier([("unused", None)], voting=theirs)
    classifier.estimators_ = [Known(member) for member in values_MNK]
    classifier.le_ = type("Labels", (), {"inverse_transform": staticmethod(lambda y: y)})
    classifier.classes_ = np.arange(6)
    expected = classifier.predict(np.arange(500)[:, None])
    found = combine(vote, values_MNK).argmax(axis=1)
    counts = (values_MNK.argmax(axis=2)[..., None] == np.arange(6)).sum(axis=0)
    is_tied = (counts == counts.max(axis=1, keepdims=True)).sum(axis=1) > 1
    assert is_tied.any()  # scikit-learn takes the first of these
    compared = np.ones(500, bool) if vote == "soft" else ~is_tied
    assert (found[compared] == expected[compared]).all()
    if vote == "hard":
        assert (found[is_tied] != expected[is_tied]).any()


def test_two_two_one_is_decided_by_probability_and_then_by_the_alphabet():
    anger, joy, sadness = [0.4, 0.3, 0.3], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]
    members = np.array([anger, anger, joy, joy, sadness])[:, None, :]
    assert hard_vote(members)[0].argmax() == 1
    certain = np.eye(3)[[2, 2, 0, 0, 1]][:, None, :]
    assert hard_vote(certain)[0].argmax() == 0


def test_no_probability_outweighs_a_vote():
    sure_of_anger = np.tile([1.0, 0.0], (3, 1, 1))
    assert hard_vote(sure_of_anger, np.array([[1], [1], [0]]))[0].argmax() == 1


def test_the_mean_of_dimensions():
    random = np.random.default_rng(0)
    values_MNK = random.random((3, 10, 3))
    np.testing.assert_allclose(mean_vote(values_MNK), values_MNK.mean(axis=0), rtol=1e-15)
    assert (combine("mean", values_MNK) == mean_vote(values_MNK)).all()


def test_a_member_without_a_score_leaves_the_ensemble_without_one():
    values_MNK = np.full((3, 2, 4), 0.25)
    values_MNK[1, 0, 2] = np.nan
    for vote in ("hard", "soft", "mean"):
        is_known = np.isfinite(combine(vote, values_MNK)).all(axis=1)
        assert is_known.tolist() == [False, True]


def test_one_member_and_an_unknown_vote_are_refused():
    with pytest.raises(ValueError, match="1 members are no ensemble"):
        combine("hard", np.zeros((1, 1, 2)))
    with pytest.raises(ValueError, match="vote 'best' is none of hard, soft, mean"):
        combine("best", np.zeros((2, 1, 2)))
