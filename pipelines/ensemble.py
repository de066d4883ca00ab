"""Let several models vote: join what they said of segments, and commit what they say together.

    compare_members:  member files -- partitions of segments -- MemberComparison
    vote_on_segments: member files -- shards of segments -- vote -- commit

Nothing is scored again. First the members are compared, so that where they do not cover the same
segments nothing is written; then each shard is voted on and committed. What commits is handed in,
because a run's ledger is no business of a pipeline's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import DoOutputsTuple

from pipelines.member_comparison import MemberComparison
from pipelines.runner import open_pipeline
from pipelines.transforms.members import MEMBER_ROWS, MemberFile, compare_partition, read_member
from pipelines.transforms.reading import ERROR, LEDGER
from pipelines.transforms.tables import split_by_hash, to_batch, to_table
from pipelines.transforms.voting import CommitShard, Ensemble, vote_on_shard
from ser_model import storage

NUM_PARTITIONS = 32
"""Parts of the segments that are compared at a time."""

COMPARISON_FILE = "members.json"


def compare_members(
    files: Sequence[MemberFile],
    output: str,
    *,
    num_members: int,
    beam_options: Sequence[str] = (),
) -> MemberComparison:
    """Compare which segments the members cover, and keep the result as members.json.

    Args:
        files: of all members.
        output: folder to write.
        num_members: M.
        beam_options: options of Beam, as on its command line; without a runner: in this process.

    Raises:
        ConfigError: Beam does not know the runner.
    """
    with open_pipeline(beam_options) as pipeline:
        read = _read(pipeline, files)
        compared = (
            read.rows
            | "Partition" >> beam.FlatMap(split_by_hash, "segment_id", NUM_PARTITIONS)
            | "BringTogether" >> beam.GroupByKey()
            | "Compare" >> beam.Map(_compare, num_members)
        )
        errors = read[LEDGER] | "FindErrors" >> beam.FlatMap(_errors)
        _ = (
            (compared, errors)
            | "AllParts" >> beam.Flatten()
            | "OneKey" >> beam.Map(lambda part: (0, part))
            | "Gather" >> beam.GroupByKey()
            | "WriteComparison" >> beam.Map(_write, output)
        )
    return MemberComparison.from_json(storage.read_json(storage.join(output, COMPARISON_FILE)))


def vote_on_segments(
    files: Sequence[MemberFile],
    ensemble: Ensemble,
    *,
    conditions: Sequence[str],
    num_shards: int,
    commit: CommitShard,
    beam_options: Sequence[str] = (),
) -> None:
    """Vote on every segment, and commit what the ensemble says of it.

    Args:
        files: of members that were compared and checked.
        ensemble: who votes, and how.
        conditions: those of the members.
        num_shards: shards that the segments are cut into by their hashes.
        commit: called once for each shard and condition, or more often where a worker dies.
        beam_options: as of `compare_members`.

    Raises:
        ConfigError: Beam does not know the runner.
    """
    # An empty batch of each shard, so that each is committed, if with no segments.
    empty = [(shard, to_batch(MEMBER_ROWS.empty_table())) for shard in range(num_shards)]
    with open_pipeline(beam_options) as pipeline:
        rows = _read(pipeline, files).rows | "CutShards" >> beam.FlatMap(
            split_by_hash, "segment_id", num_shards
        )
        _ = (
            (rows, pipeline | "Nothing" >> beam.Create(empty))
            | "AllRows" >> beam.Flatten()
            | "BringTogether" >> beam.GroupByKey()
            | "Vote" >> beam.Map(vote_on_shard, ensemble, conditions, commit)
        )


def _read(pipeline: beam.Pipeline, files: Sequence[MemberFile]) -> DoOutputsTuple:
    read: DoOutputsTuple = (
        pipeline
        | "Members" >> beam.Create(list(files))
        | "SpreadFiles" >> beam.Reshuffle()
        | "ReadMembers" >> beam.FlatMap(read_member).with_outputs(LEDGER, main="rows")
    )
    return read


def _compare(element: tuple[int, Iterable[pa.RecordBatch]], num_members: int) -> MemberComparison:
    return compare_partition(to_table(element[1], MEMBER_ROWS), num_members)


def _errors(ledger: pa.RecordBatch) -> Iterable[MemberComparison]:
    """Yield a comparison for each count, so that there is one even of no segments."""
    for row in ledger.to_pylist():
        error = row["detail"] if row["name"] == ERROR else None
        yield MemberComparison(buckets={}, members=(), error=error)


def _write(element: tuple[int, Iterable[MemberComparison]], output: str) -> None:
    comparison = MemberComparison.merge(element[1])
    storage.write_json(storage.join(output, COMPARISON_FILE), comparison.to_json())
