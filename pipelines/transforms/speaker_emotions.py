"""Emotions of single speakers: every metric, and the intervals of those that are shares."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from pipelines.transforms.metric_values import NO_INTERVAL, metric_values
from pipelines.transforms.tables import array, group_rows
from pipelines.transforms.weighting import confusions
from ser_model.metrics.moments import Floats
from ser_model.metrics.recall import Confusion
from ser_model.metrics.share_intervals import mean_share_interval, wilson_interval
from ser_model.schema import SPEAKERS


def emotion_rows(sums: pa.Table, head: Mapping[str, str]) -> pa.RecordBatch:
    """Return the rows of all speakers of a model that predicts emotions; of shares with intervals.

    Args:
        sums: merged SPEAKER_SUMS of the model, a row a speaker and pair of emotions.
        head: model, condition and target.
    """
    first_rows, groups = group_rows(sums, ["speaker_id"])
    names = array(sums, "speaker_id").take(pa.array(first_rows)).to_pylist()
    classes, counts = confusions(sums, groups, len(first_rows))
    state = Confusion(classes=classes, counts=counts)
    intervals = dict(_share_intervals(state))
    rows = []
    for metric in metric_values(state):
        low, high = intervals.get(metric.name, (None, None))
        for index, name in enumerate(names):
            value = float(metric.values[index])
            has_value = math.isfinite(value)
            if not has_value and metric.is_of_class:
                continue  # a speaker who never says it, or is never heard so
            row = {**head, "speaker_id": name, "metric": metric.name, "num_speakers": 1}
            row |= {"num_segments": int(state.num_segments[index])}
            row |= {"value": value if has_value else None}
            if not has_value:
                row |= {"reason": metric.why_undefined}
            elif low is None or high is None:
                row |= {"reason": NO_INTERVAL}
            else:
                row |= {"ci_low": float(low[index]), "ci_high": float(high[index])}
            rows.append(row)
    return pa.RecordBatch.from_pylist(rows, schema=SPEAKERS)


def _share_intervals(state: Confusion) -> Iterator[tuple[str, tuple[Floats, Floats]]]:
    """Yield the intervals [S] of what are shares of segments, or means of such, by metric."""
    hits = np.diagonal(state.counts, axis1=-2, axis2=-1)
    said, heard = state.counts.sum(axis=-1), state.counts.sum(axis=-2)
    yield "accuracy", wilson_interval(hits.sum(axis=-1), state.num_segments)
    yield "unweighted_average_recall", mean_share_interval(hits, said)
    for index, emotion in enumerate(state.classes):
        yield f"recall[{emotion}]", wilson_interval(hits[:, index], said[:, index])
        yield f"precision[{emotion}]", wilson_interval(hits[:, index], heard[:, index])
