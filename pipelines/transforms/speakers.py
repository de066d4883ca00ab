"""From joined segments to the moments and confusions of each speaker in each slice.

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
import pyarrow.compute as pc
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
from ser_model.metrics.moments import CoMoments
from ser_model.schema import DIMENSIONS

NUM_BINS = 20
"""Bins of truth and of prediction over 0..1 for the density plots."""

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
        pa.field("partition", pa.int32()),
    ]
)
"""The sums of one speaker in one slice. For a dimension these are its moments; for emotions `n`
counts the segments of one pair of `truth` and `prediction`, and the other moments are 0."""


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
    parts = CoMoments(**{field.name: floats(sums, field.name) for field in _MOMENT_FIELDS})
    merged = parts.merge_groups(groups, len(first_rows))
    table = _with_moments(sums.select(names).take(pa.array(first_rows)), merged)
    return table.take(pa.array(np.argsort(first_rows))).combine_chunks()


def moments_of(sums: pa.Table) -> CoMoments:
    """Return the moments [rows] of merged speakers."""
    return CoMoments(**{field.name: floats(sums, field.name) for field in _MOMENT_FIELDS})


def densities(joined: pa.Table, dimension: str) -> pa.RecordBatch:
    """Count the segments in each cell of the grid; what lies outside 0..1 is in the edge bins."""
    scored = _scored(joined, dimension)
    bins = {
        f"{side}_bin": pa.array(_bin(floats(scored, f"{side}_{dimension}")))
        for side in ("truth", "prediction")
    }
    keys = {name: array(scored, name) for name in ("model_version", "condition")}
    cells = pa.table({**keys, **bins})
    first_rows, groups = group_rows(cells, cells.column_names)
    cells = cells.take(pa.array(first_rows))
    cells = cells.append_column("target", pa.repeat(dimension, len(cells)))
    cells = cells.append_column("num_segments", pa.array(np.bincount(groups)))
    return to_batch(cells.select(DENSITY_ROWS.names).cast(DENSITY_ROWS))


def _bin(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.asarray(np.clip(values * NUM_BINS, 0, NUM_BINS - 1).astype(np.int32))


def _scored(joined: pa.Table, target: str) -> pa.Table:
    is_scored = is_present(joined, f"truth_{target}") & is_present(joined, f"prediction_{target}")
    return joined.filter(pa.array(is_scored)).combine_chunks()


def _sums_of_dimensions(joined: pa.Table) -> Iterator[pa.Table]:
    for dimension in DIMENSIONS:
        scored = _scored(joined, dimension)
        truth = floats(scored, f"truth_{dimension}")
        prediction = floats(scored, f"prediction_{dimension}")
        for slice_by in _slice_columns(scored):
            first_rows, groups = group_rows(scored, [*_MODEL_AND_SPEAKER, slice_by])
            moments = CoMoments.from_groups(truth, prediction, groups, len(first_rows))
            yield _with_moments(_keys(scored, first_rows, slice_by, dimension), moments)


def _sums_of_emotions(joined: pa.Table) -> Iterator[pa.Table]:
    scored = _scored(joined, "emotion")
    pair = ["truth_emotion", "prediction_emotion"]
    for slice_by in _slice_columns(scored):
        first_rows, groups = group_rows(scored, [*_MODEL_AND_SPEAKER, slice_by, *pair])
        nothing = CoMoments.zeros((len(first_rows),)).as_columns()
        counts = {**nothing, "n": np.bincount(groups).astype(np.float64)}
        yield _with_moments(_keys(scored, first_rows, slice_by, "emotion"), CoMoments(**counts))


def _slice_columns(joined: pa.Table) -> Sequence[str]:
    return [name for name in joined.column_names if name.startswith(SLICE_PREFIX)]


def _keys(
    scored: pa.Table, first_rows: np.ndarray[Any, Any], slice_column: str, target: str
) -> pa.Table:
    """Return KEY and the pair of emotions of each group of rows."""
    heads = scored.take(pa.array(first_rows))
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


def _with_moments(keys: pa.Table, moments: CoMoments) -> pa.Table:
    for name, values in moments.as_columns().items():
        keys = keys.append_column(name, pa.array(values))
    return keys


def unique_speakers(sums: pa.Table) -> pa.Array:
    """Return the sorted names of the speakers."""
    names = pc.unique(array(sums, "speaker_id"))
    return names.take(pc.sort_indices(names))
