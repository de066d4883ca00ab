"""The ledger of a run: what has been scored, exactly once, whoever dies on the way.

A run is a folder, in any storage:

    run.json                                        identity, status, counts; "complete" at the end
    data/CONDITION/shard-00000.ATTEMPT.predictions.parquet    what one attempt at a shard wrote
    data/CONDITION/shard-00000.ATTEMPT.rejections.parquet
    commits/CONDITION/shard-00000.json              which attempt counts

A worker writes its data under the name of its attempt, then tries to create the commit record. The
storage lets exactly one of several attempts create it. Readers follow commit records and never list
data, so what a dead, slow or repeated attempt left behind is invisible.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from orchestration.commits import (
    Commit,
    RunIdentity,
    combined_sha256,
    commit_uri,
    committed_shards,
    count,
    read_commits,
    read_run,
    shard_name,
)
from orchestration.table_hash import table_sha256
from orchestration.tables import (
    predictions_schema,
    predictions_table,
    rejections_table,
)
from ser_model import storage
from ser_model.schema import REJECTIONS, Prediction, Rejection, RunError, UnfinishedError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CommittedRun:
    """What counts of a complete run.

    Attributes:
        run: the content of run.json.
        predictions: URIs of the Parquet files of predictions, in the order of the shards.
        rejections: those of rejections.
    """

    run: Mapping[str, Any]
    predictions: tuple[str, ...]
    rejections: tuple[str, ...]


class Ledger:
    """Writes a run. Any number of workers may hold one for the same folder."""

    def __init__(self, run_uri: str, identity: RunIdentity) -> None:
        """Describe the run; nothing is read or written yet."""
        self.run_uri = run_uri
        self.identity = identity

    def start(self, description: Mapping[str, object]) -> dict[str, Any]:
        """Create the run, or find that it is the same one.

        Args:
            description: what run.json says beside the identity (source, split).

        Returns:
            The content of run.json.

        Raises:
            RunError: the folder holds a run of another identity; the message says what differs.
        """
        run: dict[str, Any] = {
            **description,
            "status": "running",
            "identity": dataclasses.asdict(self.identity),
        }
        uri = storage.join(self.run_uri, "run.json")
        if not storage.exists(uri) and storage.list_names(storage.join(self.run_uri, "commits")):
            raise RunError(f"{self.run_uri} holds commits but no run.json; choose another --output")
        if storage.create_if_absent(uri, storage.to_json_bytes(run)):
            return run
        found = read_run(self.run_uri)
        self._refuse_other(found.get("identity", {}))
        return found

    def _refuse_other(self, found: Mapping[str, object]) -> None:
        ours = dataclasses.asdict(self.identity)
        different = [
            f"{name} (there {_shown(found.get(name))}, now {_shown(value)})"
            for name, value in ours.items()
            if found.get(name) != value
        ]
        if different:
            raise RunError(
                f"{self.run_uri} was made with another {', another '.join(different)}; "
                "choose another --output"
            )

    def committed(self, condition: str) -> set[int]:
        """Return the numbers of the shards that are done: one listing, however many there are."""
        return committed_shards(self.run_uri, condition)

    def commit(
        self,
        *,
        condition: str,
        shard: int,
        attempt: str,
        segment_ids: Sequence[str],
        outcomes: Sequence[Prediction | Rejection],
    ) -> Commit:
        """Write what one attempt at a shard found, and make it count if no other attempt does.

        Args:
            condition: the condition scored.
            shard: number of the shard.
            attempt: a name that no other attempt has.
            segment_ids: the segments of the shard.
            outcomes: a prediction or a rejection for each of them.

        Returns:
            The record that counts: this attempt's, or that of one which was first.

        Raises:
            RunError: the outcomes are not those of the segments, each exactly once.
        """
        _check_outcomes(shard, condition, segment_ids, outcomes)
        predictions = [o for o in outcomes if isinstance(o, Prediction)]
        rejections = [o for o in outcomes if isinstance(o, Rejection)]
        provenance = self.identity.provenance()
        tables = {
            "predictions": predictions_table(
                predictions, provenance, embeddings=self.identity.embeddings
            ),
            "rejections": rejections_table(rejections, provenance),
        }
        files: dict[str, str | None] = {}
        for kind, table in tables.items():
            name = f"data/{condition}/{shard_name(shard)}.{attempt}.{kind}.parquet"
            files[kind] = name if table.num_rows else None
            if table.num_rows:
                storage.write_table(storage.join(self.run_uri, name), table)
        commit = Commit(
            condition=condition,
            shard=shard,
            attempt=attempt,
            identity_sha256=self.identity.sha256(),
            predictions_file=files["predictions"],
            rejections_file=files["rejections"],
            num_predictions=len(predictions),
            num_rejections=len(rejections),
            num_rejections_by_reason=dict(Counter(r.reason.value for r in rejections)),
            audio_s=sum(p.duration_s for p in predictions),
            content_sha256=table_sha256(*tables.values()),
        )
        uri = commit_uri(self.run_uri, condition, shard)
        if storage.create_if_absent(uri, storage.to_json_bytes(dataclasses.asdict(commit))):
            return commit
        return Commit.read(uri)

    def complete(
        self, num_segments_by_shard: Sequence[int], conditions: Sequence[str]
    ) -> dict[str, Any]:
        """Verify that every segment is accounted for exactly once, then declare the run complete.

        Args:
            num_segments_by_shard: how many segments each planned shard holds.
            conditions: the conditions that each of them was scored under.

        Returns:
            The final content of run.json.

        Raises:
            UnfinishedError: shards are missing.
            RunError: a commit does not belong to this run or does not hold the planned segments.
        """
        commits: list[Commit] = []
        for condition in conditions:
            missing = set(range(len(num_segments_by_shard))) - self.committed(condition)
            if missing:
                raise UnfinishedError(
                    f"{len(missing)} of {len(num_segments_by_shard)} shards are not scored; "
                    "run the same command again"
                )
            commits += read_commits(self.run_uri, condition, range(len(num_segments_by_shard)))
        for commit in commits:
            self._check_commit(commit, num_segments_by_shard[commit.shard])
        run = {
            **read_run(self.run_uri),
            "status": "complete",
            "conditions": list(conditions),
            "counts": count(commits),
            "content_sha256": combined_sha256(commits),
        }
        storage.write_json(storage.join(self.run_uri, "run.json"), run)
        return run

    def _check_commit(self, commit: Commit, num_segments: int) -> None:
        where = f"{self.run_uri}: commit of {shard_name(commit.shard)}"
        if commit.identity_sha256 != self.identity.sha256():
            raise RunError(f"{where} is of another run; choose another --output")
        if commit.num_segments != num_segments:
            raise RunError(
                f"{where} holds {commit.num_segments} segments, {num_segments} were planned; "
                "choose another --output"
            )


def _shown(value: object) -> str:
    """Return a value for a message; of a SHA-256 the beginning tells enough."""
    text = str(value)
    return f"{text[:12]}..." if re.fullmatch("[0-9a-f]{64}", text) else text


def committed_files(run_uri: str) -> CommittedRun:
    """Find the files of a complete run that count.

    Raises:
        RunError: the run is absent, incomplete or damaged.
    """
    run = read_run(run_uri)
    if run.get("status") != "complete":
        raise RunError(f"{run_uri} is not complete; run the same `serval score` again to finish it")
    commits = _read_run_commits(run_uri, run)
    if combined_sha256(commits) != run["content_sha256"]:
        raise RunError(f"{run_uri}: its commit records changed after it was complete")
    return CommittedRun(
        run=run,
        predictions=tuple(
            storage.join(run_uri, c.predictions_file) for c in commits if c.predictions_file
        ),
        rejections=tuple(
            storage.join(run_uri, c.rejections_file) for c in commits if c.rejections_file
        ),
    )


def content_hash(run_uri: str) -> str:
    """Hash every row of a complete run, as read back from its files.

    It is the same for the same scores, whatever died, was repeated or came in another order.

    Raises:
        RunError: the run is absent or incomplete, or a file does not hold what was committed.
    """
    run = committed_files(run_uri).run
    schema = predictions_schema(embeddings=run["identity"]["embeddings"])
    commits = _read_run_commits(run_uri, run)
    for commit in commits:
        _check_content(run_uri, commit, schema)
    return combined_sha256(commits)


def _read_run_commits(run_uri: str, run: Mapping[str, Any]) -> list[Commit]:
    commits: list[Commit] = []
    for condition in run["conditions"]:
        commits += read_commits(run_uri, condition, committed_shards(run_uri, condition))
    return commits


def _check_content(run_uri: str, commit: Commit, schema: pa.Schema) -> None:
    predictions = _read_or_empty(run_uri, commit.predictions_file, schema)
    rejections = _read_or_empty(run_uri, commit.rejections_file, REJECTIONS)
    if table_sha256(predictions, rejections) != commit.content_sha256:
        where = f"{shard_name(commit.shard)}, condition {commit.condition}"
        raise RunError(f"{run_uri}: the data of {where} are not what was committed")


def _read_or_empty(run_uri: str, file: str | None, schema: pa.Schema) -> pa.Table:
    return schema.empty_table() if file is None else storage.read_table(storage.join(run_uri, file))


def _check_outcomes(
    shard: int,
    condition: str,
    segment_ids: Sequence[str],
    outcomes: Sequence[Prediction | Rejection],
) -> None:
    found = Counter((outcome.segment_id, outcome.condition) for outcome in outcomes)
    planned = Counter((segment_id, condition) for segment_id in segment_ids)
    if found == planned:
        return
    different = sorted((found - planned) | (planned - found))
    raise RunError(
        f"{shard_name(shard)} does not hold the segments that were planned: {len(different)} are "
        f"missing, unknown or there twice, the first {different[0][0]!r}; was the source changed "
        "while it was scored?"
    )
