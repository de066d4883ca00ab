"""From joined segments to the sums and confusions of each speaker in each slice.

A partition of the join sums up its segments by speaker; then the speakers are partitioned by a hash
of their name, and the parts of one speaker are merged in the order of the partitions that they come
from. So a sum of floats never depends on which worker was faster, and the speaker with the most
segments is never more than a row or two of each partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from pipelines.transforms.joining import is_present
from pipelines.transforms.tables import (
    DENSITY_ROWS,
    SLICE_PREFIX,
    array,
    floats,
    group_rows,
    split_by_hash,
    to_batch,
)
from ser_model.metrics.bins import NUM_COUNTS, NUM_FINE_BINS, BinCounts, fine_bins
from ser_model.metrics.dimension_sums import DimensionSums
from ser_model.metrics.moments import CoMoments
from ser_model.schema import DIMENSIONS

DENSITIES = "densities"
"""Name of the side output that carries DENSITY_ROWS."""

KEY = ("model_version", "condition", "slice_by", "slice", "target", "speaker_id")
"""What a speaker's sums are of."""

_MODEL_AND_SPEAKER = ("model_version", "condition", "speaker_id")
_CELL = (*_MODEL_AND_SPEAKER, "target", "truth", "prediction")

_KEY_FIELDS = [pa.field(name, pa.string()) for name in KEY]
_MOMENT_FIELDS = [pa.field(name, pa.float64()) for name in CoMoments.zeros().as_columns()]

SPEAKER_SUMS = pa.schema(
    [
        *_KEY_FIELDS,
        pa.field("truth", pa.string()),
        pa.field("prediction", pa.string()),
        *_MOMENT_FIELDS,
        pa.field("bins", pa.list_(pa.int32(), NUM_COUNTS)),
    ]
)
"""The sums of one speaker in one slice. For a dimension these are its moments and bins; for
emotions `n` counts the segments of one pair of `truth` and `prediction`, and all else is 0. A cell
has a column for each way to slice in the place of `slice_by` and `slice`, and the `partition` of
the join that it comes from."""

SPEAKER_MOMENTS = SPEAKER_SUMS.remove(SPEAKER_SUMS.get_field_index("bins"))
"""The same without bins, which nobody asks for of a single speaker."""


def sum_up_speakers(
    element: tuple[int, pa.Table], num_partitions: int
) -> Iterator[tuple[int, pa.RecordBatch] | TaggedOutput[Any, Any]]:
    """Sum up one joined partition by slice, target and speaker.

    Args:
        element: the number of the partition, and its joined segments.
        num_partitions: how many partitions of speakers there are.

    Yields:
        (partition of speakers, cells), and DENSITY_ROWS for DENSITIES.
    """
    partition, joined = element
    cells = pa.concat_tables([*_cells_of_dimensions(joined), _cells_of_emotions(joined)])
    number = pa.repeat(pa.scalar(partition, pa.int32()), len(cells))
    yield from split_by_hash(cells.append_column("partition", number), "speaker_id", num_partitions)
    for dimension in DIMENSIONS:
        yield TaggedOutput(DENSITIES, densities(joined, dimension))


def merge_speakers(cells: pa.Table) -> pa.Table:
    """Merge the cells of each speaker to SPEAKER_SUMS.

    Args:
        cells: of whole speakers, in any order.

    Returns:
        One row for each key (and pair of emotions), sorted.
    """
    names = [*_CELL, *_slice_columns(cells)]
    order = [(name, "ascending") for name in (*names, "partition")]
    cells = cells.sort_by(order).combine_chunks()
    first_rows, groups = group_rows(cells, names)
    merged = sums_of(cells).merge_groups(groups, len(first_rows))
    heads = cells.select(names).take(pa.array(first_rows)).combine_chunks()
    tables = []
    for slice_by in _slice_columns(heads):
        first_heads, groups = group_rows(heads, [*_CELL, slice_by])
        of_slices = merged.merge_groups(groups, len(first_heads))
        rows = heads.take(pa.array(first_heads)).select([*_CELL, slice_by])
        rows = rows.rename_columns([*_CELL, "slice"])
        name = pa.repeat(slice_by.removeprefix(SLICE_PREFIX), len(rows))
        rows = rows.append_column("slice_by", name).select([*KEY, "truth", "prediction"])
        tables.append(_with_sums(rows, of_slices))
    order = [(name, "ascending") for name in (*KEY, "truth", "prediction")]
    return pa.concat_tables(tables).sort_by(order).combine_chunks()


def sums_of(sums: pa.Table) -> DimensionSums:
    """Return the sums [rows] of rows of SPEAKER_SUMS, or of cells."""
    bins = array(sums, "bins").flatten().to_numpy().reshape(-1, NUM_COUNTS)
    return DimensionSums(moments=moments_of(sums), bins=BinCounts(counts=bins))


def moments_of(sums: pa.Table) -> CoMoments:
    """Return the moments [rows] of rows of SPEAKER_SUMS."""
    return CoMoments(**{field.name: floats(sums, field.name) for field in _MOMENT_FIELDS})


def densities(joined: pa.Table, dimension: str) -> pa.RecordBatch:
    """Count the segments in each cell of the grid; what lies outside 0..1 is in the edge bins."""
    sides = ["model_version", "condition"]
    first_rows, side_of_row = group_rows(joined, sides)
    truth = floats(joined, f"truth_{dimension}")
    prediction = floats(joined, f"prediction_{dimension}")
    rows = np.flatnonzero(np.isfinite(truth) & np.isfinite(prediction))
    shape = (len(first_rows), NUM_FINE_BINS, NUM_FINE_BINS)
    bins = (side_of_row[rows], fine_bins(truth[rows]), fine_bins(prediction[rows]))
    counts = np.bincount(np.ravel_multi_index(bins, shape), minlength=np.prod(shape)).reshape(shape)
    side, truth_bin, prediction_bin = np.nonzero(counts)
    cells = joined.select(sides).take(pa.array(first_rows[side]))
    columns = {
        "target": pa.repeat(dimension, side.size),
        "truth_bin": truth_bin,
        "prediction_bin": prediction_bin,
        "num_segments": counts[side, truth_bin, prediction_bin],
    }
    for name, values in columns.items():
        cells = cells.append_column(name, pa.array(values))
    return to_batch(cells.select(DENSITY_ROWS.names).cast(DENSITY_ROWS))


def _scored(joined: pa.Table, target: str) -> pa.Table:
    is_scored = is_present(joined, f"truth_{target}") & is_present(joined, f"prediction_{target}")
    return joined.filter(pa.array(is_scored)).combine_chunks()


def _cells_of_dimensions(joined: pa.Table) -> Iterator[pa.Table]:
    names = [*_MODEL_AND_SPEAKER, *_slice_columns(joined)]
    first_rows, cell_of_row = group_rows(joined, names)
    heads = joined.select(names).take(pa.array(first_rows)).combine_chunks()
    for dimension in DIMENSIONS:
        truth = floats(joined, f"truth_{dimension}")
        prediction = floats(joined, f"prediction_{dimension}")
        rows = np.flatnonzero(np.isfinite(truth) & np.isfinite(prediction))
        cells = DimensionSums.from_groups(
            truth[rows], prediction[rows], cell_of_row[rows], len(first_rows)
        )
        present = np.flatnonzero(cells.num_segments)
        pair = pa.repeat("", present.size)
        yield _cells(heads.take(pa.array(present)), dimension, (pair, pair), cells[present])


def _cells_of_emotions(joined: pa.Table) -> pa.Table:
    scored = _scored(joined, "emotion")
    names = [*_MODEL_AND_SPEAKER, *_slice_columns(scored)]
    pair = ["truth_emotion", "prediction_emotion"]
    first_rows, groups = group_rows(scored, [*names, *pair])
    heads = scored.take(pa.array(first_rows)).combine_chunks()
    sums = DimensionSums.zeros((len(first_rows),))
    counts = {**sums.moments.as_columns(), "n": np.bincount(groups).astype(np.float64)}
    counted = DimensionSums(moments=CoMoments(**counts), bins=sums.bins)
    emotions = (heads.column("truth_emotion"), heads.column("prediction_emotion"))
    return _cells(heads.select(names), "emotion", emotions, counted)


def _cells(
    heads: pa.Table, target: str, pair: tuple[pa.Array, pa.Array], sums: DimensionSums
) -> pa.Table:
    """Return cells: who and which slices, target and pair of emotions, and the sums."""
    slices = _slice_columns(heads)
    table = heads.append_column("target", pa.repeat(target, len(heads)))
    table = table.append_column("truth", pair[0]).append_column("prediction", pair[1])
    return _with_sums(table.select([*_CELL, *slices]), sums)


def _slice_columns(joined: pa.Table) -> Sequence[str]:
    return [name for name in joined.column_names if name.startswith(SLICE_PREFIX)]


def _with_sums(keys: pa.Table, sums: DimensionSums) -> pa.Table:
    for name, values in sums.moments.as_columns().items():
        keys = keys.append_column(name, pa.array(values))
    flat = pa.array(sums.bins.counts.ravel().astype(np.int32))
    bins = pa.FixedSizeListArray.from_arrays(flat, NUM_COUNTS)
    return keys.append_column(SPEAKER_SUMS.field("bins"), bins)
