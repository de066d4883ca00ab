"""The speaker-level bootstrap: who counts how often in which replicate.

Segments of one speaker resemble each other, so speakers are drawn, not segments. Instead of drawing
S of S speakers, each speaker gets an independent Poisson(1) weight (Chamandy et al., "Estimating
Uncertainty for Massive Data Streams", Google 2012): the weight depends on nothing but seed,
replicate and speaker. So every worker finds the same weights without talking to another, and
slices, models and conditions share them: differences are paired.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ser_model.metrics.moments import Floats

UInt64s = NDArray[np.uint64]

MIN_SHARE_OF_REPLICATES = 0.8
"""An interval needs a value in at least this share of the replicates. A replicate that draws no
speaker of a slice has none: of S speakers a share of e ** -S, .14 for two and .05 for three."""

_GOLDEN_GAMMA = 0x9E3779B97F4A7C15
_POISSON_CDF = np.cumsum([math.exp(-1.0) / math.factorial(k) for k in range(19)])


def speaker_keys(speaker_ids: Sequence[str]) -> UInt64s:
    """Return [S] a 64-bit hash (BLAKE2b) of each speaker's name, the same on every machine."""
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in speaker_ids)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def poisson_weights(keys: UInt64s, *, seed: int, num_replicates: int) -> NDArray[np.uint8]:
    """Return [num_replicates, S] Poisson(1) weights, a function of seed, replicate and speaker.

    Args:
        keys: [S] as from `speaker_keys`.
        seed: any integer.
        num_replicates: B.

    Example:
        >>> both = poisson_weights(speaker_keys(["ann", "bob"]), seed=0, num_replicates=3)
        >>> alone = poisson_weights(speaker_keys(["bob"]), seed=0, num_replicates=3)
        >>> both.shape, bool((both[:, 1:] == alone).all())
        ((3, 2), True)
    """
    bits = random_bits(keys, purpose=f"seed {seed}", num_replicates=num_replicates)
    first_bits = bits >> np.uint64(48)
    weights: NDArray[np.uint8] = _WEIGHT_OF_FIRST_BITS[first_bits]
    undecided = np.flatnonzero(_IS_UNDECIDED[first_bits])
    weights.ravel()[undecided] = _weights_of(bits.ravel()[undecided])
    return weights


def _weights_of(bits: UInt64s) -> NDArray[np.uint8]:
    """Invert the distribution function at 53 of the bits, taken for a number from 0 to 1."""
    uniform = (bits >> np.uint64(11)) * 2.0**-53
    return np.searchsorted(_POISSON_CDF, uniform, side="right").astype(np.uint8)


# Sixteen bits decide nearly every weight, and a table is three times as fast as the search.
_FIRST_BITS = np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)
_WEIGHT_OF_FIRST_BITS = _weights_of(_FIRST_BITS)
_IS_UNDECIDED = _weights_of(_FIRST_BITS | np.uint64((1 << 48) - 1)) != _WEIGHT_OF_FIRST_BITS


def random_bits(keys: UInt64s, *, purpose: str, num_replicates: int) -> UInt64s:
    """Return [num_replicates, S] random bits, a function of purpose, replicate and speaker.

    Args:
        keys: [S] as from `speaker_keys`.
        purpose: what they are for, the seed with it.
        num_replicates: how many.
    """
    counter = np.arange(1, num_replicates + 1, dtype=np.uint64) * np.uint64(_GOLDEN_GAMMA)
    replicate_keys = mix_bits(speaker_keys([purpose]) + counter)
    return mix_bits(replicate_keys[:, None] ^ keys[None, :])


def has_enough_replicates(replicates: Floats) -> NDArray[np.bool_]:
    """Tell, along the first axis, where enough replicates have a value for an interval."""
    return np.asarray(np.isfinite(replicates).mean(axis=0) >= MIN_SHARE_OF_REPLICATES)


def mix_bits(bits: UInt64s) -> UInt64s:
    """Finaliser of SplitMix64 (Steele, Lea & Flood 2014), modulo 2 ** 64."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
