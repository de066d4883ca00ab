"""Joins predictions with metadata, and counts what became of every row: the join ledger.

Both sides are partitioned by a hash of `segment_id`; a partition is joined in memory as Arrow
tables. Rules, so that the counts add up:

- A prediction of the same model, condition and segment counts once. Of several the first in the
  order of file and row counts; the others are `duplicate_predictions`, and those among them that
  say something else are `conflicting_duplicates` too.
- predictions = duplicate_predictions + matched + unmatched_predictions
- matched = TARGET_scored + TARGET_prediction_missing + TARGET_truth_missing, for each target; null,
  NaN and infinity are missing, and where both sides lack a value it is the prediction that counts.
- Predictions outside 0..1 are scored as they are and counted as TARGET_prediction_out_of_range.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import DoOutputsTuple, PCollection, TaggedOutput
from numpy.typing import NDArray

from pipelines.transforms.reading import LEDGER, TARGETS
from pipelines.transforms.spilling import Spill, Spilled, fetch
from pipelines.transforms.tables import (
    LEDGER_ROWS,
    MISSING,
    PREDICTION_ROWS,
    SLICE_PREFIX,
    SUITE_PREFIX,
    array,
    floats,
    group_rows,
    hash_strings,
    split_by_hash,
    to_table,
)
from ser_model.schema import DIMENSIONS

Mask = NDArray[np.bool_]


class JoinMetadata(beam.PTransform[Any, Any]):
    """Joins {"predictions": ..., "metadata": ...}; the output has "joined" and LEDGER."""

    def __init__(self, num_partitions: int, spill: str) -> None:
        """Split both sides into this many partitions, by way of files in the folder `spill`."""
        super().__init__()
        self._num_partitions = num_partitions
        self._spill = spill

    def expand(self, sides: Mapping[str, PCollection[Any]]) -> DoOutputsTuple:
        """Turn batches of both sides into one joined table a partition."""
        partitioned = {
            name: side
            | f"Partition {name}" >> beam.FlatMap(split_by_hash, "segment_id", self._num_partitions)
            | f"Spill {name}" >> beam.ParDo(Spill(self._spill))
            for name, side in sides.items()
        }
        joined: DoOutputsTuple = (
            partitioned
            | "BringTogether" >> beam.CoGroupByKey()
            | "Join" >> beam.FlatMap(join_partition).with_outputs(LEDGER, main="joined")
        )
        return joined


def join_partition(
    element: tuple[int, Mapping[str, Iterable[bytes | Spilled]]],
) -> Iterator[tuple[int, pa.Table] | TaggedOutput[Any, Any]]:
    """Yield (partition, joined table), and the counts for LEDGER."""
    partition, sides = element
    predictions = to_table(fetch(sides["predictions"]), PREDICTION_ROWS)
    batches = list(fetch(sides["metadata"]))
    joined, ledger = join(predictions, to_table(batches) if batches else _NO_METADATA)
    if joined.num_rows:
        yield partition, joined
    yield TaggedOutput(LEDGER, ledger)


def join(predictions: pa.Table, metadata: pa.Table) -> tuple[pa.Table, pa.RecordBatch]:
    """Join two tables, and count; see the rules atop this file.

    Args:
        predictions: PREDICTION_ROWS, in any order.
        metadata: as from `metadata_rows`, in any order.

    Returns:
        The matched predictions in the order of model, condition and the segment's hash:
        `segment_id`, `model_version`, `condition`, `speaker_id`, `truth_TARGET`,
        `prediction_TARGET` and the slices, what rows are grouped by as dictionaries; and
        LEDGER_ROWS.
    """
    order, suspects = _order(predictions)
    is_duplicate, is_conflicting = _duplicates(predictions, suspects)
    at = pc.index_in(array(predictions, "segment_id"), array(metadata, "segment_id"))
    is_known = at.is_valid().to_numpy(zero_copy_only=False)
    masks = {
        "predictions": np.ones(predictions.num_rows, dtype=np.bool_),
        "duplicate_predictions": is_duplicate,
        "conflicting_duplicates": is_conflicting,
        "unmatched_predictions": ~is_duplicate & ~is_known,
        "matched": ~is_duplicate & is_known,
    }
    matched = pa.array(order[masks["matched"][order]])
    joined = _side_by_side(predictions, matched, metadata, at.take(matched))
    num_metadata = metadata.num_rows
    num_ids = pc.count_distinct(metadata.column("segment_id")).as_py()
    rows = [
        *_count_by_model(predictions, masks),
        *_count_by_model(joined, _masks_of_matched(joined)),
        _count("", "", "metadata", num_metadata, _example(metadata, None)),
        _count("", "", "duplicate_metadata", num_metadata - num_ids, None),
    ]
    return joined, pa.RecordBatch.from_pylist(rows, schema=LEDGER_ROWS)


def _order(predictions: pa.Table) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return an order of the rows that does not depend on how they came here.

    The hash stands for the segment_id, for numbers sort some ten times as fast as strings.

    Returns:
        The rows by model, condition, hash, file and row; and in that order those that have a twin
        beside them, with the same model, condition and hash.
    """
    hashes = hash_strings(array(predictions, "segment_id"))
    model, condition, file = (
        _ranks(array(predictions, name)) for name in ("model_version", "condition", "file")
    )
    row = array(predictions, "row").to_numpy(zero_copy_only=False)
    side = model * (condition.max(initial=0) + 1) + condition
    orders, suspects = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    for number in np.flatnonzero(np.bincount(side)):
        rows = np.flatnonzero(side == number)
        order = rows[np.argsort(hashes[rows])]
        if (hashes[order[1:]] == hashes[order[:-1]]).any():
            order = rows[np.lexsort([row[rows], file[rows], hashes[rows]])]
        is_as_before = np.append(False, hashes[order[1:]] == hashes[order[:-1]])
        orders.append(order)
        suspects.append(order[is_as_before | np.append(is_as_before[1:], False)])
    return np.concatenate(orders), np.concatenate(suspects)


def _ranks(strings: pa.Array) -> NDArray[np.int64]:
    """Return the place of each string among the different ones, in alphabetical order."""
    encoded = strings.dictionary_encode()
    rank_of = np.argsort(np.argsort(np.array(encoded.dictionary.to_pylist(), dtype=object)))
    return np.asarray(rank_of[encoded.indices.to_numpy()], dtype=np.int64)


def _duplicates(predictions: pa.Table, suspects: NDArray[np.intp]) -> tuple[Mask, Mask]:
    """Tell which rows stand among the suspects before, and which of those differ from that."""
    is_duplicate = np.zeros(predictions.num_rows, dtype=np.bool_)
    is_conflicting = np.zeros_like(is_duplicate)
    few = predictions.take(pa.array(suspects)).combine_chunks()
    first_rows, groups = group_rows(few, ("model_version", "condition", "segment_id"))
    first = first_rows[groups]
    is_duplicate[suspects] = np.arange(few.num_rows) != first
    for target in TARGETS:
        _, codes = group_rows(few, [target])
        is_conflicting[suspects] |= codes != codes[first]
    return is_duplicate, is_conflicting


def _side_by_side(
    predictions: pa.Table, rows: pa.Array, metadata: pa.Table, metadata_rows: pa.Array
) -> pa.Table:
    # What rows are grouped by is encoded here once, and not by each who groups them.
    columns = {"segment_id": array(predictions, "segment_id").take(rows)}
    for name in ("model_version", "condition"):
        columns[name] = array(predictions, name).take(rows).dictionary_encode()
    for name in metadata.column_names:
        if name in TARGETS:
            columns[f"truth_{name}"] = array(metadata, name).take(metadata_rows)
            columns[f"prediction_{name}"] = array(predictions, name).take(rows)
        elif name == "speaker_id" or name.startswith((SLICE_PREFIX, SUITE_PREFIX)):
            columns[name] = array(metadata, name).take(metadata_rows).dictionary_encode()
    return pa.table(columns)


def is_present(joined: pa.Table, column: str) -> Mask:
    """Tell which rows have a value: not null, and finite if it is a number."""
    if pa.types.is_string(joined.column(column).type):
        return np.asarray(array(joined, column).is_valid().to_numpy(zero_copy_only=False))
    return np.isfinite(floats(joined, column))


def _masks_of_matched(joined: pa.Table) -> dict[str, Mask]:
    speaker_id = array(joined, "speaker_id")
    masks = {
        "matched_without_speaker": pc.equal(speaker_id, MISSING).to_numpy(zero_copy_only=False)
    }
    for target in TARGETS:
        has_truth = is_present(joined, f"truth_{target}")
        has_prediction = is_present(joined, f"prediction_{target}")
        masks[f"{target}_scored"] = has_truth & has_prediction
        masks[f"{target}_prediction_missing"] = ~has_prediction
        masks[f"{target}_truth_missing"] = has_prediction & ~has_truth
        if target in DIMENSIONS:
            values = floats(joined, f"prediction_{target}")
            outside = (values < 0.0) | (values > 1.0)
            masks[f"{target}_prediction_out_of_range"] = has_prediction & outside
    return masks


def _count_by_model(table: pa.Table, masks: Mapping[str, Mask]) -> list[dict[str, Any]]:
    if not table.num_rows:
        return []
    first_rows, groups = group_rows(table, ("model_version", "condition"))
    models = table.select(["model_version", "condition"]).take(pa.array(first_rows)).to_pylist()
    rows = []
    for index, model in enumerate(models):
        for name, mask in masks.items():
            counted = np.flatnonzero(mask & (groups == index))
            example = _example(table, counted) if name == "unmatched_predictions" else None
            rows.append(
                _count(model["model_version"], model["condition"], name, counted.size, example)
            )
    return rows


def _count(
    model_version: str, condition: str, name: str, num_segments: int, detail: str | None
) -> dict[str, Any]:
    return {
        "model_version": model_version,
        "condition": condition,
        "name": name,
        "num_segments": num_segments,
        "detail": detail,
    }


def _example(table: pa.Table, rows: NDArray[np.intp] | None) -> str | None:
    """The first segment in alphabetical order, to show what ids look like."""
    ids = array(table, "segment_id")
    if rows is not None:
        ids = ids.take(pa.array(rows))
    first: str | None = pc.min(ids).as_py()
    return first


_NO_METADATA = pa.schema(
    [
        pa.field("segment_id", pa.string()),
        pa.field("speaker_id", pa.string()),
        *(pa.field(dimension, pa.float64()) for dimension in DIMENSIONS),
        pa.field("emotion", pa.string()),
    ]
).empty_table()
