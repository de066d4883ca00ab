"""Reads what the members of an ensemble say of segments, and compares of which they say it.

A member is a run, or predictions of any other tool. An ensemble is only of members that say
something of the same segments under the same conditions, and of the same targets; where they
differ, `MemberComparison.check` says in what, and nothing is voted on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.pvalue import TaggedOutput

from pipelines.member_comparison import NUM_BUCKETS, NUM_EXAMPLES, MemberComparison, MemberFacts
from pipelines.transforms.reading import (
    ERROR,
    LEDGER,
    PredictionFile,
    ledger_row,
    read_predictions,
)
from pipelines.transforms.tables import (
    PREDICTION_ROWS,
    array,
    floats,
    group_rows,
    hash_strings,
    to_batch,
    to_table,
)
from ser_model import storage
from ser_model.schema import DIMENSIONS, PREDICTIONS, REJECTIONS, RunError
from ser_model.table_files import one_line

VALUE_ROWS = pa.schema(
    [
        *PREDICTION_ROWS,
        PREDICTIONS.field("emotion_scores"),
        pa.field("duration_s", pa.float64()),
    ]
)
"""PREDICTION_ROWS with what a vote needs besides."""

_REJECTED = ("stage", "reason", "detail")

MEMBER_ROWS = pa.schema(
    [
        pa.field("member", pa.int32()),
        *(VALUE_ROWS.field(name) for name in ("segment_id", "condition", *DIMENSIONS)),
        *(VALUE_ROWS.field(name) for name in ("emotion", "emotion_scores", "duration_s")),
        *(pa.field(name, pa.string()) for name in _REJECTED),
    ]
)
"""What one member says of a segment: a prediction, or where `stage` is not null a rejection."""

SUM_TOLERANCE = 0.01
"""Probabilities sum to 1, up to what other tools round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFile:
    """A file of a member.

    Attributes:
        member: its number, from 0.
        uri: what `PredictionFile` takes, or Parquet of schema.REJECTIONS.
        is_rejections: which of the two.
    """

    member: int
    uri: str
    is_rejections: bool = False


def read_member(file: MemberFile) -> Iterator[pa.RecordBatch | TaggedOutput[Any, Any]]:
    """Yield batches of MEMBER_ROWS; what is wrong with the file goes to LEDGER."""
    if file.is_rejections:
        try:
            with storage.open_binary(file.uri) as stream:
                table = pq.read_table(stream, columns=["segment_id", "condition", *_REJECTED])
                yield _member_rows(table.cast(_some_of(REJECTIONS, table)), file.member)
        except (OSError, pa.ArrowException) as error:
            message = f"{file.uri} cannot be read: {one_line(error)}"
            yield TaggedOutput(LEDGER, ledger_row(ERROR, 1, message))
        return
    for output in read_predictions(PredictionFile(uri=file.uri), VALUE_ROWS):
        if isinstance(output, TaggedOutput):
            yield output
        else:
            yield _member_rows(pa.Table.from_batches([output]), file.member)


def read_members(files: Sequence[MemberFile]) -> pa.Table:
    """Return MEMBER_ROWS of all members, read here and now.

    Raises:
        RunError: a file cannot be read.
    """
    batches = []
    for file in files:
        for output in read_member(file):
            if not isinstance(output, TaggedOutput):
                batches.append(output)
                continue
            for row in output.value.to_pylist():
                if row["name"] == ERROR:
                    raise RunError(row["detail"])
    return to_table(batches, MEMBER_ROWS)


def compare_partition(table: pa.Table, num_members: int) -> MemberComparison:
    """Compare what members say of the segments of a partition.

    Args:
        table: MEMBER_ROWS without chunks, in any order, with all rows of each of its segments.
        num_members: M.
    """
    first_rows, segments = group_rows(table, ("condition", "segment_id"))
    member = array(table, "member").to_numpy()
    counts_GM = np.bincount(
        segments * num_members + member, minlength=len(first_rows) * num_members
    )
    counts_GM = counts_GM.reshape(len(first_rows), num_members)
    heads = table.select(["segment_id", "condition"]).take(pa.array(first_rows)).combine_chunks()
    ids, conditions = (array(heads, name) for name in heads.column_names)
    buckets = (hash_strings(ids) % np.uint64(NUM_BUCKETS)).astype(np.int64)
    names = pc.unique(conditions).to_pylist()
    at = {name: pc.equal(conditions, name).to_numpy(zero_copy_only=False) for name in names}
    return MemberComparison(
        buckets={
            name: tuple(np.bincount(buckets[at[name]], minlength=NUM_BUCKETS).tolist())
            for name in names
        },
        members=tuple(
            MemberFacts(
                num_by_condition={
                    name: int(counts_GM[at[name], m].sum())
                    for name in names
                    if counts_GM[at[name], m].any()
                },
                num_missing=int((counts_GM[:, m] == 0).sum()),
                missing=_first(ids, counts_GM[:, m] == 0),
                num_repeated=int((counts_GM[:, m] > 1).sum()),
                repeated=_first(ids, counts_GM[:, m] > 1),
                **_values_of(table.filter(pa.array(member == m)).combine_chunks()),
            )
            for m in range(num_members)
        ),
    )


def probabilities(table: pa.Table, categories: tuple[str, ...]) -> np.ndarray[Any, Any]:
    """Return [rows, K] the emotion_scores in the order of categories; NaN where a row has none."""
    scores = np.zeros((table.num_rows, len(categories)))
    lengths, keys, items = _entries(table)
    rows = np.repeat(np.arange(table.num_rows), lengths)
    columns = pc.index_in(keys, pa.array(categories, pa.string()))
    scores[rows, columns.to_numpy()] = items.to_numpy(zero_copy_only=False)
    scores[lengths == 0] = np.nan
    return scores


def _values_of(table: pa.Table) -> dict[str, Any]:
    """Return the facts of one member that lie in its values."""
    is_rejected = array(table, "stage").is_valid().to_numpy(zero_copy_only=False)
    categories = tuple(sorted(pc.unique(_entries(table)[1]).to_pylist()))
    scores = probabilities(table, categories)
    has_scores = np.isfinite(scores).all(axis=1) & (scores.shape[1] > 0)
    known = scores[has_scores]
    is_proper = (known >= 0).all(axis=1) & (np.abs(known.sum(axis=1) - 1.0) <= SUM_TOLERANCE)
    emotions = array(table, "emotion")
    has_emotion = emotions.is_valid().to_numpy(zero_copy_only=False)
    targets = [name for name in DIMENSIONS if np.isfinite(floats(table, name)).any()]
    if (has_emotion | has_scores).any():
        targets.append("emotion")
    return {
        "num_rejected": int(is_rejected.sum()),
        "targets": tuple(targets),
        "categories": categories,
        "emotions": tuple(sorted(pc.unique(emotions.drop_null()).to_pylist())),
        "num_without_scores": int((has_emotion & ~has_scores).sum()),
        "num_improper_scores": int((~is_proper).sum()),
    }


def _entries(table: pa.Table) -> tuple[np.ndarray[Any, Any], pa.Array, pa.Array]:
    """Return how many emotion_scores each row has, and the names and values of all of them."""
    maps = array(table, "emotion_scores")
    offsets = maps.offsets.to_numpy()
    first, last = (int(offsets[0]), int(offsets[-1])) if len(maps) else (0, 0)
    lengths = np.diff(offsets) if len(maps) else np.zeros(0, dtype=np.int64)
    return lengths, maps.keys[first:last], maps.items[first:last]


def _first(ids: pa.Array, mask: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[str, ...]:
    return tuple(sorted(set(ids.filter(pa.array(mask)).to_pylist()))[:NUM_EXAMPLES])


def _member_rows(table: pa.Table, member: int) -> pa.RecordBatch:
    columns = {"member": pa.repeat(pa.scalar(member, pa.int32()), table.num_rows)}
    for field in list(MEMBER_ROWS)[1:]:
        is_there = field.name in table.column_names
        columns[field.name] = (
            table.column(field.name) if is_there else pa.nulls(table.num_rows, field.type)
        )
    return to_batch(pa.table(columns, schema=MEMBER_ROWS))


def _some_of(schema: pa.Schema, table: pa.Table) -> pa.Schema:
    return pa.schema([schema.field(name) for name in table.column_names])
