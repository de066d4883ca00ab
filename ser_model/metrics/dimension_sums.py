"""All that is summed up of a dimension: its moments, and its bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_model.metrics.bins import BinCounts, fine_bins
from ser_model.metrics.moments import CoMoments, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionSums:
    """Moments and bins of the same pairs (truth, prediction), in arrays of one common shape.

    Attributes:
        moments: [...] for CCC, PCC, the errors and the residuals.
        bins: [...] for what is said of the distribution and of parts of the scale.

    Example:
        >>> sums = DimensionSums.from_groups(
        ...     np.array([.1, .9]), np.array([.2, .7]), np.array([0, 0]), 1
        ... )
        >>> sums.num_segments.tolist(), int(sums.bins.quarters.counts.sum())
        ([2.0], 2)
    """

    moments: CoMoments
    bins: BinCounts

    @classmethod
    def zeros(cls, shape: tuple[int, ...] = ()) -> DimensionSums:
        """Return sums of nothing, the neutral element of `merge`."""
        return cls(moments=CoMoments.zeros(shape), bins=BinCounts.zeros(shape))

    @classmethod
    def from_groups(
        cls,
        truth: Floats,
        prediction: Floats,
        group_index: NDArray[np.integer[Any]],
        num_groups: int,
    ) -> DimensionSums:
        """Return the sums (shape [G]) of each group of pairs; see `CoMoments.from_groups`.

        Raises:
            ValueError: the lengths differ.
        """
        moments = CoMoments.from_groups(truth, prediction, group_index, num_groups)
        bins = (fine_bins(truth), fine_bins(prediction))
        return cls(moments=moments, bins=BinCounts.from_groups(*bins, group_index, num_groups))

    @property
    def num_segments(self) -> Floats:
        """[...] how many pairs were counted."""
        return self.moments.n

    def merge(self, other: DimensionSums) -> DimensionSums:
        """Return the sums of both together, element by element (shapes broadcast)."""
        return DimensionSums(
            moments=self.moments.merge(other.moments), bins=self.bins.merge(other.bins)
        )

    def merge_groups(self, group_index: NDArray[np.integer[Any]], num_groups: int) -> DimensionSums:
        """Return [G] the sums of all parts (shape [num_parts]) that belong to a group."""
        return DimensionSums(
            moments=self.moments.merge_groups(group_index, num_groups),
            bins=self.bins.merge_groups(group_index, num_groups),
        )

    def weighted_totals(self, weights_BS: NDArray[Any]) -> DimensionSums:
        """Return [B] the sums of all speakers (shape [S]), each counted by its weight [B, S]."""
        return DimensionSums(
            moments=self.moments.weighted_totals(weights_BS),
            bins=self.bins.weighted_totals(weights_BS),
        )

    def __getitem__(self, index: Any) -> DimensionSums:  # noqa: ANN401  whatever numpy takes
        return DimensionSums(
            moments=self.moments[index], bins=BinCounts(counts=self.bins.counts[index])
        )
