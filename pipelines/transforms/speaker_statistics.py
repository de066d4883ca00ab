"""Speakers one by one, and how they differ: who is predicted badly, and do models agree on that.

All speakers of a condition and target come together here, of all models: a row of sums a speaker,
none of segments. Summaries count each speaker once, however many segments there are of each, so
that nothing changes where a speaker's segments are doubled.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput
from numpy.typing import NDArray

from pipelines.transforms.metric_values import NO_INTERVAL, metric_values
from pipelines.transforms.speaker_emotions import emotion_rows
from pipelines.transforms.speakers import SPEAKER_MOMENTS, moments_of
from pipelines.transforms.tables import MISSING, array, to_batch, to_table
from ser_model.metrics.concordance import concordance_cc_of
from ser_model.metrics.dimension_sums import DimensionSums
from ser_model.metrics.errors import bias_of, mean_absolute_error_of
from ser_model.metrics.intervals import Estimate
from ser_model.metrics.moments import CoMoments, Floats
from ser_model.metrics.significance import student_t_quantile
from ser_model.metrics.speakers import (
    bias_error_of,
    concordance_z_error_of,
    mean_absolute_error_error_of,
    shrink,
    spearman_cc,
    spearman_interval,
    worst_share,
)
from ser_model.schema import SPEAKERS, STATISTICS

SUMMARIES = "summaries"
"""Name of the side output that carries rows of schema.STATISTICS by model and condition."""

MIN_SEGMENTS = 10
"""Speakers with fewer are in no summary, as in ser-tests (Derington et al. 2023)."""

QUANTILES = {"p05": 0.05, "p50": 0.5, "p95": 0.95}

FEW_SEGMENTS = "too few segments"
FEW_SPEAKERS = "fewer than 2 speakers with 10 segments"

Row = dict[str, Any]
TargetKey = tuple[str, str]
"""Condition and target."""


def summarise_speakers(
    element: tuple[TargetKey, Iterable[bytes]],
) -> Iterator[pa.RecordBatch | TaggedOutput[Any, Any]]:
    """Yield the rows of schema.SPEAKERS; for SUMMARIES what they say together.

    Args:
        element: condition and target; packed SPEAKER_MOMENTS over all segments, of all models.
    """
    (condition, target), batches = element
    order = [(name, "ascending") for name in ("model_version", "speaker_id")]
    sums = to_table(batches, SPEAKER_MOMENTS).sort_by(order).combine_chunks()
    concordances: dict[str, dict[str, float]] = {}
    for model in pc.unique(array(sums, "model_version")).to_pylist():
        of_model = sums.filter(pc.equal(sums["model_version"], model)).combine_chunks()
        head = {"model_version": model, "condition": condition, "target": target}
        if target == "emotion":
            yield emotion_rows(of_model, head)
            continue
        names = array(of_model, "speaker_id")
        moments = moments_of(of_model)
        yield from dimension_rows(names, moments, head)
        counted = _counted(names, moments)
        chosen = moments[counted]
        values = concordance_cc_of(chosen).tolist()
        concordances[model] = dict(
            zip(names.take(pa.array(counted)).to_pylist(), values, strict=True)
        )
        yield _summary((model, condition), [{**head, **row} for row in summary_rows(chosen)])
    for first, second in itertools.combinations(sorted(concordances), 2):
        row = agreement_row(concordances[first], concordances[second])
        compared = {
            "slice_by": "model_version",
            "slice": f"model_version={first}-model_version={second}",
        }
        head = {"model_version": first, "condition": condition, "target": target, **compared}
        yield _summary((first, condition), [{**head, **row}])


def dimension_rows(
    names: pa.Array, moments: CoMoments, head: Mapping[str, str]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of all speakers of a model, a metric at a time; three have shrinkage.

    Args:
        names: [S] speakers.
        moments: [S] of each.
        head: model, condition and target.
    """
    estimates = _estimates(moments)
    for metric in metric_values(DimensionSums(moments=moments, bins=_NO_BINS), of_bins=False):
        has_value = np.isfinite(metric.values)
        columns = {"value": metric.values, **estimates.get(metric.name, {})}
        has_interval = np.isfinite(columns.get("ci_low", np.full(moments.shape, np.nan)))
        why = FEW_SEGMENTS if metric.name in estimates else NO_INTERVAL
        reason = np.where(has_value, why, metric.why_undefined).astype(object)
        reason[has_value & has_interval] = None
        table = {name: pa.repeat(text, len(names)) for name, text in head.items()}
        table |= {"speaker_id": names, "metric": pa.repeat(metric.name, len(names))}
        table |= {"num_segments": pa.array(moments.n.astype(np.int64))}
        table |= {"num_speakers": pa.repeat(pa.scalar(1, pa.int64()), len(names))}
        table |= {name: pa.array(v, mask=~np.isfinite(v)) for name, v in columns.items()}
        table |= {"reason": pa.array(reason, pa.string())}
        missing = [field for field in SPEAKERS if field.name not in table]
        table |= {field.name: pa.nulls(len(names), field.type) for field in missing}
        yield to_batch(pa.table(table).select(SPEAKERS.names).cast(SPEAKERS))


def summary_rows(moments: CoMoments) -> Iterator[Row]:
    """Yield what the speakers that count say together.

    Args:
        moments: [S] of speakers with MIN_SEGMENTS at least.
    """
    counts = {"num_segments": int(moments.n.sum()), "num_speakers": moments.n.size}
    for row in (*_average_and_ranking(moments), *_spreads(moments)):
        row.setdefault("reason", NO_INTERVAL if row.get("ci_low") is None else None)
        if row["value"] is None or not math.isfinite(row["value"]):
            row |= {"value": None, "reason": FEW_SPEAKERS}
        yield {"slice_by": "", "slice": "", **counts, **row}


def agreement_row(first: Mapping[str, float], second: Mapping[str, float]) -> Row:
    """Return how far two models agree on who is predicted well: Spearman of the speakers' CCC."""
    shared = sorted(first.keys() & second.keys())
    pairs = np.array([(first[name], second[name]) for name in shared]).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    row = _ranking("speaker_agreement", pairs[:, 0], pairs[:, 1])
    row |= {"num_segments": 0, "num_speakers": len(pairs)}
    if not math.isfinite(row["value"]):
        row |= {"value": None, "reason": FEW_SPEAKERS}
    return row


def _average_and_ranking(moments: CoMoments) -> Iterator[Row]:
    """The speaker average and speaker ranking of ser-tests: how right are means of speakers?"""
    differences = np.abs(bias_of(moments))
    size = differences.size
    row: Row = {"metric": "speaker_average_mean_absolute_error", "value": None}
    if size >= 2:
        error = float(differences.std(ddof=1)) / math.sqrt(size)
        row["value"] = float(differences.mean())
        if error > 0:
            estimate = Estimate(
                value=row["value"], standard_error=error, degrees_of_freedom=size - 1.0
            )
            row |= estimate.as_columns()
    yield row
    yield _ranking("speaker_ranking", moments.mean_truth, moments.mean_prediction)


def _spreads(moments: CoMoments) -> Iterator[Row]:
    """How speakers differ: quantiles, the spread beyond chance, what the worst tenth bears."""
    concordance, error = concordance_cc_of(moments), mean_absolute_error_of(moments)
    bias = bias_of(moments)
    kinds = {"concordance_cc": concordance, "mean_absolute_error": error, "bias": bias}
    for name, values in kinds.items():
        present = values[np.isfinite(values)]
        for label, quantile in QUANTILES.items():
            value = float(np.quantile(present, quantile)) if present.size >= 2 else None
            yield {"metric": f"speaker_{name}_{label}", "value": value}
    shrunk = shrink(bias, bias_error_of(moments))
    yield {"metric": "speaker_bias_spread", "value": shrunk.spread}
    share = worst_share(error) if error.size >= 2 else None
    yield {"metric": "speaker_mean_absolute_error_tail_share", "value": share}


def _ranking(metric: str, left: Floats, right: Floats) -> Row:
    correlation = spearman_cc(left, right)
    low, high = spearman_interval(correlation, left.size)
    row: Row = {"metric": metric, "value": correlation}
    return {**row, "ci_low": low, "ci_high": high} if math.isfinite(low) else row


def _estimates(moments: CoMoments) -> dict[str, dict[str, Floats]]:
    """Intervals of single speakers, and their shrunk values."""
    z = np.arctanh(np.clip(concordance_cc_of(moments), -1 + 1e-9, 1 - 1e-9))
    quantile = student_t_quantile(0.975, 1e9)
    freedom = np.maximum(moments.n - 1.0, 1.0)
    students = _student_quantiles(freedom)
    found = {"concordance_cc": _estimate(z, concordance_z_error_of(moments), quantile, np.tanh)}
    for name, values, errors in (
        ("bias", bias_of(moments), bias_error_of(moments)),
        (
            "mean_absolute_error",
            mean_absolute_error_of(moments),
            mean_absolute_error_error_of(moments),
        ),
    ):
        found[name] = {
            **_estimate(values, errors, students, np.asarray),
            "standard_error": errors,
            "degrees_of_freedom": np.where(np.isfinite(errors), freedom, np.nan),
        }
    return found


def _estimate(
    values: Floats,
    errors: Floats,
    quantile: float | Floats,
    back: Any,  # noqa: ANN401  a ufunc
) -> dict[str, Floats]:
    shrunk = shrink(values, errors)
    reach = 1.959964 * shrunk.errors
    return {
        "ci_low": back(values - quantile * errors),
        "ci_high": back(values + quantile * errors),
        "shrunk_value": back(shrunk.values),
        "shrunk_low": back(shrunk.values - reach),
        "shrunk_high": back(shrunk.values + reach),
    }


def _student_quantiles(freedom: Floats) -> Floats:
    """The 97.5 % quantile for each of many degrees of freedom, of which few are different."""
    different, group = np.unique(freedom, return_inverse=True)
    return np.array([student_t_quantile(0.975, df) for df in different.tolist()])[group]


def _counted(names: pa.Array, moments: CoMoments) -> NDArray[np.intp]:
    is_named = pc.not_equal(names, MISSING).to_numpy(zero_copy_only=False)
    return np.flatnonzero((moments.n >= MIN_SEGMENTS) & is_named)


def _summary(key: tuple[str, str], rows: list[Row]) -> TaggedOutput[Any, Any]:
    return TaggedOutput(SUMMARIES, (key, pa.RecordBatch.from_pylist(rows, schema=STATISTICS)))


_NO_BINS = DimensionSums.zeros().bins
