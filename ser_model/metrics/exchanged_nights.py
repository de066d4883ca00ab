"""How far a night's histogram lies from those of other nights by chance: who happened to speak.

Segments of one speaker resemble each other, so it is speakers that are dealt, into groups by a hash
of their names ("random groups", Wolter, "Introduction to Variance Estimation", 2007, chapter 2).
Memory does not depend on how many speakers there are, and who speaks in several nights is in the
same group of all of them. With m the shares of all nights together, group g of a night of n
segments, of which it has n_g, moves the night's shares by

    z_g = (counts_g - m n_g) / n

and all groups together move them from m to what is seen. If nothing but chance tells the nights
apart, it could as well have been any night's z_g that came tonight. So for each group a night is
drawn that takes tonight's place, and the distance is computed anew: a permutation test within
groups (Fisher 1935; Pitman 1937), exact for nights of one size, be their speakers the same ones or
others. Of fewer speakers a night's z_g are larger: what changes places is scaled by the roots of
the nights' effective numbers of speakers, (sum n_g)² / sum n_g² (Kish 1965).

Shape suffixes: N nights, G groups, K bins, B permutations.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_model.metrics.bootstrap import UInt64s, random_bits
from ser_model.metrics.moments import Floats

NUM_GROUPS = 256
"""Groups of speakers. The spread between so many is known to 1 / sqrt(2 * 256), 4 %."""

NUM_PERMUTATIONS = 10_000
"""So that a level of .001 rests on ten of them."""

_ROUNDING = 1e-6
"""Permutations are summed up in single precision."""

Counts = NDArray[Any]


def speaker_groups(keys: UInt64s) -> NDArray[np.uint8]:
    """Return [S] the group of each speaker, 0 to NUM_GROUPS - 1.

    Args:
        keys: [S] as from `ser_model.metrics.bootstrap.speaker_keys`.
    """
    return (keys % np.uint64(NUM_GROUPS)).astype(np.uint8)


def exchanged(before: Sequence[Counts], tonight_GK: Counts) -> tuple[Floats, Floats]:
    """Return the histograms of before and of tonight as they might be by chance.

    Args:
        before: [NUM_GROUPS, K] of each earlier night, one night at least; none may be empty.
        tonight_GK: [NUM_GROUPS, K] likewise.

    Returns:
        [NUM_PERMUTATIONS, K] of all nights before together, and of tonight; of as many segments as
        there are, in fractions of them.

    Example:
        >>> random = np.random.default_rng(0)
        >>> *before, tonight = random.multinomial(20, [.5, .3, .2], size=(3, NUM_GROUPS))
        >>> by_chance = exchanged(before, tonight)
        >>> [side.shape for side in by_chance], [int(side[0].sum().round()) for side in by_chance]
        ([(10000, 3), (10000, 3)], [10240, 5120])
    """
    nights = [np.asarray(night, dtype=np.float64) for night in (tonight_GK, *before)]
    num_segments = [float(night.sum()) for night in nights]
    all_K = np.sum([night.sum(axis=0) for night in nights], axis=0)
    middle_K = all_K / all_K.sum()
    moves = [_moves(night, middle_K) for night in nights]
    weights = np.array(num_segments[1:]) / sum(num_segments[1:])
    before_K = np.sum([w * m.sum(axis=0) for w, m in zip(weights, moves[1:], strict=True)], axis=0)
    before_BK = np.tile(middle_K + before_K, (NUM_PERMUTATIONS, 1))
    tonight_BK = np.tile(middle_K + moves[0].sum(axis=0), (NUM_PERMUTATIONS, 1))
    drawn_BG = _drawn_nights(len(nights))
    for number, (weight, move_GK) in enumerate(zip(weights, moves[1:], strict=True), start=1):
        scale = math.sqrt(_num_effective(nights[number]) / _num_effective(nights[0]))
        to_before, to_tonight = moves[0] / scale - move_GK, move_GK * scale - moves[0]
        is_drawn_BG = (drawn_BG == number).astype(np.float32)
        before_BK += weight * (is_drawn_BG @ to_before.astype(np.float32))
        tonight_BK += is_drawn_BG @ to_tonight.astype(np.float32)
    return _histograms(before_BK, sum(num_segments[1:])), _histograms(tonight_BK, num_segments[0])


def limit_by_chance(value: float, values_B: Floats, level: float) -> float:
    """Return what is exceeded by chance with a probability of `level` at most.

    Args:
        value: as it was found. It is one of the permutations: so no value exceeds its limit where
            there are too few nights or groups to show anything.
        values_B: [B] of the others.
        level: more than 0, less than 1.

    Example:
        >>> round(limit_by_chance(5.0, np.arange(99.0), .05), 3)
        93.0
    """
    ordered = np.sort(np.append(values_B, value))
    limit = float(ordered[-1 - math.floor(level * ordered.size)])
    return limit + _ROUNDING * max(abs(limit), _ROUNDING)


def _moves(counts_GK: Floats, shares_K: Floats) -> Floats:
    """Return [G, K] by how much each group moves the night's shares."""
    in_group_G1 = counts_GK.sum(axis=1, keepdims=True)
    return np.asarray((counts_GK - shares_K * in_group_G1) / in_group_G1.sum())


def _num_effective(counts_GK: Floats) -> float:
    in_group_G = counts_GK.sum(axis=1)
    return float(in_group_G.sum() ** 2 / (in_group_G**2).sum())


def _histograms(shares_BK: Floats, num_segments: float) -> Floats:
    # A bin in which hardly anybody is can lose more than it has.
    shares_BK = np.maximum(shares_BK, 0.0)
    return np.asarray(shares_BK / shares_BK.sum(axis=1, keepdims=True) * num_segments)


@functools.lru_cache(maxsize=4)
def _drawn_nights(num_nights: int) -> NDArray[np.uint16]:
    """Return [B, G] who takes tonight's place, 0 for tonight itself; always the same draws."""
    groups = np.arange(NUM_GROUPS, dtype=np.uint64)
    bits = random_bits(groups, purpose="exchanged nights", num_replicates=NUM_PERMUTATIONS)
    return ((bits >> np.uint64(32)) % np.uint64(num_nights)).astype(np.uint16)
