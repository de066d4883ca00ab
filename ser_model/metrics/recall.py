"""How often the right emotion is found: recall and precision per class, UAR, WAR.

Shape suffix: K classes; the first K of a confusion is the truth, the second the prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ser_model.metrics.moments import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """How often each class of the truth was predicted as each class.

    Attributes:
        classes: [K] names, sorted, without doubles.
        counts: [..., K, K] of any leading shape; truth first, prediction second. Floats, because
            the bootstrap weighs them.

    Example:
        >>> part = Confusion.from_values(["anger", "joy"], ["anger", "anger"])
        >>> whole = part.merge(Confusion.from_values(["sadness"], ["joy"]))
        >>> whole.classes, int(whole.counts.sum())
        (('anger', 'joy', 'sadness'), 3)
    """

    classes: tuple[str, ...]
    counts: Floats

    @classmethod
    def from_values(cls, truth: Sequence[str], prediction: Sequence[str]) -> Confusion:
        """Count two sequences of the same length.

        Raises:
            ValueError: the lengths differ.
        """
        if len(truth) != len(prediction):
            raise ValueError(f"truth has {len(truth)} values, prediction {len(prediction)}")
        classes = tuple(sorted({*truth, *prediction}))
        position = {name: index for index, name in enumerate(classes)}
        counts = np.zeros((len(classes), len(classes)))
        np.add.at(
            counts,
            ([position[name] for name in truth], [position[name] for name in prediction]),
            1.0,
        )
        return cls(classes=classes, counts=counts)

    def over(self, classes: tuple[str, ...]) -> Confusion:
        """Return the same counts over more classes.

        Raises:
            ValueError: a class of this confusion is not among them.
        """
        if classes == self.classes:
            return self
        at = np.array([classes.index(name) for name in self.classes], dtype=np.intp)
        counts = np.zeros((*self.counts.shape[:-2], len(classes), len(classes)))
        counts[..., at[:, None], at[None, :]] = self.counts
        return Confusion(classes=classes, counts=counts)

    def merge(self, other: Confusion) -> Confusion:
        """Return the counts of both together, over the classes of both."""
        classes = tuple(sorted({*self.classes, *other.classes}))
        return Confusion(
            classes=classes, counts=self.over(classes).counts + other.over(classes).counts
        )


def unweighted_average_recall(truth: Sequence[str], prediction: Sequence[str]) -> float:
    """Return the mean of the recalls of the classes (UAR), each class counting the same.

    Args:
        truth: [num_segments] names of classes.
        prediction: [num_segments] names of classes.

    Returns:
        0 to 1; NaN without pairs. Only classes that occur in the truth count, as in
        scikit-learn's balanced accuracy.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> unweighted_average_recall(["joy", "joy", "anger"], ["joy", "anger", "anger"])
        0.75
    """
    return float(unweighted_average_recall_of(Confusion.from_values(truth, prediction)))


def accuracy(truth: Sequence[str], prediction: Sequence[str]) -> float:
    """Return the share of right predictions (WAR, weighted average recall).

    Args:
        truth: [num_segments] names of classes.
        prediction: [num_segments] names of classes.

    Returns:
        0 to 1; NaN without pairs.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> accuracy(["joy", "joy", "joy", "anger"], ["joy", "anger", "anger", "anger"])
        0.5
    """
    return float(accuracy_of(Confusion.from_values(truth, prediction)))


def recall_per_class(truth: Sequence[str], prediction: Sequence[str]) -> dict[str, float]:
    """Return, for each class, the share of its segments that were predicted as it.

    Returns:
        By class of truth or prediction; NaN for a class that does not occur in the truth.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> recall_per_class(["joy", "joy"], ["joy", "anger"])
        {'anger': nan, 'joy': 0.5}
    """
    confusion = Confusion.from_values(truth, prediction)
    return dict(zip(confusion.classes, recall_per_class_of(confusion).tolist(), strict=True))


def precision_per_class(truth: Sequence[str], prediction: Sequence[str]) -> dict[str, float]:
    """Return, for each class, the share of the segments predicted as it that are it.

    Returns:
        By class of truth or prediction; NaN for a class that was never predicted.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> precision_per_class(["joy", "joy"], ["joy", "anger"])
        {'anger': 0.0, 'joy': 1.0}
    """
    confusion = Confusion.from_values(truth, prediction)
    return dict(zip(confusion.classes, precision_per_class_of(confusion).tolist(), strict=True))


def recall_per_class_of(confusion: Confusion) -> Floats:
    """Return [..., K] the recalls; NaN for a class that does not occur in the truth."""
    return _divide(_diagonal(confusion), confusion.counts.sum(axis=-1))


def precision_per_class_of(confusion: Confusion) -> Floats:
    """Return [..., K] the precisions; NaN for a class that was never predicted."""
    return _divide(_diagonal(confusion), confusion.counts.sum(axis=-2))


def unweighted_average_recall_of(confusion: Confusion) -> Floats:
    """Return [...] the UAR over the classes that occur in the truth; NaN without pairs."""
    recall = recall_per_class_of(confusion)
    occurs = np.isfinite(recall)
    return _divide(np.where(occurs, recall, 0.0).sum(axis=-1), occurs.sum(axis=-1))


def accuracy_of(confusion: Confusion) -> Floats:
    """Return [...] the share of right predictions; NaN without pairs."""
    return _divide(_diagonal(confusion).sum(axis=-1), confusion.counts.sum(axis=(-2, -1)))


def _diagonal(confusion: Confusion) -> Floats:
    return np.diagonal(confusion.counts, axis1=-2, axis2=-1)


def _divide(part: Floats, whole: NDArray[np.float64] | NDArray[np.int64]) -> Floats:
    quotient = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=quotient, where=whole > 0)
    return quotient
