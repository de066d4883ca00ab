"""Residuals of each slice, counted in bins, and the quantiles that box plots are drawn from.

A partition of the join counts its residuals by slice and bin; the counts of all partitions are
added up by model and condition. Suppressed slices have neither quantiles nor counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import DoOutputsTuple, PCollection, TaggedOutput

from pipelines.transforms.metric_values import NO_INTERVAL
from pipelines.transforms.tables import (
    SLICE_PREFIX,
    array,
    floats,
    group_rows,
    to_batch,
    to_table,
)
from ser_model.metrics.residual_bins import NUM_RESIDUAL_BINS, residual_bins, residual_quantiles
from ser_model.schema import DIMENSIONS, STATISTICS, SUPPRESSED

RESIDUALS = "residuals"
"""Name of the side output that carries RESIDUAL_ROWS."""

QUANTILES = {
    "residual_p05": 0.05,
    "residual_p25": 0.25,
    "residual_p50": 0.50,
    "residual_p75": 0.75,
    "residual_p95": 0.95,
}

RESIDUAL_ROWS = pa.schema(
    [
        *(
            pa.field(name, pa.string())
            for name in ("model_version", "condition", "slice_by", "slice", "target")
        ),
        pa.field("bin", pa.int32()),
        pa.field("num_segments", pa.int64()),
    ]
)
"""How many segments of a slice have a residual in a bin of `metrics.residual_bins`."""

COUNTS_SIDE = "counts"
STATISTICS_SIDE = "statistics"

_FAMILY = ("model_version", "condition")
_SLICE = ("slice_by", "slice", "target")
_STANDS_FOR_ALL = "mean_absolute_error"
"""Each slice of a dimension has a row of it, from which its counts are taken."""


class DescribeResiduals(beam.PTransform[Any, Any]):
    """Describes residuals of {"joined": ..., "statistics": by model and condition}.

    The main output has rows of schema.STATISTICS; RESIDUALS the counts.
    """

    def expand(self, sides: Mapping[str, PCollection[Any]]) -> DoOutputsTuple:
        """Count, bring together by model and condition, and read off the quantiles."""
        counts = sides["joined"] | "CountResiduals" >> beam.FlatMap(count_residuals)
        described: DoOutputsTuple = (
            {COUNTS_SIDE: counts, STATISTICS_SIDE: sides["statistics"]}
            | "GatherResiduals" >> beam.CoGroupByKey()
            | "ReadOffQuantiles"
            >> beam.FlatMap(describe_family).with_outputs(RESIDUALS, main="rows")
        )
        return described


def count_residuals(
    element: tuple[int, pa.Table],
) -> Iterator[tuple[tuple[str, str], pa.RecordBatch]]:
    """Yield RESIDUAL_ROWS of one joined partition by model version and condition."""
    _, joined = element
    slices = [name for name in joined.column_names if name.startswith(SLICE_PREFIX)]
    first_rows, cell_of_row = group_rows(joined, [*_FAMILY, *slices])
    heads = joined.select([*_FAMILY, *slices]).take(pa.array(first_rows))
    counted = [
        _count_slices(cells, dimension, slice_by)
        for dimension in DIMENSIONS
        for cells in [_count_cells(joined, dimension, heads, cell_of_row)]
        for slice_by in slices
    ]
    rows = pa.concat_tables(counted).combine_chunks()
    first_rows, groups = group_rows(rows, _FAMILY)
    for group, first_row in enumerate(first_rows.tolist()):
        model_version, condition = (rows[name][first_row].as_py() for name in _FAMILY)
        of_family = rows.take(pa.array(np.flatnonzero(groups == group)))
        yield (model_version, condition), to_batch(of_family)


def describe_family(
    element: tuple[tuple[str, str], Mapping[str, Iterable[pa.RecordBatch]]],
) -> Iterator[pa.RecordBatch | TaggedOutput[Any, Any]]:
    """Yield the quantiles of each slice that is shown, and for RESIDUALS its counts.

    Args:
        element: model version and condition; the counts of all partitions, and the rows of
            schema.STATISTICS that say which slices there are.
    """
    _, sides = element
    counted = to_table(sides[COUNTS_SIDE], RESIDUAL_ROWS)
    found = to_table(sides[STATISTICS_SIDE], STATISTICS)
    is_wanted = pc.and_(
        pc.equal(found["metric"], _STANDS_FOR_ALL),
        pc.not_equal(pc.fill_null(found["verdict"], ""), SUPPRESSED),
    )
    shown = found.filter(is_wanted).to_pylist()
    first_rows, groups = group_rows(counted, _SLICE)
    names = counted.select(_SLICE).take(pa.array(first_rows)).to_pylist()
    group_of = {tuple(name.values()): group for group, name in enumerate(names)}
    cells = groups * NUM_RESIDUAL_BINS + array(counted, "bin").to_numpy()
    totals = np.bincount(
        cells, floats(counted, "num_segments"), len(first_rows) * NUM_RESIDUAL_BINS
    ).reshape(-1, NUM_RESIDUAL_BINS)
    rows = []
    for one in shown:
        counts = totals[group_of[tuple(one[name] for name in _SLICE)]]
        rows += [{**_head(one), **row} for row in quantile_rows(counts)]
        yield TaggedOutput(RESIDUALS, _count_rows(one, counts))
    yield pa.RecordBatch.from_pylist(rows, schema=STATISTICS)


def quantile_rows(counts: np.ndarray[Any, Any]) -> Iterator[dict[str, Any]]:
    """Yield the quantiles [NUM_RESIDUAL_BINS] counts have."""
    values = residual_quantiles(counts, tuple(QUANTILES.values()))
    for metric, value in zip(QUANTILES, values.tolist(), strict=True):
        yield {"metric": metric, "value": value, "reason": NO_INTERVAL}


def _count_cells(
    joined: pa.Table, dimension: str, heads: pa.Table, cell_of_row: np.ndarray[Any, Any]
) -> pa.Table:
    """Count the residuals of one dimension by model, condition, all slices at once, and bin."""
    residuals = floats(joined, f"truth_{dimension}") - floats(joined, f"prediction_{dimension}")
    rows = np.flatnonzero(np.isfinite(residuals))
    codes = cell_of_row[rows] * NUM_RESIDUAL_BINS + residual_bins(residuals[rows])
    present, counts = np.unique(codes, return_counts=True)
    cells = heads.take(pa.array(present // NUM_RESIDUAL_BINS))
    bins = pa.array((present % NUM_RESIDUAL_BINS).astype(np.int32))
    cells = cells.append_column("bin", bins).append_column("num_segments", pa.array(counts))
    return cells.append_column("target", pa.repeat(dimension, len(cells)))


def _count_slices(cells: pa.Table, dimension: str, slice_column: str) -> pa.Table:
    names = [*_FAMILY, slice_column, "bin"]
    rows = cells.group_by(names, use_threads=False).aggregate([("num_segments", "sum")])
    rows = rows.rename_columns([*_FAMILY, "slice", "bin", "num_segments"])
    slice_by = slice_column.removeprefix(SLICE_PREFIX)
    rows = rows.append_column("slice_by", pa.repeat(slice_by, len(rows)))
    rows = rows.append_column("target", pa.repeat(dimension, len(rows)))
    return rows.select(RESIDUAL_ROWS.names).cast(RESIDUAL_ROWS)


def _count_rows(one: Mapping[str, Any], counts: np.ndarray[Any, Any]) -> pa.RecordBatch:
    present = np.flatnonzero(counts)
    columns = {name: pa.repeat(one[name], present.size) for name in (*_FAMILY, *_SLICE)}
    columns |= {"bin": pa.array(present), "num_segments": pa.array(counts[present])}
    return to_batch(pa.table(columns).cast(RESIDUAL_ROWS))


def _head(one: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one[name] for name in (*_FAMILY, *_SLICE, "num_segments", "num_speakers")}
