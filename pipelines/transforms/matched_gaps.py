"""Gaps between groups that are matched on their truth: what the fairness tests of a suite ask.

Each group is held against the rest, all other groups of the grouping together; both count alike in
each stratum of the truth (see `metrics.matching`). Rows beside it, `slice` "GROUP-all", hold the
group against all groups balanced to one size, as ser-tests does, without an interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from pipelines.audit_config import Minimums
from pipelines.transforms.group_statistics import REST, Row, against_all_row, gap_row, merge_groups
from pipelines.transforms.group_sums import QUARTER_OF_STRATUM, UNRATED, Group
from pipelines.transforms.metric_values import NO_SEGMENTS, NO_VARIANCE, MetricValues
from pipelines.transforms.suite_columns import PITCH_GROUP
from ser_model.metrics.bins import QUARTERS
from ser_model.metrics.concordance import concordance_cc_of
from ser_model.metrics.intervals import Scale
from ser_model.metrics.matching import StratifiedSums, match
from ser_model.metrics.moments import Floats
from ser_model.metrics.recall import (
    Confusion,
    precision_per_class_of,
    recall_per_class_of,
    unweighted_average_recall_of,
)

COMPARES_RIGHTNESS = ("sex", PITCH_GROUP)
"""Groupings of which tests ask how right predictions are; of the others how they are distributed,
which needs no truth."""

SMALLEST_BIN = 0.0668
"""A quarter of the scale with a smaller share of the segments is not tested. As in ser-tests it is
what a normal distribution about .5 with a standard deviation of 1/6 has below .25."""

SMALL_BIN = "fewer than 6.7 % of the segments lie in this part of the scale"
ABSENT = "the emotion does not occur in both groups"


def matched_gap_rows(slice_by: str, groups: Sequence[Group], minimums: Minimums) -> Iterator[Row]:
    """Yield every gap of each group against the rest, and its value against all.

    Args:
        slice_by: the grouping.
        groups: at least one; a single one has no rest, and no rows.
        minimums: below them a gap is suppressed.
    """
    metrics = rightness if slice_by in COMPARES_RIGHTNESS else distribution
    for group in groups if len(groups) > 1 else ():
        rest = merge_groups(REST, [other for other in groups if other is not group])
        first, second = match(group.sums, rest.sums)
        everyone = first.estimate().merge(second.estimate().scaled(len(groups) - 1.0))
        of_rest = {metric.name: metric for metric in metrics(second, everyone)}
        of_all = {metric.name: metric for metric in metrics(everyone, everyone)}
        for metric in metrics(first, everyone):
            row = gap_row(group.name, metric, of_rest[metric.name].values, (group, rest), minimums)
            yield row
            difference = float(metric.values[0] - of_all[metric.name].values[0])
            yield against_all_row(row, group.name, difference)


Metrics = Callable[[StratifiedSums, StratifiedSums], Iterator[MetricValues]]


def distribution(sums: StratifiedSums, everyone: StratifiedSums) -> Iterator[MetricValues]:
    """Yield how the predictions of a matched group are distributed.

    Args:
        sums: [B1] of the group.
        everyone: [1] of all groups, which say what parts of the scale are large enough.
    """
    if sums.bins == QUARTERS:
        moments = sums.together()
        yield MetricValues(
            name="matched_mean_prediction",
            values=np.where(moments.n > 0, moments.mean_prediction, np.nan),
            why_undefined=NO_SEGMENTS,
            scale=Scale.LINEAR,
        )
    shares = shares_of(sums)
    is_large = shares_of(everyone)[0] >= SMALLEST_BIN
    for index, name in enumerate(sums.bins):
        is_tested = is_large[index] or sums.bins != QUARTERS
        yield _of_class("prediction_share", name, shares[..., index], is_tested)


def rightness(sums: StratifiedSums, everyone: StratifiedSums) -> Iterator[MetricValues]:
    """Yield how right the predictions of a matched group are; the arguments as `distribution`."""
    rated = tuple(name for name in sums.strata if name != UNRATED)
    sums, everyone = sums.only(rated), everyone.only(rated)
    confusion = _confusion(sums)
    if sums.bins == QUARTERS:
        yield MetricValues(
            name="matched_concordance_cc",
            values=concordance_cc_of(sums.together()),
            why_undefined=NO_VARIANCE,
            scale=Scale.CORRELATION,
        )
        of_truth = _confusion(everyone).counts[0].sum(axis=-1)
        is_tested = of_truth >= SMALLEST_BIN * of_truth.sum()
    else:
        yield MetricValues(
            name="matched_unweighted_average_recall",
            values=unweighted_average_recall_of(confusion),
            why_undefined=NO_SEGMENTS,
            scale=Scale.SHARE,
        )
        is_tested = np.ones(len(confusion.classes), dtype=np.bool_)
    recall, precision = recall_per_class_of(confusion), precision_per_class_of(confusion)
    for index, name in enumerate(confusion.classes):
        yield _of_class("recall", name, recall[..., index], is_tested[index])
        yield _of_class("precision", name, precision[..., index], is_tested[index])


def shares_of(sums: StratifiedSums) -> Floats:
    """Return [..., P] the share of the predictions in each bin; NaN without segments."""
    counts = sums.counts.sum(axis=-2)
    total = counts.sum(axis=-1, keepdims=True)
    return np.where(total > 0, counts / np.where(total > 0, total, 1.0), np.nan)


def _confusion(sums: StratifiedSums) -> Confusion:
    """Truth and prediction in quarters of the scale, or of emotions."""
    of_dimension = sums.bins == QUARTERS
    truth = [QUARTER_OF_STRATUM[name] for name in sums.strata] if of_dimension else sums.strata
    classes = tuple(sorted({*truth, *sums.bins}))
    counts = np.zeros((*sums.counts.shape[:-2], len(classes), len(classes)))
    for t, truth_name in enumerate(truth):
        for p, name in enumerate(sums.bins):
            counts[..., classes.index(truth_name), classes.index(name)] += sums.counts[..., t, p]
    return Confusion(classes=classes, counts=counts)


def _of_class(kind: str, name: str, values: Floats, is_tested: bool) -> MetricValues:
    why = ABSENT if is_tested else SMALL_BIN
    return MetricValues(
        name=f"matched_{kind}[{name}]",
        values=values if is_tested else np.full_like(values, np.nan),
        why_undefined=why,
        scale=Scale.SHARE,
        is_of_class=True,
    )
