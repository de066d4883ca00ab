"""What counts of a complete run: the reading side of the ledger."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.commits import NUM_READERS, combined_sha256, read_run, shard_name
from orchestration.rollups import read_complete_commits
from orchestration.table_hash import table_sha256
from orchestration.tables import Product, product_schema
from ser_model import storage
from ser_model.schema import REJECTIONS, RunError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CommittedRun:
    """What counts of a complete run.

    Attributes:
        run: the content of run.json.
        product: what the run made of its segments.
        schema: the columns of that.
        predictions: URIs of the Parquet files of it, in the order of the shards.
        rejections: those of rejections.
    """

    run: Mapping[str, Any]
    product: Product
    schema: pa.Schema
    predictions: tuple[str, ...]
    rejections: tuple[str, ...]


def committed_files(
    run_uri: str, product: Product | None = "predictions", *, condition: str | None = None
) -> CommittedRun:
    """Find the files of a complete run that count.

    Args:
        run_uri: folder of the run.
        product: what the run must have made of its segments; None for anything.
        condition: whose files; None for those of all conditions.

    Raises:
        RunError: the run is absent, incomplete or damaged, or made something else.
    """
    run = read_run(run_uri)
    made: Product = run.get("identity", {}).get("product", "predictions")
    command = "serval transcribe" if made == "transcripts" else "serval score"
    if product not in (None, made):
        raise RunError(f"{run_uri} holds {made} (of `{command}`), not {product}")
    if run.get("status") != "complete":
        raise RunError(f"{run_uri} is not complete; run the same `{command}` again to finish it")
    commits = read_complete_commits(run_uri, run)
    if combined_sha256(commits) != run["content_sha256"]:
        raise RunError(f"{run_uri}: its commit records changed after it was complete")
    if condition is not None:
        commits = commits.filter(pc.equal(commits["condition"], condition))
    predictions, rejections = (
        tuple(storage.join(run_uri, file) for file in commits[column].to_pylist() if file)
        for column in ("predictions_file", "rejections_file")
    )
    return CommittedRun(
        run=run,
        product=made,
        schema=product_schema(made, embeddings=run["identity"]["embeddings"]),
        predictions=predictions,
        rejections=rejections,
    )


def read_in_order(uris: Sequence[str], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Read files a few ahead of the one that is wanted, for each costs a wait for the storage.

    Args:
        uris: Parquet files.
        columns: of each; None for all.
    """
    ahead: deque[Future[pa.Table]] = deque()
    with ThreadPoolExecutor(NUM_READERS) as readers:
        for uri in uris:
            ahead.append(readers.submit(storage.read_table, uri, columns))
            if len(ahead) > NUM_READERS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def content_hash(run_uri: str) -> str:
    """Hash every row of a complete run, as read back from its files.

    It is the same for the same scores, whatever died, was repeated or came in another order.

    Raises:
        RunError: the run is absent or incomplete, or a file does not hold what was committed.
    """
    committed = committed_files(run_uri, product=None)
    commits = read_complete_commits(run_uri, committed.run)

    def check(row: int) -> None:
        _check_content(run_uri, commits.slice(row, 1).to_pylist()[0], committed.schema)

    with ThreadPoolExecutor(NUM_READERS) as readers:
        for _ in readers.map(check, range(commits.num_rows)):
            pass
    return combined_sha256(commits)


def _check_content(run_uri: str, commit: Mapping[str, Any], schema: pa.Schema) -> None:
    predictions = _read_or_empty(run_uri, commit["predictions_file"], schema)
    rejections = _read_or_empty(run_uri, commit["rejections_file"], REJECTIONS)
    if table_sha256(predictions, rejections) != commit["content_sha256"]:
        where = f"{shard_name(commit['shard'])}, condition {commit['condition']}"
        raise RunError(f"{run_uri}: the data of {where} are not what was committed")


def _read_or_empty(run_uri: str, file: str | None, schema: pa.Schema) -> pa.Table:
    return schema.empty_table() if file is None else storage.read_table(storage.join(run_uri, file))
