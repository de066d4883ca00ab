"""What a run is made with, and the records that say which attempts count (see `ledger`)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.tables import Product, Provenance
from ser_model import storage
from ser_model.schema import SCHEMA_VERSION, RunError

NUM_READERS = 16
"""Commit records that are read at a time: each is one small request to the storage."""


_COMMIT_NAME = re.compile(r"shard-([0-9]+)\.json")


def code_version() -> str:
    """Return the version of Serval that is running."""
    return version("serval")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunIdentity:
    """All that a row depends on. A run is resumed only where all of it is the same.

    Attributes:
        model_uri: the model, pinned to a version.
        model_version: that version.
        weights_sha256: hash of its weights.
        dtype: what the arithmetic ran in.
        embeddings: whether rows carry embeddings.
        num_threads: threads of one worker's arithmetic; sums are ordered by it.
        source_sha256: hash of the segments and of how they are cut into shards.
        num_segments: segments in the source.
        num_shards: shards that they are cut into.
        product: what is made of each segment: predictions or transcripts.
        code_version: version of Serval.
        schema_version: version of the tables.
    """

    model_uri: str
    model_version: str
    weights_sha256: str
    dtype: str
    embeddings: bool
    num_threads: int
    source_sha256: str
    num_segments: int
    num_shards: int
    product: Product = "predictions"
    code_version: str = dataclasses.field(default_factory=code_version)
    schema_version: int = SCHEMA_VERSION

    def provenance(self) -> Provenance:
        """Return what every row of the run says of its origin."""
        return {
            "model_uri": self.model_uri,
            "model_version": self.model_version,
            "weights_sha256": self.weights_sha256,
            "code_version": self.code_version,
            "dtype": self.dtype,
            "schema_version": self.schema_version,
        }

    def sha256(self) -> str:
        """Return a hash of all of it."""
        return hashlib.sha256(
            json.dumps(dataclasses.asdict(self), sort_keys=True).encode()
        ).hexdigest()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """The record that makes one attempt at a shard count.

    Attributes:
        condition: the condition that the shard was scored under.
        shard: its number in the plan.
        attempt: the name of the attempt.
        identity_sha256: hash of the identity of the run.
        predictions_file: file of what was made (schema.PREDICTIONS, or schema.TRANSCRIPTS) below
            the run's folder; None if there is none.
        rejections_file: file of schema.REJECTIONS; None if there are none.
        num_predictions: rows of the one.
        num_rejections: rows of the other.
        num_rejections_by_reason: rejections by their reason code.
        audio_s: seconds of audio that were scored.
        content_sha256: hash of all rows.
        num_by_transcriber: transcripts by who made them; none in a run of predictions.
    """

    condition: str
    shard: int
    attempt: str
    identity_sha256: str
    predictions_file: str | None
    rejections_file: str | None
    num_predictions: int
    num_rejections: int
    num_rejections_by_reason: Mapping[str, int]
    audio_s: float
    content_sha256: str
    num_by_transcriber: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def num_segments(self) -> int:
        """Segments that the shard held."""
        return self.num_predictions + self.num_rejections

    @classmethod
    def read(cls, uri: str) -> Self:
        """Read a record.

        Raises:
            RunError: it is not one.
        """
        try:
            return cls(**storage.read_json(uri))
        except (ValueError, TypeError) as error:
            raise RunError(f"{uri} is no commit record: {error}") from error


COMMITS = pa.schema(
    [
        pa.field("condition", pa.string(), nullable=False),
        pa.field("shard", pa.int64(), nullable=False),
        pa.field("attempt", pa.string(), nullable=False),
        pa.field("identity_sha256", pa.string(), nullable=False),
        pa.field("predictions_file", pa.string()),
        pa.field("rejections_file", pa.string()),
        pa.field("num_predictions", pa.int64(), nullable=False),
        pa.field("num_rejections", pa.int64(), nullable=False),
        pa.field("num_rejections_by_reason", pa.map_(pa.string(), pa.int64()), nullable=False),
        pa.field("audio_s", pa.float64(), nullable=False),
        pa.field("content_sha256", pa.string(), nullable=False),
        pa.field("num_by_transcriber", pa.map_(pa.string(), pa.int64()), nullable=False),
    ]
)
"""A row of a table of records: a copy of one Commit."""


def shard_name(shard: int) -> str:
    """Return the name of a shard in files.

    >>> shard_name(17)
    'shard-00017'
    """
    return f"shard-{shard:05d}"


def commits_folder(run_uri: str, condition: str) -> str:
    """Return the folder of the records of one condition."""
    return storage.join(run_uri, "commits", condition)


def commit_uri(run_uri: str, condition: str, shard: int) -> str:
    """Return where the record of one shard stands."""
    return storage.join(commits_folder(run_uri, condition), f"{shard_name(shard)}.json")


def shards_of(names: Iterable[str]) -> set[int]:
    """Return the numbers of the shards whose records are among the names of files.

    >>> shards_of(["shard-00017.json", "rollup-1f.parquet"])
    {17}
    """
    return {int(match[1]) for name in names if (match := _COMMIT_NAME.fullmatch(name))}


def committed_shards(run_uri: str, condition: str) -> set[int]:
    """Return the numbers of the shards that are done: one listing, however many there are."""
    return shards_of(storage.list_names(commits_folder(run_uri, condition)))


def read_commits(run_uri: str, condition: str, shards: Iterable[int]) -> list[Commit]:
    """Read the records of some shards, in the order of their numbers."""
    uris = [commit_uri(run_uri, condition, shard) for shard in sorted(shards)]
    with ThreadPoolExecutor(NUM_READERS) as readers:
        return list(readers.map(Commit.read, uris))


def commits_table(commits: Sequence[Commit]) -> pa.Table:
    """Return records as rows of COMMITS."""
    columns = []
    for field in COMMITS:
        values = [getattr(commit, field.name) for commit in commits]
        if pa.types.is_map(field.type):
            values = [sorted(counts.items()) for counts in values]
        columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=COMMITS)


def combined_sha256(commits: pa.Table) -> str:
    """Hash the content of a whole run from the hashes of its shards, rows of COMMITS."""
    columns = (commits[name].to_pylist() for name in ("condition", "shard", "content_sha256"))
    lines = sorted(
        f"{condition} {shard_name(shard)} {sha256}"
        for condition, shard, sha256 in zip(*columns, strict=True)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def count(commits: pa.Table, product: Product) -> dict[str, object]:
    """Add up what rows of COMMITS say, for run.json."""
    num_made, num_rejections = (
        pc.sum(commits[name], min_count=0).as_py() for name in ("num_predictions", "num_rejections")
    )
    with_rejections = commits.filter(pc.greater(commits["num_rejections"], 0))
    counts: dict[str, object] = {
        "num_segments": num_made + num_rejections,
        f"num_{product}": num_made,
        "num_rejections": num_rejections,
        "num_rejections_by_reason": _added_up(with_rejections["num_rejections_by_reason"]),
        "audio_s": math.fsum(commits["audio_s"].to_pylist()),
    }
    if product == "transcripts":
        counts["num_by_transcriber"] = _added_up(commits["num_by_transcriber"])
    return counts


def _added_up(maps: pa.ChunkedArray) -> dict[str, int]:
    """Add up counts by name, in the order of the names."""
    added: Counter[str] = Counter()
    for counts in maps.to_pylist():
        added.update(dict(counts))
    return dict(sorted(added.items()))


def read_run(run_uri: str) -> dict[str, Any]:
    """Read run.json.

    Raises:
        RunError: it is absent or not readable as what it should be.
    """
    try:
        return storage.read_json(storage.join(run_uri, "run.json"))
    except FileNotFoundError as error:
        raise RunError(f"{run_uri} is no run: it holds no run.json") from error
    except ValueError as error:
        raise RunError(f"{run_uri}/run.json is damaged: {error}") from error
