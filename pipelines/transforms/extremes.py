"""The segments that a model is furthest off, so that a person can listen to them.

A partition of the join keeps its largest residuals of each slice, and those of all partitions are
merged: the largest of all are among them. Of equal residuals the first segment in alphabetical
order counts, so that the table depends on nothing else. Suppressed slices have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import PCollection
from numpy.typing import NDArray

from pipelines.transforms.tables import SLICE_PREFIX, array, floats, group_rows, to_batch, to_table
from ser_model.schema import DIMENSIONS, SUPPRESSED

MAX_EXTREMES = 20
"""Segments of each slice and dimension: more than a person listens to at a sitting."""

EXTREME_ROWS = pa.schema(
    [
        *(
            pa.field(name, pa.string())
            for name in ("model_version", "condition", "slice_by", "slice", "target")
        ),
        pa.field("rank", pa.int32()),
        pa.field("segment_id", pa.string()),
        pa.field("speaker_id", pa.string()),
        pa.field("truth", pa.float64()),
        pa.field("prediction", pa.float64()),
    ]
)
"""One of the segments of a slice whose residual, truth minus prediction, is furthest from 0; `rank`
1 is the furthest."""

FOUND_SIDE = "found"
SUPPRESSED_SIDE = "suppressed"

_FAMILY = ("model_version", "condition")
_LIST = (*_FAMILY, "slice_by", "slice", "target")
_SLICE = ("slice_by", "slice", "target")

_CANDIDATES = 4096
"""Of a partition, the rows that are looked at one by one for each slice, where they suffice."""


class FindExtremes(beam.PTransform[Any, Any]):
    """Finds EXTREME_ROWS in {"joined": ..., "statistics": ...}, where suppressed slices stand."""

    def expand(self, sides: Mapping[str, PCollection[Any]]) -> PCollection[Any]:
        """Turn joined partitions into the extremes of each model and condition."""
        found = sides["joined"] | "LargestResiduals" >> beam.FlatMap(largest_of_partition)
        suppressed = sides["statistics"] | "Suppressed" >> beam.FlatMap(suppressed_slices)
        rows: PCollection[Any] = (
            {FOUND_SIDE: found, SUPPRESSED_SIDE: suppressed}
            | "GatherExtremes" >> beam.CoGroupByKey()
            | "MergeExtremes" >> beam.Map(merge_extremes)
        )
        return rows


def largest_of_partition(
    element: tuple[int, pa.Table],
) -> Iterator[tuple[tuple[str, str], pa.RecordBatch]]:
    """Yield, by model and condition, the largest residuals of a partition in every slice."""
    _, joined = element
    columns = [name for name in joined.column_names if name.startswith(SLICE_PREFIX)]
    families = _codes(joined, _FAMILY, np.zeros(joined.num_rows, dtype=np.int64))
    codes = {column: _codes(joined, [column], families) for column in columns}
    tables = [_largest(joined, dimension, codes) for dimension in DIMENSIONS]
    rows = pa.concat_tables(tables).combine_chunks()
    first_rows, groups = group_rows(rows, _FAMILY)
    for group, first in enumerate(first_rows.tolist()):
        key = (rows["model_version"][first].as_py(), rows["condition"][first].as_py())
        yield key, to_batch(rows.take(pa.array(np.flatnonzero(groups == group))))


def suppressed_slices(
    statistics: pa.RecordBatch,
) -> Iterator[tuple[tuple[str, str], pa.RecordBatch]]:
    """Yield, by model and condition, the slices and targets of which nothing may be shown.

    Args:
        statistics: judged rows of schema.STATISTICS of one model and condition.
    """
    rows = statistics.filter(pc.equal(statistics["verdict"], SUPPRESSED))
    if rows.num_rows:
        key = (rows["model_version"][0].as_py(), rows["condition"][0].as_py())
        yield key, rows.select(list(_SLICE))


def merge_extremes(
    element: tuple[tuple[str, str], Mapping[str, Iterable[pa.RecordBatch]]],
) -> pa.RecordBatch:
    """Return EXTREME_ROWS of one model and condition, without suppressed slices.

    Args:
        element: model version and condition; what its partitions found, and what is suppressed.
    """
    _, sides = element
    rows = to_table(sides[FOUND_SIDE], EXTREME_ROWS)
    hidden = {tuple(row.values()) for batch in sides[SUPPRESSED_SIDE] for row in batch.to_pylist()}
    if hidden:
        lists = zip(*(rows[name].to_pylist() for name in _SLICE), strict=True)
        rows = rows.filter(pa.array([one not in hidden for one in lists], pa.bool_()))
    return to_batch(rank_extremes(rows))


def rank_extremes(rows: pa.Table) -> pa.Table:
    """Return the MAX_EXTREMES largest residuals of each list, ranked.

    Args:
        rows: EXTREME_ROWS in any order, whatever their rank; each segment once in a list.
    """
    size = pc.abs(pc.subtract(rows["truth"], rows["prediction"]))
    order = [(name, "ascending") for name in _LIST]
    ordered = rows.append_column("size", size).sort_by(
        [*order, ("size", "descending"), ("segment_id", "ascending")]
    )
    ordered = ordered.combine_chunks()
    first_rows, groups = group_rows(ordered, _LIST)
    ranks = np.arange(ordered.num_rows) - first_rows[groups] + 1
    ordered = ordered.drop_columns(["size"]).set_column(
        EXTREME_ROWS.get_field_index("rank"),
        EXTREME_ROWS.field("rank"),
        pa.array(ranks.astype(np.int32)),
    )
    return ordered.filter(pa.array(ranks <= MAX_EXTREMES)).combine_chunks()


def _largest(joined: pa.Table, dimension: str, codes: Mapping[str, NDArray[np.int64]]) -> pa.Table:
    """The largest residuals of one dimension in every slice of a partition.

    Args:
        joined: the partition.
        dimension: one of DIMENSIONS.
        codes: by column of slices, the number of the model, condition and slice of each row.
    """
    truth = floats(joined, f"truth_{dimension}")
    prediction = floats(joined, f"prediction_{dimension}")
    sizes = np.abs(truth - prediction)
    scored = np.flatnonzero(np.isfinite(sizes))
    largest = _around_the_top(sizes, scored)
    found = [EXTREME_ROWS.empty_table()]
    for column, groups in codes.items():
        rows = _enough(largest, scored, groups)
        columns = {name: joined.column(name).take(pa.array(rows)) for name in _FAMILY}
        columns |= {
            "slice_by": pa.repeat(column.removeprefix(SLICE_PREFIX), rows.size),
            "slice": joined.column(column).take(pa.array(rows)),
            "target": pa.repeat(dimension, rows.size),
            "rank": pa.nulls(rows.size, pa.int32()),
            "segment_id": joined.column("segment_id").take(pa.array(rows)),
            "speaker_id": joined.column("speaker_id").take(pa.array(rows)),
            "truth": pa.array(truth[rows]),
            "prediction": pa.array(prediction[rows]),
        }
        found.append(pa.table(columns, schema=EXTREME_ROWS))
    return rank_extremes(pa.concat_tables(found))


def _around_the_top(sizes: NDArray[np.float64], scored: NDArray[np.intp]) -> NDArray[np.intp]:
    """The rows with the largest sizes, about _CANDIDATES of them, and all that equal the last."""
    if scored.size <= _CANDIDATES:
        return scored
    last = np.partition(sizes[scored], scored.size - _CANDIDATES)[scored.size - _CANDIDATES]
    rows: NDArray[np.intp] = scored[sizes[scored] >= last]
    return rows


def _enough(
    largest: NDArray[np.intp], scored: NDArray[np.intp], codes: NDArray[np.int64]
) -> NDArray[np.intp]:
    """Rows that surely hold the MAX_EXTREMES largest of every group.

    A group of which the largest rows hold fewer needs all of its rows, as groups do that a model
    does better on.
    """
    sizes = np.bincount(codes[scored])
    found = np.bincount(codes[largest], minlength=sizes.size)
    is_short = found < np.minimum(sizes, MAX_EXTREMES)
    if not is_short.any():
        return largest
    return np.union1d(largest, scored[is_short[codes[scored]]])


def _codes(table: pa.Table, names: Iterable[str], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Split numbered groups by further columns; numbers may be left out."""
    for name in names:
        encoded = array(table, name).dictionary_encode()
        codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy()
    return codes
