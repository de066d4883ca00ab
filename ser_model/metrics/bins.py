"""Predictions of a dimension in bins: how its distribution and each part of the scale come out.

The scale 0 to 1 is cut into ten bins for distributions and into quarters for recall and precision.
A value on an edge belongs to the bin above it. No value is lost: those below 0 are in the first
bin, those at or above 1 in the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ser_model.metrics.drift import jensen_shannon_divergence_of
from ser_model.metrics.moments import Floats
from ser_model.metrics.recall import Confusion, precision_per_class_of, recall_per_class_of

NUM_FINE_BINS = 20
"""Bins of the density plots; ten bins and quarters are whole numbers of them."""

NUM_BINS = 10
"""Bins of a distribution."""

QUARTERS = (".00-.25", ".25-.50", ".50-.75", ".75-1.00")
"""Names of the quarters of the scale, as in "recall[.00-.25]"."""

_EXACT_IN_FLOAT32 = 2.0**24

NUM_COUNTS = len(QUARTERS) ** 2 + 2 * NUM_BINS


@dataclass(frozen=True, slots=True, kw_only=True)
class BinCounts:
    """How many pairs (truth, prediction) fall into which bins.

    Attributes:
        counts: [..., NUM_COUNTS] the 4 x 4 quarters of truth and prediction, row by row with truth
            first; then the ten bins of the truth; then those of the prediction.

    Example:
        >>> part = BinCounts.from_values([.1, .3], [.2, 1.2])
        >>> part.merge(BinCounts.from_values([.9], [.8])).quarters.counts.astype(int).tolist()
        [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 1]]
    """

    counts: NDArray[Any]

    @classmethod
    def zeros(cls, shape: tuple[int, ...] = ()) -> BinCounts:
        """Return counts of nothing, the neutral element of `merge`."""
        return cls(counts=np.zeros((*shape, NUM_COUNTS)))

    @classmethod
    def from_values(cls, truth: ArrayLike, prediction: ArrayLike) -> BinCounts:
        """Count two sequences of the same length.

        Raises:
            ValueError: the lengths differ.
        """
        truth = np.asarray(truth, dtype=np.float64).ravel()
        prediction = np.asarray(prediction, dtype=np.float64).ravel()
        if truth.shape != prediction.shape:
            raise ValueError(f"truth has {truth.size} values, prediction {prediction.size}")
        group_index = np.zeros(truth.size, dtype=np.intp)
        counts = cls.from_groups(fine_bins(truth), fine_bins(prediction), group_index, 1).counts
        return cls(counts=counts[0])

    @classmethod
    def from_groups(
        cls,
        truth_bins: NDArray[np.int32],
        prediction_bins: NDArray[np.int32],
        group_index: NDArray[np.integer[Any]],
        num_groups: int,
    ) -> BinCounts:
        """Count the pairs of each group.

        Args:
            truth_bins: [num_pairs] as from `fine_bins`.
            prediction_bins: [num_pairs] likewise.
            group_index: [num_pairs] 0 to num_groups - 1.
            num_groups: G.

        Returns:
            Counts of shape [G].
        """

        def count(bins: NDArray[Any], num_bins: int) -> NDArray[np.int64]:
            cells = group_index * num_bins + bins
            return np.bincount(cells, minlength=num_groups * num_bins).reshape(-1, num_bins)

        num_quarters = len(QUARTERS)
        in_quarter = NUM_FINE_BINS // num_quarters
        in_bin = NUM_FINE_BINS // NUM_BINS
        quarters = truth_bins // in_quarter * num_quarters + prediction_bins // in_quarter
        parts = [
            count(quarters, num_quarters**2),
            count(truth_bins // in_bin, NUM_BINS),
            count(prediction_bins // in_bin, NUM_BINS),
        ]
        return cls(counts=np.concatenate(parts, axis=1))

    def merge(self, other: BinCounts) -> BinCounts:
        """Return the counts of both together (shapes broadcast)."""
        # As floats, which hold whole numbers exactly far beyond those of a small integer.
        return BinCounts(counts=np.add(self.counts, other.counts, dtype=np.float64))

    def merge_groups(self, group_index: NDArray[np.integer[Any]], num_groups: int) -> BinCounts:
        """Return [G] the counts of all parts (shape [num_parts]) that belong to a group."""
        cells = group_index[:, None] * NUM_COUNTS + np.arange(NUM_COUNTS)
        totals = np.bincount(cells.ravel(), self.counts.ravel(), num_groups * NUM_COUNTS)
        return BinCounts(counts=totals.reshape(num_groups, NUM_COUNTS))

    def weighted_totals(self, weights_BS: NDArray[Any]) -> BinCounts:
        """Return [B] the counts of all speakers (shape [S]), each counted by its weight.

        Args:
            weights_BS: [B, S] how often speaker s counts in replicate b, 0 or more.
        """
        largest = float(self.counts.sum()) * float(weights_BS.max(initial=0))
        # Half the bytes and time, where whole numbers so large are still exact.
        dtype = np.float32 if largest < _EXACT_IN_FLOAT32 else np.float64
        return BinCounts(counts=weights_BS.astype(dtype) @ self.counts.astype(dtype))

    def packed(self) -> BinCounts:
        """Return the same whole numbers in as few bytes as they need, to travel."""
        largest = int(self.counts.max(initial=0))
        return BinCounts(counts=self.counts.astype(np.min_scalar_type(largest)))

    @property
    def quarters(self) -> Confusion:
        """Truth and prediction in quarters of the scale."""
        size = len(QUARTERS)
        counts = np.asarray(self.counts[..., : size**2], dtype=np.float64)
        return Confusion(classes=QUARTERS, counts=counts.reshape(*counts.shape[:-1], size, size))

    @property
    def truth(self) -> Floats:
        """[..., NUM_BINS] the distribution of the truth."""
        return np.asarray(self.counts[..., -2 * NUM_BINS : -NUM_BINS], dtype=np.float64)

    @property
    def prediction(self) -> Floats:
        """[..., NUM_BINS] the distribution of the prediction."""
        return np.asarray(self.counts[..., -NUM_BINS:], dtype=np.float64)


def fine_bins(values: Floats) -> NDArray[np.int32]:
    """Return the fine bin of each value; those outside 0..1 are in the first and the last.

    Example:
        >>> fine_bins(np.array([-1, 0, .049, .05, .999, 1, 7])).tolist()
        [0, 0, 0, 1, 19, 19, 19]
    """
    return np.clip(values * NUM_FINE_BINS, 0, NUM_FINE_BINS - 1).astype(np.int32)


def jensen_shannon_distance(truth: ArrayLike, prediction: ArrayLike) -> float:
    r"""Return the Jensen-Shannon distance between the distributions of truth and prediction.

    .. math:: \sqrt{\frac{1}{2} \sum_k t_k \log_2 \frac{t_k}{m_k} + p_k \log_2 \frac{p_k}{m_k}}
        \qquad m_k = \frac{t_k + p_k}{2}

    with the shares t and p of ten bins. Lin, "Divergence Measures Based on the Shannon Entropy",
    IEEE Trans. Inf. Theory 37 (1991); its root is a metric (Endres & Schindelin 2003).

    Args:
        truth: [num_segments] 0 to 1.
        prediction: [num_segments] 0 to 1; what lies outside counts in the edge bins.

    Returns:
        0 (same distribution) to 1 (no bin in common); NaN without pairs.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> jensen_shannon_distance([.1, .9], [.9, .1]), jensen_shannon_distance([.1], [.9])
        (0.0, 1.0)
    """
    return float(jensen_shannon_distance_of(BinCounts.from_values(truth, prediction)))


def recall_per_bin(truth: ArrayLike, prediction: ArrayLike) -> dict[str, float]:
    """Return, for each quarter of the scale, the share of its segments predicted in it.

    Returns:
        By quarter; NaN for one without segments.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> recall_per_bin([.1, .2, .9], [.2, .3, .8])
        {'.00-.25': 0.5, '.25-.50': nan, '.50-.75': nan, '.75-1.00': 1.0}
    """
    recall = recall_per_class_of(BinCounts.from_values(truth, prediction).quarters)
    return dict(zip(QUARTERS, recall.tolist(), strict=True))


def precision_per_bin(truth: ArrayLike, prediction: ArrayLike) -> dict[str, float]:
    """Return, for each quarter of the scale, the share of the predictions in it that are right.

    Returns:
        By quarter; NaN for one that was never predicted.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> precision_per_bin([.1, .2, .9], [.2, .3, .8])
        {'.00-.25': 1.0, '.25-.50': 0.0, '.50-.75': nan, '.75-1.00': 1.0}
    """
    precision = precision_per_class_of(BinCounts.from_values(truth, prediction).quarters)
    return dict(zip(QUARTERS, precision.tolist(), strict=True))


def jensen_shannon_distance_of(bins: BinCounts) -> Floats:
    """Return [...] the distance of each element; see `jensen_shannon_distance`."""
    return np.asarray(np.sqrt(jensen_shannon_divergence_of(bins.truth, bins.prediction)))
