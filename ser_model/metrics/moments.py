"""Co-moments of truth and prediction: what CCC, PCC and the errors need, mergeable in any order.

Sums of squares are kept about the mean, never about zero: the textbook `sum(x*x) - n*mean**2`
loses every digit once the values lie far from zero. Two parts are merged by the pairwise update of
Chan, Golub & LeVeque (1979), "Updating Formulae and a Pairwise Algorithm for Computing Sample
Variances", equation 2.1.

Shape suffixes: B replicates, S speakers, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

CANCELLATION_TOLERANCE = 1e-12
"""A weighted sum of squares below this share of the terms that it was subtracted from is rounding
(1e-16 a term, thousands of terms) and counts as zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoMoments:
    """Counts, means and centred sums of pairs (truth, prediction), in arrays of one common shape.

    Attributes:
        n: number of pairs; a float, because the bootstrap weighs them.
        mean_truth: mean of the truth; 0 where n is 0.
        mean_prediction: mean of the predictions; 0 where n is 0.
        m2_truth: sum of (truth - mean_truth) ** 2.
        m2_prediction: sum of (prediction - mean_prediction) ** 2.
        c_truth_prediction: sum of (truth - mean_truth) * (prediction - mean_prediction).
        sum_absolute_error: sum of abs(prediction - truth).

    Example:
        >>> left = CoMoments.from_values([0, 1], [0, 1])
        >>> right = CoMoments.from_values([2, 4], [1, 3])
        >>> both = left.merge(right)
        >>> float(both.n), float(both.mean_truth), float(both.m2_truth)
        (4.0, 1.75, 8.75)
    """

    n: Floats
    mean_truth: Floats
    mean_prediction: Floats
    m2_truth: Floats
    m2_prediction: Floats
    c_truth_prediction: Floats
    sum_absolute_error: Floats

    @classmethod
    def zeros(cls, shape: tuple[int, ...] = ()) -> CoMoments:
        """Return moments of nothing, the neutral element of `merge`."""
        return cls(**{field.name: np.zeros(shape) for field in fields(cls)})

    @classmethod
    def from_values(cls, truth: ArrayLike, prediction: ArrayLike) -> CoMoments:
        """Return the moments (shape ()) of two sequences of the same length.

        Raises:
            ValueError: the lengths differ.
        """
        truth = np.asarray(truth, dtype=np.float64).ravel()
        prediction = np.asarray(prediction, dtype=np.float64).ravel()
        return cls.from_groups(truth, prediction, np.zeros(truth.size, dtype=np.intp), 1)[0]

    @classmethod
    def from_groups(
        cls,
        truth: NDArray[Any],
        prediction: NDArray[Any],
        group_index: NDArray[np.integer[Any]],
        num_groups: int,
    ) -> CoMoments:
        """Return the moments (shape [G]) of each group of pairs, in two passes over the values.

        Args:
            truth: [num_pairs] any scale.
            prediction: [num_pairs] the same scale.
            group_index: [num_pairs] 0 to num_groups - 1.
            num_groups: G.

        Raises:
            ValueError: the lengths differ.
        """
        if not truth.shape == prediction.shape == group_index.shape:
            raise ValueError(
                f"truth, prediction and group_index differ in shape: {truth.shape}, "
                f"{prediction.shape}, {group_index.shape}"
            )
        truth = truth.astype(np.float64)
        prediction = prediction.astype(np.float64)

        def total(values: Floats | None) -> Floats:
            return np.bincount(group_index, values, num_groups).astype(np.float64)

        n = total(None)
        mean_truth = _mean_of_groups(truth, group_index, n)
        mean_prediction = _mean_of_groups(prediction, group_index, n)
        d_truth = truth - mean_truth[group_index]
        d_prediction = prediction - mean_prediction[group_index]
        return cls(
            n=n,
            mean_truth=mean_truth,
            mean_prediction=mean_prediction,
            m2_truth=total(d_truth * d_truth),
            m2_prediction=total(d_prediction * d_prediction),
            c_truth_prediction=total(d_truth * d_prediction),
            sum_absolute_error=total(np.abs(prediction - truth)),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The common shape of the arrays."""
        return self.n.shape

    def __getitem__(self, index: Any) -> CoMoments:  # noqa: ANN401  whatever numpy takes
        return CoMoments(
            **{field.name: np.asarray(getattr(self, field.name)[index]) for field in fields(self)}
        )

    @staticmethod
    def stack(parts: Sequence[CoMoments], axis: int = 0) -> CoMoments:
        """Return moments of the same shape side by side along a new axis."""
        return CoMoments(
            **{
                field.name: np.stack([getattr(part, field.name) for part in parts], axis=axis)
                for field in fields(CoMoments)
            }
        )

    def merge(self, other: CoMoments) -> CoMoments:
        """Return the moments of both together, element by element (shapes broadcast)."""
        n = self.n + other.n
        share = other.n / np.where(n > 0, n, 1.0)
        d_truth = other.mean_truth - self.mean_truth
        d_prediction = other.mean_prediction - self.mean_prediction
        between = self.n * share
        return CoMoments(
            n=n,
            mean_truth=self.mean_truth + d_truth * share,
            mean_prediction=self.mean_prediction + d_prediction * share,
            m2_truth=self.m2_truth + other.m2_truth + between * d_truth**2,
            m2_prediction=self.m2_prediction + other.m2_prediction + between * d_prediction**2,
            c_truth_prediction=self.c_truth_prediction
            + other.c_truth_prediction
            + between * d_truth * d_prediction,
            sum_absolute_error=self.sum_absolute_error + other.sum_absolute_error,
        )

    def merge_groups(self, group_index: NDArray[np.integer[Any]], num_groups: int) -> CoMoments:
        """Return [G] the moments of all parts (shape [num_parts]) that belong to a group.

        The same as merging them one after another, in one vectorised step:
        m2 = sum of (m2_i + n_i * (mean_i - mean) ** 2).
        """

        def total(values: Floats) -> Floats:
            return np.bincount(group_index, values, num_groups).astype(np.float64)

        n = total(self.n)
        mean_truth = _mean_of_groups(self.mean_truth, group_index, n, self.n)
        mean_prediction = _mean_of_groups(self.mean_prediction, group_index, n, self.n)
        d_truth = self.mean_truth - mean_truth[group_index]
        d_prediction = self.mean_prediction - mean_prediction[group_index]
        return CoMoments(
            n=n,
            mean_truth=mean_truth,
            mean_prediction=mean_prediction,
            m2_truth=total(self.m2_truth + self.n * d_truth**2),
            m2_prediction=total(self.m2_prediction + self.n * d_prediction**2),
            c_truth_prediction=total(self.c_truth_prediction + self.n * d_truth * d_prediction),
            sum_absolute_error=total(self.sum_absolute_error),
        )

    def weighted_totals(self, weights_BS: NDArray[Any]) -> CoMoments:
        """Return [B] the moments of all speakers (shape [S]) together, each counted by its weight.

        One matrix product does a whole bootstrap. The speakers' means enter about the mean of
        all, so that nothing cancels; what rounding leaves of a sum of squares is set to 0.

        Args:
            weights_BS: [B, S] how often speaker s counts in replicate b, 0 or more.
        """
        num_pairs = float(self.n.sum())
        centre_truth = float(self.n @ self.mean_truth) / num_pairs if num_pairs else 0.0
        centre_prediction = float(self.n @ self.mean_prediction) / num_pairs if num_pairs else 0.0
        d_truth = self.mean_truth - centre_truth
        d_prediction = self.mean_prediction - centre_prediction
        terms_S7 = np.stack(
            [
                self.n,
                self.n * d_truth,
                self.n * d_prediction,
                self.m2_truth + self.n * d_truth**2,
                self.m2_prediction + self.n * d_prediction**2,
                self.c_truth_prediction + self.n * d_truth * d_prediction,
                self.sum_absolute_error,
            ],
            axis=1,
        )
        n, sum_t, sum_p, square_t, square_p, product, absolute = (
            np.asarray(weights_BS, dtype=np.float64) @ terms_S7
        ).T
        divisor = np.where(n > 0, n, 1.0)
        return CoMoments(
            n=n,
            mean_truth=np.where(n > 0, centre_truth + sum_t / divisor, 0.0),
            mean_prediction=np.where(n > 0, centre_prediction + sum_p / divisor, 0.0),
            m2_truth=_subtract_square(square_t, sum_t**2 / divisor),
            m2_prediction=_subtract_square(square_p, sum_p**2 / divisor),
            c_truth_prediction=product - sum_t * sum_p / divisor,
            sum_absolute_error=absolute,
        )

    def as_columns(self) -> dict[str, Floats]:
        """Return the arrays by name, as columns of a table."""
        return dict(zip((field.name for field in fields(self)), astuple(self), strict=True))


def _mean_of_groups(
    values: Floats,
    group_index: NDArray[np.integer[Any]],
    n: Floats,
    weights: Floats | float = 1.0,
) -> Floats:
    """Mean by group; the second pass removes what the first lost to a common offset."""
    divisor = np.where(n > 0, n, 1.0)
    mean = np.bincount(group_index, weights * values, n.size) / divisor
    rest = np.bincount(group_index, weights * (values - mean[group_index]), n.size) / divisor
    return np.asarray(mean + rest, dtype=np.float64)


def _subtract_square(squares: Floats, square_of_sum: Floats) -> Floats:
    rest = squares - square_of_sum
    return np.where(rest <= CANCELLATION_TOLERANCE * squares, 0.0, rest)
