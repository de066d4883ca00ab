"""Neighbours of embeddings, against scikit-learn's search among those who may be one."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from ser_model.metrics.neighbours import (
    nearest_neighbours,
    same_value_shares,
    squared_distances,
)

NUM = 120


@pytest.fixture
def random():
    return np.random.default_rng(5)


def theirs(embeddings, apart, is_present, num_neighbours):
    """For each segment the neighbours that scikit-learn finds among those who may be one."""
    found = []
    for segment in range(len(embeddings)):
        may_be = np.flatnonzero(
            is_present & (apart != apart[segment]) & (np.arange(len(apart)) != segment)
        )
        if not is_present[segment] or len(may_be) < num_neighbours:
            found.append([-1] * num_neighbours)
            continue
        search = NearestNeighbors(n_neighbors=num_neighbours).fit(embeddings[may_be])
        found.append(may_be[search.kneighbors(embeddings[[segment]])[1][0]].tolist())
    return found


def test_distances_are_those_of_pairs(random):
    embeddings = random.normal(100.0, 1.0, (NUM, 7))
    expected = ((embeddings[:, None] - embeddings[None]) ** 2).sum(axis=2)
    assert squared_distances(embeddings) == pytest.approx(expected / expected.mean(), abs=1e-9)


def test_the_same_embeddings_are_no_distance_apart():
    assert (squared_distances(np.full((4, 3), 7.5)) == 0).all()


@pytest.mark.parametrize("num_neighbours", [1, 10])
def test_neighbours_are_those_of_scikit_learn(random, num_neighbours):
    embeddings = random.normal(size=(NUM, 16))
    apart = random.integers(0, 8, NUM)
    is_present = random.random(NUM) < 0.8
    found = nearest_neighbours(squared_distances(embeddings), apart, is_present, num_neighbours)
    assert found.tolist() == theirs(embeddings, apart, is_present, num_neighbours)


def test_who_has_too_few_to_choose_from_has_none(random):
    embeddings = random.normal(size=(12, 3))
    apart = np.array([0] * 9 + [1] * 3)
    found = nearest_neighbours(squared_distances(embeddings), apart, np.ones(12, bool), 4)
    assert (found[:9] == -1).all()
    assert (found[9:] >= 0).all()
    assert nearest_neighbours(squared_distances(embeddings), apart, np.ones(12, bool), 20).max() < 0


def test_of_equal_distances_the_earlier_segment_comes_first():
    embeddings = np.array([[0.0], [1.0], [-1.0], [1.0], [0.0]])
    found = nearest_neighbours(squared_distances(embeddings), np.arange(5), np.ones(5, bool), 3)
    assert found[0].tolist() == [4, 1, 2]


def test_shares_and_chances_are_those_of_counting(random):
    embeddings = random.normal(size=(NUM, 4))
    apart = random.integers(0, 9, NUM)
    values = random.integers(-1, 3, NUM)
    neighbours = nearest_neighbours(squared_distances(embeddings), apart, values >= 0)
    shares, chances = same_value_shares(neighbours, values, apart)
    for segment in range(NUM):
        if values[segment] < 0:
            assert np.isnan(shares[segment])
            continue
        may_be = [n for n in range(NUM) if values[n] >= 0 and apart[n] != apart[segment]]
        same = [n for n in may_be if values[n] == values[segment]]
        assert chances[segment] == pytest.approx(len(same) / len(may_be))
        near = theirs(embeddings, apart, values >= 0, 10)[segment] if segment < 10 else None
        if near is not None:
            assert shares[segment] == pytest.approx(np.mean([n in same for n in near]))


def test_what_the_embedding_holds_is_read_and_what_it_does_not_is_chance(random):
    values = np.repeat([0, 1], 200)
    apart = np.tile(np.arange(20), 20)
    apart = apart + 20 * values  # speakers have one value each
    clustered = random.normal(size=(400, 8)) + 6.0 * values[:, None]
    noise = random.normal(size=(400, 8))
    means = {}
    for name, embeddings in (("clustered", clustered), ("noise", noise)):
        neighbours = nearest_neighbours(squared_distances(embeddings), apart, np.ones(400, bool))
        shares, chances = same_value_shares(neighbours, values, apart)
        means[name] = shares.mean(), chances.mean()
    assert means["clustered"][0] > 0.99
    assert means["noise"][0] == pytest.approx(means["noise"][1], abs=0.03)


def test_a_speaker_of_a_cluster_is_not_read_as_the_sex(random):
    """Each speaker is a cluster apart; only asked among other speakers, the sex is not there."""
    speakers = np.repeat(np.arange(40), 15)
    sexes = speakers % 2
    embeddings = random.normal(0, 10.0, (40, 6))[speakers] + random.normal(0, 0.1, (600, 6))
    distances, everybody = squared_distances(embeddings), np.ones(600, bool)
    alone = np.arange(600)
    naive = same_value_shares(nearest_neighbours(distances, alone, everybody), sexes, alone)
    strict = same_value_shares(nearest_neighbours(distances, speakers, everybody), sexes, speakers)
    assert naive[0].mean() > 0.99
    assert strict[0].mean() == pytest.approx(strict[1].mean(), abs=0.15)
