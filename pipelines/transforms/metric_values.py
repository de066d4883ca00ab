"""Every metric that is derived from the sums of a dimension or from a confusion, by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ser_model.metrics.bins import BinCounts, jensen_shannon_distance_of
from ser_model.metrics.concordance import concordance_cc_of, pearson_cc_of
from ser_model.metrics.dimension_sums import DimensionSums
from ser_model.metrics.errors import bias_of, mean_absolute_error_of, mean_squared_error_of
from ser_model.metrics.intervals import Scale
from ser_model.metrics.moments import CoMoments, Floats
from ser_model.metrics.recall import (
    Confusion,
    accuracy_of,
    f1_per_class_of,
    precision_per_class_of,
    recall_per_class_of,
    unweighted_average_f1_of,
    unweighted_average_precision_of,
    unweighted_average_recall_of,
)
from ser_model.metrics.shifts import (
    ShiftSums,
    mean_absolute_shift_of,
    mean_shift_of,
    unchanged_share_of,
)

NO_VARIANCE = "no variance"
NO_SEGMENTS = "no segments"
NO_INTERVAL = "no interval is computed"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValues:
    """One metric of every element of a state.

    Attributes:
        name: as in the column `metric`: "concordance_cc", "recall[anger]".
        values: [...] in the shape of the state; NaN where it has no value.
        why_undefined: what a NaN means.
        scale: on which its interval is made.
        is_of_class: whether it is of one class or bin only.
    """

    name: str
    values: Floats
    why_undefined: str
    scale: Scale
    is_of_class: bool = False


def metric_values(
    state: DimensionSums | Confusion | ShiftSums, *, of_bins: bool = True
) -> Iterator[MetricValues]:
    """Yield every metric of a state, those of parts (bins, classes) last.

    Args:
        state: sums of a dimension, the confusion of emotions, or sums of shifts.
        of_bins: whether metrics of a dimension in bins are wanted too.

    Example:
        >>> names = [m.name for m in metric_values(Confusion.from_values(["joy"], ["joy"]))]
        >>> names[0], names[-1]
        ('unweighted_average_recall', 'f1[joy]')
    """
    if isinstance(state, DimensionSums):
        yield from _of_moments(state.moments)
        if of_bins:
            yield from _of_bins(state.bins)
    elif isinstance(state, ShiftSums):
        yield from _of_shifts(state)
    else:
        yield from _of_emotions(state)


def _of_moments(moments: CoMoments) -> Iterator[MetricValues]:
    for name, values, scale in (
        ("concordance_cc", concordance_cc_of(moments), Scale.CORRELATION),
        ("pearson_cc", pearson_cc_of(moments), Scale.CORRELATION),
        ("mean_squared_error", mean_squared_error_of(moments), Scale.ERROR),
        ("mean_absolute_error", mean_absolute_error_of(moments), Scale.ERROR),
        ("bias", bias_of(moments), Scale.LINEAR),
    ):
        why_undefined = NO_VARIANCE if scale is Scale.CORRELATION else NO_SEGMENTS
        yield MetricValues(name=name, values=values, why_undefined=why_undefined, scale=scale)


def _of_bins(bins: BinCounts) -> Iterator[MetricValues]:
    yield MetricValues(
        name="jensen_shannon_distance",
        values=jensen_shannon_distance_of(bins),
        why_undefined=NO_SEGMENTS,
        scale=Scale.SHARE,
    )
    yield from _of_classes(
        bins.quarters,
        "no truth lies in this part of the scale",
        "no prediction lies in this part of the scale",
    )


def _of_shifts(sums: ShiftSums) -> Iterator[MetricValues]:
    for name, values, scale in (
        ("unchanged_share", unchanged_share_of(sums), Scale.SHARE),
        ("mean_shift", mean_shift_of(sums), Scale.LINEAR),
        ("mean_absolute_shift", mean_absolute_shift_of(sums), Scale.ERROR),
    ):
        yield MetricValues(name=name, values=values, why_undefined=NO_SEGMENTS, scale=scale)


def _of_emotions(confusion: Confusion) -> Iterator[MetricValues]:
    for name, values in (
        ("unweighted_average_recall", unweighted_average_recall_of(confusion)),
        ("unweighted_average_precision", unweighted_average_precision_of(confusion)),
        ("unweighted_average_f1", unweighted_average_f1_of(confusion)),
        ("accuracy", accuracy_of(confusion)),
    ):
        yield MetricValues(name=name, values=values, why_undefined=NO_SEGMENTS, scale=Scale.SHARE)
    yield from _of_classes(
        confusion, "the emotion does not occur in the truth", "the emotion was never predicted"
    )
    yield from _per_class(
        "f1", confusion.classes, f1_per_class_of(confusion), "the emotion does not occur"
    )


def _of_classes(
    confusion: Confusion, without_truth: str, without_prediction: str
) -> Iterator[MetricValues]:
    recall, precision = recall_per_class_of(confusion), precision_per_class_of(confusion)
    yield from _per_class("recall", confusion.classes, recall, without_truth)
    yield from _per_class("precision", confusion.classes, precision, without_prediction)


def _per_class(
    kind: str, classes: Sequence[str], values: Floats, why_undefined: str
) -> Iterator[MetricValues]:
    for index, name in enumerate(classes):
        yield MetricValues(
            name=f"{kind}[{name}]",
            values=values[..., index],
            why_undefined=why_undefined,
            scale=Scale.SHARE,
            is_of_class=True,
        )
