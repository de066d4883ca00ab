"""Copies of commit records, many to a file, so that a hundred thousand need not be read one by one.

    commits/CONDITION/shard-00000.json ...    the records: they alone say what counts
    commits/CONDITION/rollup-UUID.parquet     copies of some of them, written as scoring goes on
    commits.parquet                           copies of all, written when the run is complete
    commits-SHA256.parquet                    copies of all, written when it has more conditions

A record never changes once it is there, so a copy is as good. A roll-up is written once, under a
name that no other has: whoever dies beside it leaves a whole one or none, and two drivers at a time
only copy a record twice. A copy of a record that is not there counts for nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.commits import (
    COMMITS,
    NUM_READERS,
    Commit,
    commits_folder,
    commits_table,
    committed_shards,
    read_commits,
    shard_name,
    shards_of,
)
from ser_model import storage
from ser_model.schema import RunError

COMMITS_PER_ROLL_UP = 1000
"""A resume reads fewer single records than this, and one roll-up for as many that are older."""

COMMITS_FILE = "commits.parquet"
_ROLL_UP_NAME = re.compile(r"rollup-[0-9a-f]+\.parquet")


@dataclasses.dataclass(slots=True, kw_only=True)
class _Copies:
    """What is known of one condition.

    Attributes:
        shards: those whose records are known.
        tables: copies of records that are in a roll-up too.
        waiting: records that are not in a roll-up yet.
        read: names of the roll-ups that need not be read any more.
    """

    shards: set[int] = dataclasses.field(default_factory=set)
    tables: list[pa.Table] = dataclasses.field(default_factory=list)
    waiting: list[Commit] = dataclasses.field(default_factory=list)
    read: set[str] = dataclasses.field(default_factory=set)


class RollUps:
    """The commit records of a run, as far as its driver knows them; each is read once."""

    def __init__(self, run_uri: str, identity_sha256: str) -> None:
        """Know nothing yet of the run of this identity."""
        self._run_uri = run_uri
        self._identity_sha256 = identity_sha256
        self._copies: dict[str, _Copies] = {}

    def note(self, commit: Commit) -> None:
        """Keep a copy of a record, and write a roll-up when there are enough for one.

        Raises:
            RunError: the record is of another run.
        """
        self._check_identity([commit.identity_sha256], f"commit of {shard_name(commit.shard)}")
        copies = self._copies.setdefault(commit.condition, _Copies())
        if commit.shard in copies.shards:
            return
        copies.shards.add(commit.shard)
        copies.waiting.append(commit)
        if len(copies.waiting) >= COMMITS_PER_ROLL_UP:
            self._write_roll_up(commit.condition, copies)

    def refresh(self, condition: str) -> set[int]:
        """List what is committed, and read what is not known of it: roll-ups first.

        Returns:
            The numbers of the shards that are done.

        Raises:
            RunError: a record or a roll-up is damaged, or of another run.
        """
        names = storage.list_names(commits_folder(self._run_uri, condition))
        done = shards_of(names)
        copies = self._copies.setdefault(condition, _Copies())
        if done - copies.shards:
            self._read_roll_ups(condition, copies, names, done)
        for commit in read_commits(self._run_uri, condition, done - copies.shards):
            self.note(commit)
        return done

    def table(self, condition: str) -> pa.Table:
        """Return all known records of a condition as rows of COMMITS, in the order of shards."""
        copies = self._copies.setdefault(condition, _Copies())
        table = pa.concat_tables([*copies.tables, commits_table(copies.waiting)])
        return table.sort_by("shard").combine_chunks()

    def _read_roll_ups(
        self, condition: str, copies: _Copies, names: Sequence[str], done: set[int]
    ) -> None:
        unread = [n for n in names if _ROLL_UP_NAME.fullmatch(n) and n not in copies.read]
        uris = [storage.join(commits_folder(self._run_uri, condition), name) for name in unread]
        with ThreadPoolExecutor(NUM_READERS) as readers:
            for name, table in zip(unread, readers.map(_read_roll_up, uris), strict=True):
                self._check_identity(table["identity_sha256"].unique().to_pylist(), name)
                wanted = done - copies.shards
                shards = table["shard"].to_pylist()
                table = table.filter(pa.array([shard in wanted for shard in shards], pa.bool_()))
                copies.tables.append(table)
                copies.shards.update(wanted.intersection(shards))
                copies.read.add(name)

    def _write_roll_up(self, condition: str, copies: _Copies) -> None:
        name = f"rollup-{uuid.uuid4().hex}.parquet"
        table = commits_table(copies.waiting)
        storage.write_table(storage.join(commits_folder(self._run_uri, condition), name), table)
        copies.tables.append(table)
        copies.waiting.clear()
        copies.read.add(name)

    def _check_identity(self, found: Sequence[str], what: str) -> None:
        if any(identity_sha256 != self._identity_sha256 for identity_sha256 in found):
            raise RunError(f"{self._run_uri}: {what} is of another run; choose another --output")


def write_commits(run_uri: str, commits: pa.Table, *, extends: bool = False) -> dict[str, str]:
    """Write all records of a run into one file.

    Args:
        run_uri: folder of the run.
        commits: rows of COMMITS.
        extends: whether the run was complete before. Its readers need the file of before until
            run.json names the new one, which gets another name for that reason.

    Returns:
        The file's name and SHA-256, for run.json.
    """
    buffer = io.BytesIO()
    pq.write_table(commits, buffer, compression="zstd")
    sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    file = f"commits-{sha256[:16]}.parquet" if extends else COMMITS_FILE
    storage.write_atomic(storage.join(run_uri, file), buffer.getvalue())
    return {"commits_file": file, "commits_sha256": sha256}


def read_complete_commits(run_uri: str, run: Mapping[str, Any]) -> pa.Table:
    """Return all records of a complete run as rows of COMMITS: one read, however many there are.

    Args:
        run_uri: folder of the run.
        run: the content of its run.json.

    Raises:
        RunError: the file is not the one that was written when the run was complete.
    """
    if "commits_sha256" not in run:  # completed before there was such a file
        commits: list[Commit] = []
        for condition in run["conditions"]:
            commits += read_commits(run_uri, condition, committed_shards(run_uri, condition))
        return commits_table(commits)
    uri = storage.join(run_uri, run.get("commits_file", COMMITS_FILE))
    try:
        data = storage.read_bytes(uri)
    except FileNotFoundError as error:
        raise RunError(f"{uri} is gone: the run is damaged") from error
    if hashlib.sha256(data).hexdigest() != run["commits_sha256"]:
        raise RunError(f"{uri} changed after the run was complete")
    return pq.read_table(pa.BufferReader(data))


def _read_roll_up(uri: str) -> pa.Table:
    data = storage.read_bytes(uri)
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read()
    except (OSError, pa.ArrowException) as error:  # pyarrow's OSError: the storage gave its bytes
        raise _damaged(uri) from error
    if table.schema != COMMITS:
        raise _damaged(uri)
    return table


def _damaged(uri: str) -> RunError:
    return RunError(f"{uri} is damaged; delete it: it only holds copies of other records")
