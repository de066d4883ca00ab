"""Keeps replicates, so that two audits can be compared draw by draw: `replicates.parquet`.

The weights of speakers depend on seed, replicate and speaker alone. So two audits with the same
metadata and seed drew the same speakers, and the difference of their replicates is paired, though
the models were never in one audit.

Kept are few metrics of all segments and of slices that are not suppressed; where more than two
slices are compared, also of the rest of each, which with it makes its gap. Columns with more than
MAX_KEPT_SLICES slices are left out, so that the file stays in the size of the slices of a report.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.audit_config import AuditConfig
from pipelines.transforms.comparing import rests_of, why_suppressed
from pipelines.transforms.metric_values import MetricValues, metric_values
from pipelines.transforms.slices import ComparedSlices, Slice, SliceKey
from pipelines.transforms.tables import is_missing_slice

KEPT_METRICS = (
    "concordance_cc",
    "pearson_cc",
    "mean_absolute_error",
    "unweighted_average_recall",
    "accuracy",
)

MAX_KEPT_SLICES = 20

REPLICATE_ROWS = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("model_version", "condition", "slice_by")),
        pa.field("slice", pa.string()),
        pa.field("is_rest", pa.bool_()),
        pa.field("target", pa.string()),
        pa.field("metric", pa.string()),
        pa.field("num_segments", pa.int64()),
        pa.field("num_speakers", pa.int64()),
        pa.field("effective_speakers", pa.float64()),
        pa.field("num_compared_speakers", pa.int64()),
        pa.field("value", pa.float64()),
        pa.field("reason", pa.string()),
        pa.field("replicates", pa.list_(pa.float32())),
    ]
)
"""The replicates of a metric on a slice, or on the rest of it: all segments of the slices that it
is compared with. NaN is a replicate without a value; `value` is null where the metric has none, and
`reason` says why. Seven digits are enough for what only serves as a spread."""


def keep_replicates(
    element: tuple[SliceKey, ComparedSlices], config: AuditConfig
) -> Iterator[pa.RecordBatch]:
    """Yield REPLICATE_ROWS of slices by the same columns.

    Args:
        element: model version, condition, slice_by and target; and the slices.
        config: which slices are compared, and which are too small to be shown.
    """
    (model_version, condition, slice_by, target), compared = element
    slices = [one for one in compared.slices if not is_missing_slice(one.name)]
    if len(slices) > MAX_KEPT_SLICES:
        return
    kept = [(one.name, False, one) for one in compared.slices]
    if config.is_compared(slice_by):
        kept += [
            (one.name, True, rest)
            for one, rest in rests_of(slices)
            if why_suppressed(one, config.minimums) is None
        ]
    head = {"model_version": model_version, "condition": condition, "slice_by": slice_by}
    rows = [
        {
            **head,
            "slice": name,
            "is_rest": is_rest,
            "target": target,
            "num_segments": one.num_segments,
            "num_speakers": one.num_speakers,
            "effective_speakers": one.effective_speakers,
            "num_compared_speakers": compared.num_speakers,
            **_of_metric(metric),
        }
        for name, is_rest, one in kept
        if why_suppressed(one, config.minimums) is None
        for metric in _kept_metrics(one)
    ]
    yield pa.RecordBatch.from_pylist(rows, schema=REPLICATE_ROWS)


def _kept_metrics(one: Slice) -> Iterator[MetricValues]:
    for metric in metric_values(one.state, of_bins=False):
        if metric.name in KEPT_METRICS:
            yield metric


def _of_metric(metric: MetricValues) -> dict[str, Any]:
    value = float(metric.values[0])
    has_value = bool(np.isfinite(value))
    return {
        "metric": metric.name,
        "value": value if has_value else None,
        "reason": None if has_value else metric.why_undefined,
        "replicates": metric.values[1:].astype(np.float32),
    }
