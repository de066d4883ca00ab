"""How often emotions are predicted, over all segments and speaker by speaker."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.audit_config import Minimums
from pipelines.transforms.group_statistics import Row, group_row
from pipelines.transforms.group_sums import Group
from pipelines.transforms.metric_values import NO_SEGMENTS, MetricValues
from pipelines.transforms.tables import MISSING, array, floats
from ser_model.metrics.intervals import Estimate, Scale
from ser_model.metrics.moments import Floats
from ser_model.metrics.speakers import spearman_cc, spearman_interval

MIN_SEGMENTS_OF_CLASS = 8
"""Of an emotion a speaker needs so many segments to count there, as in ser-tests."""

FEW_SPEAKERS = f"fewer than 2 speakers with {MIN_SEGMENTS_OF_CLASS} segments of the emotion"


def relative_difference_rows(everything: Group, minimums: Minimums) -> Iterator[Row]:
    """Yield, for each emotion, predictions minus truths as a share of all segments.

    Source: ser-tests, correctness distribution.

    Args:
        everything: all segments.
        minimums: not applied, as all segments are no slice.
    """
    sums = everything.sums
    total = np.where(sums.num_segments > 0, sums.num_segments, np.nan)
    for name in sorted({*sums.strata, *sums.bins}):
        predicted = _of(sums.counts.sum(axis=-2), sums.bins, name)
        true = _of(sums.by_stratum, sums.strata, name)
        metric = MetricValues(
            name=f"relative_difference[{name}]",
            values=(predicted - true) / total,
            why_undefined=NO_SEGMENTS,
            scale=Scale.LINEAR,
            is_of_class=True,
        )
        yield group_row(everything, metric, minimums)


def speaker_share_rows(rows: pa.Table) -> Iterator[Row]:
    """Yield, for each emotion, how right its share is in what each speaker says.

    Speakers with MIN_SEGMENTS_OF_CLASS of the emotion count, each once. Source: ser-tests, speaker
    average and speaker ranking.

    Args:
        rows: as from `group_sums.speaker_rows`, of all segments.
    """
    rows = rows.filter(pc.not_equal(rows["speaker_id"], MISSING)).combine_chunks()
    speakers = pc.unique(array(rows, "speaker_id"))
    speaker = pc.index_in(array(rows, "speaker_id"), speakers).to_numpy()
    n = floats(rows, "n")
    total = np.bincount(speaker, n, len(speakers))
    for name in sorted(pc.unique(array(rows, "stratum")).to_pylist()):
        true, predicted = (
            np.bincount(speaker, n * _is(rows, column, name), len(speakers))
            for column in ("stratum", "bin")
        )
        counted = true >= MIN_SEGMENTS_OF_CLASS
        head = {
            "slice": "",
            "num_segments": int(total[counted].sum()),
            "num_speakers": int(counted.sum()),
        }
        pair = (true[counted] / total[counted], predicted[counted] / total[counted])
        yield {**head, **_mean_absolute_error(name, *pair)}
        yield {**head, **_ranking(name, *pair)}


def _mean_absolute_error(name: str, truth: Floats, prediction: Floats) -> Row:
    row: Row = {"metric": f"speaker_class_share_mean_absolute_error[{name}]"}
    if truth.size < 2:
        return {**row, "reason": FEW_SPEAKERS}
    errors = np.abs(prediction - truth)
    row["value"] = float(errors.mean())
    estimate = Estimate(
        value=row["value"],
        standard_error=float(errors.std(ddof=1)) / math.sqrt(errors.size),
        degrees_of_freedom=errors.size - 1.0,
    )
    return {**row, **estimate.as_columns()}


def _ranking(name: str, truth: Floats, prediction: Floats) -> Row:
    row: Row = {"metric": f"speaker_class_share_ranking[{name}]"}
    value = spearman_cc(truth, prediction) if truth.size >= 2 else math.nan
    if not math.isfinite(value):
        return {**row, "reason": FEW_SPEAKERS if truth.size < 2 else "all speakers are alike"}
    low, high = spearman_interval(value, truth.size)
    if not math.isfinite(low):
        return {**row, "value": value, "reason": "too few speakers for an interval"}
    return {**row, "value": value, "ci_low": low, "ci_high": high}


def _of(counts: Floats, names: tuple[str, ...], name: str) -> Any:  # noqa: ANN401  array or 0
    return counts[..., names.index(name)] if name in names else 0.0


def _is(rows: pa.Table, column: str, name: str) -> Floats:
    same = pc.equal(rows[column], name).combine_chunks().to_numpy(zero_copy_only=False)
    return np.asarray(same, dtype=np.float64)
