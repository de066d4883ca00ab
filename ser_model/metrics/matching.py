"""Two groups of segments, made alike in their truth by weights: what differs then is the model.

Groups differ in what they say: if one is angrier, its predictions differ from the other's for a
good reason. So the truth is cut into strata, and in both groups a stratum counts by one weight,

    w = n1 n2 / (n1 + n2)

with the numbers of segments n1 and n2 that the groups have there (Mantel & Haenszel, "Statistical
Aspects of the Analysis of Data from Retrospective Studies", J. Natl. Cancer Inst. 22, 1959; for
means Greenland & Robins, Biometrics 41, 1985). A stratum that a group lacks counts in neither. The
weights follow from counts alone: no segments are drawn, and parts merge in any order.

Shape suffixes: T strata of the truth, P bins of the prediction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from ser_model.metrics.moments import CoMoments, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class StratifiedSums:
    """Sums of the segments in each stratum of the truth.

    Attributes:
        strata: [T] names, sorted.
        bins: [P] names of parts of the prediction's scale, or of emotions.
        moments: [..., T] of all segments of a stratum.
        counts: [..., T, P] how many of them are predicted in which bin.
    """

    strata: tuple[str, ...]
    bins: tuple[str, ...]
    moments: CoMoments
    counts: Floats

    @property
    def num_segments(self) -> Floats:
        """[...] how many segments were counted."""
        return np.asarray(self.counts.sum(axis=(-2, -1)))

    @property
    def by_stratum(self) -> Floats:
        """[..., T] how many segments each stratum has."""
        return np.asarray(self.counts.sum(axis=-1))

    def merge(self, other: StratifiedSums) -> StratifiedSums:
        """Return the sums of both together; strata and bins are the same."""
        assert (self.strata, self.bins) == (other.strata, other.bins)
        return StratifiedSums(
            strata=self.strata,
            bins=self.bins,
            moments=self.moments.merge(other.moments),
            counts=self.counts + other.counts,
        )

    def scaled(self, factors: Floats | float) -> StratifiedSums:
        """Return the sums with each segment of a stratum counted so often.

        Args:
            factors: [..., T] 0 or more.
        """
        factors = np.broadcast_to(np.asarray(factors, dtype=np.float64), self.moments.shape)
        moments = self.moments
        return StratifiedSums(
            strata=self.strata,
            bins=self.bins,
            moments=CoMoments(
                n=moments.n * factors,
                mean_truth=moments.mean_truth,
                mean_prediction=moments.mean_prediction,
                m2_truth=moments.m2_truth * factors,
                m2_prediction=moments.m2_prediction * factors,
                c_truth_prediction=moments.c_truth_prediction * factors,
                sum_absolute_error=moments.sum_absolute_error * factors,
            ),
            counts=self.counts * factors[..., None],
        )

    def only(self, strata: tuple[str, ...]) -> StratifiedSums:
        """Return some of the strata."""
        at = [self.strata.index(name) for name in strata]
        return StratifiedSums(
            strata=strata,
            bins=self.bins,
            moments=self.moments[..., at],
            counts=self.counts[..., at, :],
        )

    def estimate(self) -> StratifiedSums:
        """Return [1] the first element alone, without the replicates."""
        return StratifiedSums(
            strata=self.strata, bins=self.bins, moments=self.moments[:1], counts=self.counts[:1]
        )

    def together(self) -> CoMoments:
        """Return [...] the moments of all strata as one."""
        parts = [self.moments[..., index] for index in range(len(self.strata))]
        return reduce(CoMoments.merge, parts, CoMoments.zeros(self.moments.shape[:-1]))


def match(first: StratifiedSums, second: StratifiedSums) -> tuple[StratifiedSums, StratifiedSums]:
    """Return both groups with the same weight in each stratum.

    Args:
        first: [..., T]
        second: [..., T] over the same strata and bins.

    Example:
        >>> def group(of_low, of_high):
        ...     pairs = ([0.0] * of_low + [1.0] * of_high,) * 2
        ...     moments = CoMoments.from_groups(
        ...         *map(np.array, pairs), np.array(pairs[0], dtype=int), 2
        ...     )
        ...     return StratifiedSums(
        ...         strata=("low", "high"), bins=("any",), moments=moments,
        ...         counts=moments.n[:, None],
        ...     )
        >>> one, other = match(group(3, 1), group(1, 1))
        >>> one.by_stratum.tolist(), other.by_stratum.tolist()
        ([0.75, 0.5], [0.75, 0.5])
        >>> float(one.together().mean_truth), float(other.together().mean_truth)
        (0.4, 0.4)
    """
    n_first, n_second = first.by_stratum, second.by_stratum
    weight = n_first * n_second / np.maximum(n_first + n_second, 1e-300)
    return (
        first.scaled(weight / np.where(n_first > 0, n_first, 1.0)),
        second.scaled(weight / np.where(n_second > 0, n_second, 1.0)),
    )
