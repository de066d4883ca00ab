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
from ser_model.metrics.bins import NUM_COUNTS, BinCounts, fine_bins
from ser_model.metrics.dimension_sums import DimensionSums
from ser_model.metrics.moments import CoMoments
from ser_model.schema import DIMENSIONS

DENSITIES = "densities"
"""Name of the side output that carries DENSITY_ROWS."""

KEY = ("model_version", "condition", "slice_by", "slice", "target", "speaker_id")
"""What a speaker's sums are of."""

_MODEL_AND_SPEAKER = ("model_version", "condition", "speaker_id")

_KEY_FIELDS = [pa.field(name, pa.string()) for name in KEY]
_MOMENT_FIELDS = [pa.field(name, pa.float64()) for name in CoMoments.zeros().as_columns()]

SPEAKER_SUMS = pa.schema(
    [
        *_KEY_FIELDS,
        pa.field("truth", pa.string()),
        pa.field("prediction", pa.string()),
        *_MOMENT_FIELDS,
        pa.field("bins", pa.list_(pa.int32(), NUM_COUNTS)),
        pa.field("partition", pa.int32()),
    ]
)
"""The sums of one speaker in one slice. For a dimension these are its moments and bins; for
emotions `n` counts the segments of one pair of `truth` and `prediction`, and all else is 0."""

MERGED_SUMS = SPEAKER_SUMS.remove(SPEAKER_SUMS.get_field_index("partition"))
"""The same, once the parts of each speaker are merged."""


def sum_up_speakers(
    element: tuple[int, pa.Table], num_partitions: int
) -> Iterator[tuple[int, pa.RecordBatch] | TaggedOutput[Any, Any]]:
    """Sum up one joined partition by slice, target and speaker.

    Args:
        element: the number of the partition, and its joined segments.
        num_partitions: how many partitions of speakers there are.

    Yields:
        (partition of speakers, SPEAKER_SUMS), and DENSITY_ROWS for DENSITIES.
    """
    partition, joined = element
    sums = pa.concat_tables([*_sums_of_dimensions(joined), *_sums_of_emotions(joined)])
    sums = sums.append_column(
        SPEAKER_SUMS.field("partition"), pa.repeat(pa.scalar(partition, pa.int32()), len(sums))
    )
    yield from split_by_hash(sums, "speaker_id", num_partitions)
    for dimension in DIMENSIONS:
        yield TaggedOutput(DENSITIES, densities(joined, dimension))


def merge_speakers(sums: pa.Table) -> pa.Table:
    """Merge the parts of each speaker.

    Args:
        sums: SPEAKER_SUMS of whole speakers, in any order.

    Returns:
        One row for each key (and pair of emotions), sorted, without `partition`.
    """
    names = [*KEY, "truth", "prediction"]
    sums = sums.sort_by([(name, "ascending") for name in [*names, "partition"]]).combine_chunks()
    first_rows, groups = group_rows(sums, names)
    merged = sums_of(sums).merge_groups(groups, len(first_rows))
    table = _with_sums(sums.select(names).take(pa.array(first_rows)), merged)
    return table.take(pa.array(np.argsort(first_rows))).combine_chunks()


def sums_of(sums: pa.Table) -> DimensionSums:
    """Return the sums [rows] of rows of SPEAKER_SUMS."""
    bins = array(sums, "bins").flatten().to_numpy().reshape(-1, NUM_COUNTS)
    return DimensionSums(moments=moments_of(sums), bins=BinCounts(counts=bins))


def moments_of(sums: pa.Table) -> CoMoments:
    """Return the moments [rows] of rows of SPEAKER_SUMS."""
    return CoMoments(**{field.name: floats(sums, field.name) for field in _MOMENT_FIELDS})


def densities(joined: pa.Table, dimension: str) -> pa.RecordBatch:
    """Count the segments in each cell of the grid; what lies outside 0..1 is in the edge bins."""
    scored = _scored(joined, dimension)
    bins = {
        f"{side}_bin": pa.array(fine_bins(floats(scored, f"{side}_{dimension}")))
        for side in ("truth", "prediction")
    }
    keys = {name: array(scored, name) for name in ("model_version", "condition")}
    cells = pa.table({**keys, **bins})
    first_rows, groups = group_rows(cells, cells.column_names)
    cells = cells.take(pa.array(first_rows))
    cells = cells.append_column("target", pa.repeat(dimension, len(cells)))
    cells = cells.append_column("num_segments", pa.array(np.bincount(groups)))
    return to_batch(cells.select(DENSITY_ROWS.names).cast(DENSITY_ROWS))


def _scored(joined: pa.Table, target: str) -> pa.Table:
    is_scored = is_present(joined, f"truth_{target}") & is_present(joined, f"prediction_{target}")
    return joined.filter(pa.array(is_scored)).combine_chunks()


def _sums_of_dimensions(joined: pa.Table) -> Iterator[pa.Table]:
    slice_columns = _slice_columns(joined)
    first_rows, cell_of_row = group_rows(joined, [*_MODEL_AND_SPEAKER, *slice_columns])
    cells = joined.take(pa.array(first_rows)).combine_chunks()
    slices = {name: group_rows(cells, [*_MODEL_AND_SPEAKER, name]) for name in slice_columns}
    for dimension in DIMENSIONS:
        truth = floats(joined, f"truth_{dimension}")
        prediction = floats(joined, f"prediction_{dimension}")
        rows = np.flatnonzero(np.isfinite(truth) & np.isfinite(prediction))
        of_cells = DimensionSums.from_groups(
            truth[rows], prediction[rows], cell_of_row[rows], len(first_rows)
        )
        for slice_by, (first_cells, group_of_cell) in slices.items():
            sums = of_cells.merge_groups(group_of_cell, len(first_cells))
            is_scored = np.flatnonzero(sums.num_segments)
            keys = _keys(cells, first_cells[is_scored], slice_by, dimension)
            yield _with_sums(keys, sums[is_scored])


def _sums_of_emotions(joined: pa.Table) -> Iterator[pa.Table]:
    scored = _scored(joined, "emotion")
    pair = ["truth_emotion", "prediction_emotion"]
    for slice_by in _slice_columns(scored):
        first_rows, groups = group_rows(scored, [*_MODEL_AND_SPEAKER, slice_by, *pair])
        sums = DimensionSums.zeros((len(first_rows),))
        counts = {**sums.moments.as_columns(), "n": np.bincount(groups).astype(np.float64)}
        keys = _keys(scored, first_rows, slice_by, "emotion")
        yield _with_sums(keys, DimensionSums(moments=CoMoments(**counts), bins=sums.bins))


def _slice_columns(joined: pa.Table) -> Sequence[str]:
    return [name for name in joined.column_names if name.startswith(SLICE_PREFIX)]


def _keys(
    rows: pa.Table, first_rows: np.ndarray[Any, Any], slice_column: str, target: str
) -> pa.Table:
    """Return KEY and the pair of emotions of each group of rows."""
    heads = rows.take(pa.array(first_rows))
    columns = {
        "model_version": heads.column("model_version"),
        "condition": heads.column("condition"),
        "slice_by": pa.repeat(slice_column.removeprefix(SLICE_PREFIX), len(heads)),
        "slice": heads.column(slice_column),
        "target": pa.repeat(target, len(heads)),
        "speaker_id": heads.column("speaker_id"),
    }
    for side in ("truth", "prediction"):
        is_emotion = target == "emotion"
        columns[side] = heads.column(f"{side}_emotion") if is_emotion else pa.repeat("", len(heads))
    return pa.table(columns)


def _with_sums(keys: pa.Table, sums: DimensionSums) -> pa.Table:
    for name, values in sums.moments.as_columns().items():
        keys = keys.append_column(name, pa.array(values))
    flat = pa.array(sums.bins.counts.ravel().astype(np.int32))
    bins = pa.FixedSizeListArray.from_arrays(flat, NUM_COUNTS)
    return keys.append_column(SPEAKER_SUMS.field("bins"), bins)
