"""Runs, and files of predictions of any other tool, as they are handed to a command."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.committed import committed_files
from ser_model import storage
from ser_model.schema import EMBEDDING, RunError
from ser_model.table_files import EXTENSIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRun:
    """A run, or a file of predictions from elsewhere.

    Attributes:
        uri: as it was given.
        model: how one model is told from another (model_uri, weights_sha256); None for a file.
        model_version: as the run says; None for a file, which says so itself.
        files: where the predictions are.
        rejections: where the rejections are; of a file there are none.
        sha256: hash of the predictions.
        about: what is kept of it: of a run the content of its run.json.
    """

    uri: str
    model: tuple[str, str] | None
    model_version: str | None
    files: tuple[str, ...]
    rejections: tuple[str, ...]
    sha256: str
    about: Mapping[str, Any]

    def has_embeddings(self) -> bool:
        """Tell whether embeddings stand beside the predictions: a run says so, a file shows it."""
        if self.model is not None:
            return bool(self.about["identity"]["embeddings"])
        return any(_has_embeddings(file) for file in self.files)


def find_run(uri: str) -> FoundRun:
    """Find a run or a file of predictions.

    Raises:
        RunError: it is absent, incomplete or damaged.
    """
    if uri.lower().endswith(EXTENSIONS):
        sha256 = file_sha256(uri)
        return FoundRun(
            uri=uri,
            model=None,
            model_version=None,
            files=(uri,),
            rejections=(),
            sha256=sha256,
            about={"uri": uri, "sha256": sha256},
        )
    committed = committed_files(uri)
    run = committed.run
    identity: Mapping[str, Any] = run["identity"]
    return FoundRun(
        uri=uri,
        model=(identity["model_uri"], identity["weights_sha256"]),
        model_version=identity["model_version"],
        files=committed.predictions,
        rejections=committed.rejections,
        sha256=run["content_sha256"],
        about={"uri": uri, **run},
    )


def _has_embeddings(uri: str) -> bool:
    """Look for the column; of a file that cannot be read, what reads it whole says why."""
    if not uri.lower().endswith(".parquet"):
        return False
    try:
        with storage.open_binary(uri) as file:
            return EMBEDDING.name in pq.read_schema(file).names
    except (OSError, pa.ArrowException):
        return False


def file_sha256(uri: str) -> str:
    """Hash the bytes of a file.

    Raises:
        RunError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with storage.open_binary(uri) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except FileNotFoundError as error:
        raise RunError(f"{uri} does not exist") from error
    except OSError as error:
        raise RunError(f"{uri} cannot be read: {error}") from error
    return digest.hexdigest()
