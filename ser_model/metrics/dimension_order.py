"""Tells predictions whose dimensions stand in another order than their names say.

Each truth is correlated with each prediction. Where the columns are permuted, every permuted truth
fits another column better than its own. A model that is merely bad at a dimension does not look so:
it has no other column that fits, or the one that does fits its own truth as well.

Shape suffixes: B1 the estimate and then the replicates, S speakers or groups of them, D dimensions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ser_model.metrics.concordance import pearson_cc_of
from ser_model.metrics.intervals import effective_speakers, has_spread, paired_estimate
from ser_model.metrics.moments import CoMoments, Floats

MIN_IMPROVEMENT = 0.05
"""By how much PCC has to be better, on average of what moves. Arousal and dominance are often rated
so alike that either fits the other's truth: then nothing can be told."""

CONFIDENCE = 0.99
"""Of the interval that has to lie beyond MIN_IMPROVEMENT. A false alarm ends an audit."""


def better_order(
    moments_SDD: CoMoments, weights_B1S: NDArray[np.integer]
) -> tuple[int, ...] | None:
    """Return which prediction belongs to each truth, where that is not its own.

    An order counts as better where, for what it moves, the mean rise of PCC is beyond
    MIN_IMPROVEMENT with its whole interval over speakers, no PCC falls, and each is beyond 0 with
    its interval. Of several the one with the largest PCC is returned.

    Args:
        moments_SDD: [S, D, D] moments of truth (second axis) and prediction (third axis).
        weights_B1S: how often each speaker counts; first once, then by the bootstrap.

    Returns:
        The number of the prediction for each truth; None where the order is right, or not certain
        to be wrong.

    Example:
        >>> random = np.random.default_rng(0)
        >>> truth = random.uniform(size=(3, 90))
        >>> said = truth[[1, 0, 2]]
        >>> groups = np.arange(90) % 30
        >>> parts = [[CoMoments.from_groups(t, p, groups, 30) for p in said] for t in truth]
        >>> rows = [CoMoments.stack(row, axis=1) for row in parts]
        >>> weights = np.vstack([np.ones((1, 30), int), random.poisson(1, (200, 30))])
        >>> better_order(CoMoments.stack(rows, axis=1), weights)
        (1, 0, 2)
    """
    num_dimensions = moments_SDD.shape[1]
    fits = [
        [_correlations(moments_SDD[:, truth, said], weights_B1S) for said in range(num_dimensions)]
        for truth in range(num_dimensions)
    ]
    n_S = moments_SDD.n[:, 0, 0]
    size = effective_speakers(weights_B1S @ n_S, int((n_S > 0).sum()))
    better = [
        order
        for order in itertools.permutations(range(num_dimensions))
        if _is_better(fits, order, size)
    ]
    return max(better, key=lambda order: _total(fits, order), default=None)


def _is_better(fits: Sequence[Sequence[Floats]], order: tuple[int, ...], size: float) -> bool:
    moved = [(fits[truth][said], fits[truth][truth]) for truth, said in enumerate(order)]
    moved = [
        pair for pair, (truth, said) in zip(moved, enumerate(order), strict=True) if truth != said
    ]
    if not moved or any(there[0] <= own[0] for there, own in moved):
        return False
    if any(_lower_end(there, size) <= 0 for there, _ in moved):
        return False
    rise_B1 = np.mean([there - own for there, own in moved], axis=0)
    return _lower_end(rise_B1, size) > MIN_IMPROVEMENT


def _lower_end(values_B1: Floats, size: float) -> float:
    if not has_spread(values_B1):
        return float(values_B1[0])
    estimate = paired_estimate(values_B1, size)
    return -math.inf if estimate is None else estimate.interval(CONFIDENCE)[0]


def _total(fits: Sequence[Sequence[Floats]], order: tuple[int, ...]) -> float:
    return sum(float(fits[truth][said][0]) for truth, said in enumerate(order))


def _correlations(moments_S: CoMoments, weights_B1S: NDArray[np.integer]) -> Floats:
    """PCC of the weighted totals; a column without variance fits nothing."""
    return np.nan_to_num(pearson_cc_of(moments_S.weighted_totals(weights_B1S)))
