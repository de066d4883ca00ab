"""The ledger of a run: what has been scored, exactly once, whoever dies on the way.

A run is a folder, in any storage:

    run.json                                        identity, status, counts; "complete" at the end
    data/CONDITION/shard-00000.ATTEMPT.predictions.parquet    what one attempt at a shard wrote;
                                                    or transcripts, in a run of those
    data/CONDITION/shard-00000.ATTEMPT.rejections.parquet
    commits/CONDITION/shard-00000.json              which attempt counts
    commits/CONDITION/rollup-UUID.parquet           copies of many such records (see `rollups`)
    commits.parquet                                 copies of all, at the end: what readers read
    conditions/seed.json, noise.json                what conditions draw from (see `augmentation`)

A worker writes its data under the name of its attempt, then tries to create the commit record. The
storage lets exactly one of several attempts create it. Readers (see `committed`) follow commit
records and never list data, so what a dead, slow or repeated attempt left behind is invisible.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.commits import (
    Commit,
    RunIdentity,
    combined_sha256,
    commit_uri,
    count,
    read_run,
    shard_name,
)
from orchestration.rollups import RollUps, write_commits
from orchestration.table_hash import table_sha256
from orchestration.tables import Outcome, product_table, rejections_table
from ser_model import storage
from ser_model.schema import Rejection, RunError, Transcript, UnfinishedError


class Ledger:
    """Writes a run. Any number of workers may hold one for the same folder."""

    def __init__(self, run_uri: str, identity: RunIdentity) -> None:
        """Describe the run; nothing is read or written yet."""
        self.run_uri = run_uri
        self.identity = identity
        self._roll_ups = RollUps(run_uri, identity.sha256())

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
        """Return the numbers of the shards that are done: one listing, however many there are.

        What is found is read too: a few roll-ups, and the records that are not in one yet.

        Raises:
            RunError: a record or a roll-up is damaged, or of another run.
        """
        return self._roll_ups.refresh(condition)

    def note(self, commit: Commit) -> None:
        """Remember a record that a worker reported; so many of them are rolled up.

        The driver of a run calls this for each report, so that completion reads no record again.

        Raises:
            RunError: the record is of another run.
        """
        self._roll_ups.note(commit)

    def commit(
        self,
        *,
        condition: str,
        shard: int,
        attempt: str,
        segment_ids: Sequence[str],
        outcomes: Sequence[Outcome],
    ) -> Commit:
        """Write what one attempt at a shard found, and make it count if no other attempt does.

        Args:
            condition: the condition scored.
            shard: number of the shard.
            attempt: a name that no other attempt has.
            segment_ids: the segments of the shard.
            outcomes: what was made of each of them, or a rejection.

        Returns:
            The record that counts: this attempt's, or that of one which was first.

        Raises:
            RunError: the outcomes are not those of the segments, each exactly once.
        """
        _check_outcomes(shard, condition, segment_ids, outcomes)
        rejections = [o for o in outcomes if isinstance(o, Rejection)]
        provenance, product = self.identity.provenance(), self.identity.product
        tables = {
            product: product_table(
                product, outcomes, provenance, embeddings=self.identity.embeddings
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
            predictions_file=files[product],
            rejections_file=files["rejections"],
            num_predictions=tables[product].num_rows,
            num_rejections=len(rejections),
            num_rejections_by_reason=dict(Counter(r.reason.value for r in rejections)),
            audio_s=sum(o.duration_s for o in outcomes if not isinstance(o, Rejection)),
            content_sha256=table_sha256(*tables.values()),
            num_by_transcriber=dict(
                Counter(o.transcriber for o in outcomes if isinstance(o, Transcript))
            ),
        )
        uri = commit_uri(self.run_uri, condition, shard)
        if storage.create_if_absent(uri, storage.to_json_bytes(dataclasses.asdict(commit))):
            return commit
        return Commit.read(uri)

    def complete(
        self,
        num_segments_by_shard: Sequence[int],
        conditions: Sequence[str],
        *,
        note: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:
        """Verify that every segment is accounted for exactly once, then declare the run complete.

        What is verified here: every planned shard has a record, of this run, whose predictions and
        rejections add up to the planned segments. That these are the planned ones, each once, was
        verified from the rows themselves by `commit`, before the record was written; the files are
        not read again for it. `committed.content_hash` reads them all again.

        Args:
            num_segments_by_shard: how many segments each planned shard holds.
            conditions: all conditions that each of them was scored under, also those of before.
            note: what run.json says besides, of how the run was made.

        Returns:
            The final content of run.json.

        Raises:
            UnfinishedError: shards are missing.
            RunError: a commit does not belong to this run or does not hold the planned segments.
        """
        planned = set(range(len(num_segments_by_shard)))
        tables = []
        for condition in conditions:
            done = self.committed(condition)
            if planned - done:
                raise UnfinishedError(
                    f"{len(planned - done)} of {len(planned)} shards are not scored; "
                    "run the same command again"
                )
            if done - planned:
                raise RunError(
                    f"{self.run_uri} holds {len(done)} shards, {len(planned)} were planned; "
                    "choose another --output"
                )
            tables.append(self._roll_ups.table(condition))
        commits = pa.concat_tables(tables)
        self._check_counts(commits, num_segments_by_shard)
        before, product = read_run(self.run_uri), self.identity.product
        run = {
            **before,
            **(note or {}),
            "status": "complete",
            "conditions": list(conditions),
            "counts": count(commits, product),
            "counts_by_condition": {
                condition: count(table, product)
                for condition, table in zip(conditions, tables, strict=True)
            },
            "content_sha256": combined_sha256(commits),
            **write_commits(self.run_uri, commits, extends=before["status"] == "complete"),
        }
        storage.write_json(storage.join(self.run_uri, "run.json"), run)
        return run

    def _check_counts(self, commits: pa.Table, num_segments_by_shard: Sequence[int]) -> None:
        found = pc.add(commits["num_predictions"], commits["num_rejections"]).to_numpy()
        shards = commits["shard"].to_numpy()
        planned = np.asarray(num_segments_by_shard)[shards]
        for row in np.flatnonzero(found != planned)[:1]:
            raise RunError(
                f"{self.run_uri}: commit of {shard_name(shards[row])} holds {found[row]} segments, "
                f"{planned[row]} were planned; choose another --output"
            )


def _shown(value: object) -> str:
    """Return a value for a message; of a SHA-256 the beginning tells enough."""
    text = str(value)
    return f"{text[:12]}..." if re.fullmatch("[0-9a-f]{64}", text) else text


def _check_outcomes(
    shard: int,
    condition: str,
    segment_ids: Sequence[str],
    outcomes: Sequence[Outcome],
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
