"""How far predictions move when the audio is changed: sums of pairs of predictions of one segment.

The truth takes no part. What a pair is called unchanged by is ser-tests' (Derington et al. 2023,
arXiv 2312.06270, robustness): a dimension that moves by less than .05, or the same emotion. Nothing
is rounded before it is compared.

Shape suffixes: B replicates, S speakers, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_model.metrics.moments import Floats

UNCHANGED_BELOW = 0.05
"""On the scale of 0 to 1; a shift of this size is a change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftSums:
    """Sums over pairs of predictions, in arrays of one common shape.

    Plain sums: shifts lie between -1 and 1 and no square is taken, so nothing cancels.

    Attributes:
        num_segments: pairs; a float, because the bootstrap weighs them.
        num_unchanged: those that are unchanged.
        sum_shift: sum of the prediction minus its reference; 0 for emotions.
        sum_absolute_shift: sum of the absolute values; 0 for emotions.

    Example:
        >>> shifts = np.array([.04, -.2])
        >>> sums = ShiftSums.from_groups(shifts, is_unchanged(shifts), np.array([0, 0]), 1)
        >>> unchanged_share_of(sums).tolist(), mean_shift_of(sums).round(3).tolist()
        ([0.5], [-0.08])
    """

    num_segments: Floats
    num_unchanged: Floats
    sum_shift: Floats
    sum_absolute_shift: Floats

    @classmethod
    def from_groups(
        cls,
        shifts: Floats,
        unchanged: NDArray[np.bool_],
        group_index: NDArray[np.integer[Any]],
        num_groups: int,
    ) -> ShiftSums:
        """Return the sums (shape [G]) of each group of pairs.

        Args:
            shifts: [num_pairs] prediction minus reference; 0 for emotions.
            unchanged: [num_pairs] whether the pair is unchanged.
            group_index: [num_pairs] 0 to num_groups - 1.
            num_groups: G.

        Raises:
            ValueError: the lengths differ.
        """
        if not shifts.shape == unchanged.shape == group_index.shape:
            raise ValueError(
                f"shifts, unchanged and group_index differ in shape: {shifts.shape}, "
                f"{unchanged.shape}, {group_index.shape}"
            )

        def total(values: Floats | None) -> Floats:
            return np.bincount(group_index, values, num_groups).astype(np.float64)

        return cls(
            num_segments=total(None),
            num_unchanged=total(unchanged.astype(np.float64)),
            sum_shift=total(shifts),
            sum_absolute_shift=total(np.abs(shifts)),
        )

    def merge(self, other: ShiftSums) -> ShiftSums:
        """Return the sums of both together, element by element (shapes broadcast)."""
        mine, theirs = self.as_columns(), other.as_columns()
        return ShiftSums(**{name: mine[name] + theirs[name] for name in mine})

    def merge_groups(self, group_index: NDArray[np.integer[Any]], num_groups: int) -> ShiftSums:
        """Return [G] the sums of all parts (shape [num_parts]), in their order, of a group."""
        return ShiftSums(
            **{
                name: np.bincount(group_index, values, num_groups).astype(np.float64)
                for name, values in self.as_columns().items()
            }
        )

    def weighted_totals(self, weights_BS: NDArray[Any]) -> ShiftSums:
        """Return [B] the sums of all speakers (shape [S]), each counted by its weight [B, S]."""
        columns = self.as_columns()
        weights = np.asarray(weights_BS, dtype=np.float64)
        totals_BF = weights @ np.stack(list(columns.values()), axis=1)
        return ShiftSums(**dict(zip(columns, totals_BF.T, strict=True)))

    def __getitem__(self, index: Any) -> ShiftSums:  # noqa: ANN401  whatever numpy takes
        return ShiftSums(**{name: values[index] for name, values in self.as_columns().items()})

    def as_columns(self) -> dict[str, Floats]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def is_unchanged(shifts: Floats) -> NDArray[np.bool_]:
    """Tell which shifts of a dimension count as none.

    Args:
        shifts: [num_pairs] on the scale of 0 to 1.

    Example:
        >>> is_unchanged(np.array([.0499, -.05])).tolist()
        [True, False]
    """
    return np.asarray(np.abs(shifts) < UNCHANGED_BELOW)


def unchanged_share_of(sums: ShiftSums) -> Floats:
    """Return the share of the unchanged, 0 to 1; NaN of no pairs."""
    return _mean(sums.num_unchanged, sums)


def mean_shift_of(sums: ShiftSums) -> Floats:
    """Return the mean shift, above 0 where predictions rise; NaN of no pairs."""
    return _mean(sums.sum_shift, sums)


def mean_absolute_shift_of(sums: ShiftSums) -> Floats:
    """Return the mean of the shifts' absolute values, 0 or more; NaN of no pairs."""
    return _mean(sums.sum_absolute_shift, sums)


def _mean(totals: Floats, sums: ShiftSums) -> Floats:
    means = np.full(totals.shape, np.nan)
    np.divide(totals, sums.num_segments, out=means, where=sums.num_segments > 0)
    return means
