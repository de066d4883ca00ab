"""What can be read from the neighbours of an embedding: who speaks, of which sex, with what truth.

A picture of embeddings in two dimensions shows clusters where there are none and hides some that
are there. So the neighbours are counted where the embeddings live: the share of the nearest
neighbours that have the same value, against the share that would have it by chance. It is the
leave-one-out estimate of the k-nearest-neighbour rule (Cover & Hart 1967, IEEE Trans. Inf. Theory
13), without the vote.

Neighbours that share a speaker share the speaker's sex, corpus and language too; so that these are
not read from the voice of a single person, neighbours may be asked to be other speakers.

Shape suffixes: N segments, D the length of an embedding, K neighbours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ser_model.metrics.moments import Floats

NUM_NEIGHBOURS = 10

_DECIMALS = 9
"""Distances that are the same to so many decimals of their mean are equal, and the earlier segment
comes first: how a matrix product rounds must not choose a neighbour."""


def squared_distances(embeddings_ND: Floats) -> Floats:
    """Return [N, N] squared Euclidean distances, in units of their mean, rounded.

    Args:
        embeddings_ND: [N, D] finite.

    Example:
        >>> squared_distances(np.array([[0.0], [1.0], [3.0]])).round(2).tolist()
        [[0.0, 0.32, 2.89], [0.32, 0.0, 1.29], [2.89, 1.29, 0.0]]
    """
    centred_ND = np.asarray(embeddings_ND, dtype=np.float64)
    centred_ND = centred_ND - centred_ND.mean(axis=0)
    squares_N = np.einsum("nd,nd->n", centred_ND, centred_ND)
    distances_NN = squares_N[:, None] + squares_N[None, :] - 2.0 * centred_ND @ centred_ND.T
    np.fill_diagonal(distances_NN, 0.0)
    mean = float(distances_NN.mean())
    scaled = np.maximum(distances_NN, 0.0) / mean if mean > 0 else np.zeros_like(distances_NN)
    return np.asarray(np.round(scaled, _DECIMALS))


def nearest_neighbours(
    distances_NN: Floats,
    apart_N: NDArray[np.integer],
    is_present_N: NDArray[np.bool_],
    num_neighbours: int = NUM_NEIGHBOURS,
) -> NDArray[np.intp]:
    """Return [N, K] the nearest neighbours of each segment, nearest first.

    Args:
        distances_NN: [N, N] as from `squared_distances`.
        apart_N: [N] numbers; segments of the same number are no neighbours of each other. A segment
            is none of itself.
        is_present_N: [N] who has neighbours and may be one.
        num_neighbours: K.

    Returns:
        -1 for segments that are not present, or that have fewer than K to choose from.

    Example:
        >>> distances = squared_distances(np.array([[0.0], [1.0], [3.0], [3.5]]))
        >>> nearest_neighbours(distances, np.array([0, 0, 1, 1]), np.ones(4, bool), 2).tolist()
        [[2, 3], [2, 3], [1, 0], [1, 0]]
    """
    may_be_NN = _may_be_neighbours(apart_N, is_present_N)
    order_NN = np.argsort(np.where(may_be_NN, distances_NN, np.inf), axis=1, kind="stable")
    has_enough_N = is_present_N & (may_be_NN.sum(axis=1) >= num_neighbours)
    neighbours_NK = order_NN[:, :num_neighbours]
    if neighbours_NK.shape[1] < num_neighbours:
        return np.full((len(order_NN), num_neighbours), -1)
    return np.where(has_enough_N[:, None], neighbours_NK, -1)


def same_value_shares(
    neighbours_NK: NDArray[np.intp], values_N: NDArray[np.integer], apart_N: NDArray[np.integer]
) -> tuple[Floats, Floats]:
    """Return how many neighbours of each segment share its value, and how many would by chance.

    Args:
        neighbours_NK: [N, K] as from `nearest_neighbours`, with -1 for segments without.
        values_N: [N] the value of each segment as a number; below 0 where it has none.
        apart_N: [N] as for `nearest_neighbours`.

    Returns:
        [N] the share of the K neighbours with the same value, and [N] the share of all segments
        that may be neighbours; NaN for segments without neighbours.

    Example:
        >>> values = np.array([0, 1, 0, 1])
        >>> shares, chances = same_value_shares(
        ...     np.array([[2], [3], [0], [1]]), values, np.array([0, 0, 1, 1])
        ... )
        >>> shares.tolist(), chances.tolist()
        ([1.0, 1.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5])
    """
    is_same_NN = values_N[:, None] == values_N[None, :]
    may_be_NN = _may_be_neighbours(apart_N, values_N >= 0)
    has_N = neighbours_NK[:, 0] >= 0
    shares_N = np.take_along_axis(is_same_NN, np.maximum(neighbours_NK, 0), axis=1).mean(axis=1)
    num_may_be_N = np.maximum(may_be_NN.sum(axis=1), 1)
    chances_N = (is_same_NN & may_be_NN).sum(axis=1) / num_may_be_N
    return np.where(has_N, shares_N, np.nan), np.where(has_N, chances_N, np.nan)


def _may_be_neighbours(
    apart_N: NDArray[np.integer], is_present_N: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    may_be_NN: NDArray[np.bool_] = apart_N[:, None] != apart_N[None, :]
    may_be_NN &= is_present_N[None, :]
    np.fill_diagonal(may_be_NN, val=False)
    return may_be_NN
