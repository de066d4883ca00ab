"""Every metric that is derived from moments or from a confusion, by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ser_model.metrics.concordance import concordance_cc_of, pearson_cc_of
from ser_model.metrics.errors import bias_of, mean_absolute_error_of, mean_squared_error_of
from ser_model.metrics.moments import CoMoments, Floats
from ser_model.metrics.recall import (
    Confusion,
    accuracy_of,
    precision_per_class_of,
    recall_per_class_of,
    unweighted_average_recall_of,
)

NO_VARIANCE = "no variance"
NO_SEGMENTS = "no segments"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValues:
    """One metric of every element of a state.

    Attributes:
        name: as in the column `metric`: "concordance_cc", "recall[anger]".
        values: [...] in the shape of the state; NaN where it has no value.
        why_undefined: what a NaN means.
        is_of_class: whether it is of one class only.
    """

    name: str
    values: Floats
    why_undefined: str
    is_of_class: bool = False


def metric_values(state: CoMoments | Confusion) -> Iterator[MetricValues]:
    """Yield every metric of a state.

    Example:
        >>> [metric.name for metric in metric_values(Confusion.from_values(["joy"], ["joy"]))]
        ['unweighted_average_recall', 'accuracy', 'recall[joy]', 'precision[joy]']
    """
    if isinstance(state, CoMoments):
        yield from _of_moments(state)
    else:
        yield from _of_confusion(state)


def _of_moments(moments: CoMoments) -> Iterator[MetricValues]:
    for name, values, why_undefined in (
        ("concordance_cc", concordance_cc_of(moments), NO_VARIANCE),
        ("pearson_cc", pearson_cc_of(moments), NO_VARIANCE),
        ("mean_squared_error", mean_squared_error_of(moments), NO_SEGMENTS),
        ("mean_absolute_error", mean_absolute_error_of(moments), NO_SEGMENTS),
        ("bias", bias_of(moments), NO_SEGMENTS),
    ):
        yield MetricValues(name=name, values=values, why_undefined=why_undefined)


def _of_confusion(confusion: Confusion) -> Iterator[MetricValues]:
    for name, values in (
        ("unweighted_average_recall", unweighted_average_recall_of(confusion)),
        ("accuracy", accuracy_of(confusion)),
    ):
        yield MetricValues(name=name, values=values, why_undefined=NO_SEGMENTS)
    for kind, values, why_undefined in (
        ("recall", recall_per_class_of(confusion), "the emotion does not occur in the truth"),
        ("precision", precision_per_class_of(confusion), "the emotion was never predicted"),
    ):
        for index, emotion in enumerate(confusion.classes):
            yield MetricValues(
                name=f"{kind}[{emotion}]",
                values=values[..., index],
                why_undefined=why_undefined,
                is_of_class=True,
            )
