"""The segments of a probe: predictions of a run beside what the metadata say of each segment."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.found_runs import FoundRun
from ser_model import storage
from ser_model.schema import CLEAN, DIMENSIONS, ManifestError, RunError
from ser_model.table_files import EXTENSIONS, one_line, read_table_file


class Missing(StrEnum):
    """Why a segment is in neither side of the probe, beside the reasons of rejections."""

    NOT_IN_METADATA = "not_in_metadata"
    NO_TRUTH = "no_truth"
    NO_PREDICTION = "no_prediction"


NOWHERE = pa.array([Missing.NOT_IN_METADATA, Missing.NO_TRUTH], pa.string())
"""Why a segment is not even spoken."""

_SCORES = pa.schema(
    [pa.field("segment_id", pa.string()), *(pa.field(d, pa.float64()) for d in DIMENSIONS)]
)


def read_scores(found: FoundRun) -> pa.Table:
    """Read the predictions of clean speech: `segment_id` and the dimensions, null for a NaN.

    Raises:
        RunError: a file cannot be read, or holds a segment twice (other conditions aside).
    """
    tables = [_read(uri) for uri in found.files]
    scores = pa.concat_tables([_SCORES.empty_table(), *tables])
    num_ids = pc.count_distinct(scores["segment_id"]).as_py()
    if num_ids < len(scores):
        raise RunError(
            f"{found.uri} has {len(scores) - num_ids} segments more than once: probe the "
            "predictions of one model at a time"
        )
    return scores


def read_rejections(found: FoundRun) -> pa.Table:
    """Read `segment_id` and `reason` of the clean segments that a run rejected."""
    names = ["segment_id", "condition", "reason"]
    nothing = pa.schema([(name, pa.string()) for name in names]).empty_table()
    tables = [storage.read_table(uri).select(names) for uri in found.rejections]
    rejected = pa.concat_tables([nothing, *tables], promote_options="default")
    rejected = rejected.filter(pc.equal(rejected["condition"], CLEAN)).combine_chunks()
    return rejected.select(["segment_id", "reason"])


def original_side(found: FoundRun, metadata: pa.Table) -> pa.Table:
    """Put what a run says beside what the metadata say, for every segment of the run.

    Args:
        found: a run, or a file of predictions.
        metadata: as from `read_metadata`.

    Returns:
        The columns of schema.PROBE_SEGMENTS up to `original_missing`, sorted by segment, and
        `language`.

    Raises:
        RunError: the run cannot be read, predicts no dimensions, or has no segment with truth.
    """
    scores = read_scores(found)
    rejected = read_rejections(found)
    predicted = pa.concat_tables(
        [scores, rejected.select(["segment_id"])], promote_options="default"
    )
    reason = pa.concat_arrays([pa.nulls(len(scores), pa.string()), *rejected["reason"].chunks])
    order = pc.sort_indices(predicted["segment_id"])
    predicted, reason = predicted.take(order), reason.take(order)
    at = pc.index_in(predicted["segment_id"], metadata["segment_id"]).combine_chunks()
    columns = {"segment_id": predicted["segment_id"]}
    for name in ("speaker_id", "transcript", "language"):
        columns[name] = _column(metadata, name, pa.string()).take(at)
    for dimension in DIMENSIONS:
        truth = _column(metadata, dimension, pa.float64())
        columns[f"truth_{dimension}"] = _null_if_nan(truth.take(at))
        columns[f"original_{dimension}"] = predicted[dimension]
    has_truth, has_score = (
        _any_valid([columns[f"{side}_{dimension}"] for dimension in DIMENSIONS])
        for side in ("truth", "original")
    )
    reason = pc.if_else(pc.or_(has_score, reason.is_valid()), reason, Missing.NO_PREDICTION)
    reason = pc.if_else(has_truth, reason, Missing.NO_TRUTH)
    columns["original_missing"] = pc.if_else(at.is_valid(), reason, Missing.NOT_IN_METADATA)
    _refuse_nothing(found, columns["original_missing"])
    return pa.table(columns)


def is_spoken(segments: pa.Table) -> pa.ChunkedArray:
    """Tell which segments have truth, so that their transcripts are worth speaking."""
    return pc.invert(pc.is_in(segments["original_missing"], NOWHERE))


def _read(uri: str) -> pa.Table:
    try:
        table = (
            read_table_file(uri) if uri.lower().endswith(EXTENSIONS) else storage.read_table(uri)
        )
    except ManifestError as error:
        raise RunError(str(error)) from error
    if "segment_id" not in table.column_names or not set(DIMENSIONS) & set(table.column_names):
        raise RunError(
            f"{uri} has no column 'segment_id', or none of {', '.join(DIMENSIONS)} "
            f"(it has {', '.join(table.column_names)})"
        )
    if "condition" in table.column_names:
        table = table.filter(pc.equal(pc.fill_null(table["condition"], CLEAN), CLEAN))
    try:
        columns = {field.name: _column(table, field.name, field.type) for field in _SCORES}
    except pa.ArrowException as error:
        raise RunError(f"{uri}: {one_line(error)}") from error
    for dimension in DIMENSIONS:
        columns[dimension] = _null_if_nan(columns[dimension])
    return pa.table(columns)


def _refuse_nothing(found: FoundRun, missing: pa.ChunkedArray) -> None:
    if missing.null_count:
        return
    counts = missing.value_counts().to_pylist()
    reasons = ", ".join(f"{count['counts']} {count['values']}" for count in counts)
    raise RunError(f"{found.uri} has no segment with a prediction and truth: {reasons or 'empty'}")


def _column(table: pa.Table, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    if name not in table.column_names:
        return pa.chunked_array([pa.nulls(len(table), kind)])
    return table[name].cast(kind)


def _null_if_nan(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))


def _any_valid(columns: list[pa.ChunkedArray]) -> pa.Array:
    valid = [column.is_valid().to_numpy(zero_copy_only=False) for column in columns]
    return pa.array(np.any(valid, axis=0))
