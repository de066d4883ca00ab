"""How often the right emotion is found: recall, precision and F1 per class, UAR, UAP, WAR.

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

    @property
    def num_segments(self) -> Floats:
        """[...] how many pairs were counted."""
        return np.asarray(self.counts.sum(axis=(-2, -1)))

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


def unweighted_average_precision(truth: Sequence[str], prediction: Sequence[str]) -> float:
    """Return the mean of the precisions of the classes (UAP), each class counting the same.

    Args:
        truth: [num_segments] names of classes.
        prediction: [num_segments] names of classes.

    Returns:
        0 to 1; NaN without pairs. All classes of truth or prediction count, one that was never
        predicted as 0, as in audmetric and scikit-learn: who never says a class gains nothing.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> unweighted_average_precision(["joy", "joy", "anger"], ["joy", "joy", "joy"])
        0.3333333333333333
    """
    return float(unweighted_average_precision_of(Confusion.from_values(truth, prediction)))


def unweighted_average_f1(truth: Sequence[str], prediction: Sequence[str]) -> float:
    """Return the mean of the F1 scores of the classes (macro F1), each class counting the same.

    Args:
        truth: [num_segments] names of classes.
        prediction: [num_segments] names of classes.

    Returns:
        0 to 1; NaN without pairs.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> unweighted_average_f1(["joy", "joy", "anger"], ["joy", "joy", "joy"])
        0.4
    """
    return float(unweighted_average_f1_of(Confusion.from_values(truth, prediction)))


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


def f1_per_class(truth: Sequence[str], prediction: Sequence[str]) -> dict[str, float]:
    """Return, for each class, the harmonic mean of recall and precision.

    2 * hits / (2 * hits + misses + false alarms). Van Rijsbergen, "Information Retrieval" (1979).

    Returns:
        By class of truth or prediction, 0 to 1.

    Raises:
        ValueError: the lengths differ.

    Example:
        >>> f1_per_class(["joy", "joy"], ["joy", "anger"])
        {'anger': 0.0, 'joy': 0.6666666666666666}
    """
    confusion = Confusion.from_values(truth, prediction)
    return dict(zip(confusion.classes, f1_per_class_of(confusion).tolist(), strict=True))


def recall_per_class_of(confusion: Confusion) -> Floats:
    """Return [..., K] the recalls; NaN for a class that does not occur in the truth."""
    return _divide(_diagonal(confusion), confusion.counts.sum(axis=-1))


def precision_per_class_of(confusion: Confusion) -> Floats:
    """Return [..., K] the precisions; NaN for a class that was never predicted."""
    return _divide(_diagonal(confusion), confusion.counts.sum(axis=-2))


def f1_per_class_of(confusion: Confusion) -> Floats:
    """Return [..., K] the F1 scores; NaN for a class in neither truth nor prediction."""
    return _divide(2.0 * _diagonal(confusion), _occurrences(confusion))


def unweighted_average_recall_of(confusion: Confusion) -> Floats:
    """Return [...] the UAR over the classes that occur in the truth; NaN without pairs."""
    recall = recall_per_class_of(confusion)
    return _mean_of_classes(recall, np.isfinite(recall))


def unweighted_average_precision_of(confusion: Confusion) -> Floats:
    """Return [...] the UAP over the classes of truth or prediction; NaN without pairs."""
    return _mean_of_classes(precision_per_class_of(confusion), _occurrences(confusion) > 0)


def unweighted_average_f1_of(confusion: Confusion) -> Floats:
    """Return [...] the macro F1 over the classes of truth or prediction; NaN without pairs."""
    return _mean_of_classes(f1_per_class_of(confusion), _occurrences(confusion) > 0)


def accuracy_of(confusion: Confusion) -> Floats:
    """Return [...] the share of right predictions; NaN without pairs."""
    return _divide(_diagonal(confusion).sum(axis=-1), confusion.counts.sum(axis=(-2, -1)))


def _occurrences(confusion: Confusion) -> Floats:
    """How often each class stands in the truth, plus how often in the prediction."""
    return np.asarray(confusion.counts.sum(axis=-1) + confusion.counts.sum(axis=-2))


def _mean_of_classes(values: Floats, counts: NDArray[np.bool_]) -> Floats:
    """Mean over the classes that count; NaN, which is undefined, as 0."""
    return _divide(np.where(np.isfinite(values), values, 0.0).sum(axis=-1), counts.sum(axis=-1))


def _diagonal(confusion: Confusion) -> Floats:
    return np.diagonal(confusion.counts, axis1=-2, axis2=-1)


def _divide(part: Floats, whole: NDArray[np.float64] | NDArray[np.int64]) -> Floats:
    quotient = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=quotient, where=whole > 0)
    return quotient
