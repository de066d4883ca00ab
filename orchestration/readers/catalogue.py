"""All readers, and which of them reads a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

import pyarrow as pa

from orchestration.readers import READER_NAMES
from orchestration.readers.expectation import Expectation
from orchestration.readers.source import folder_of
from ser_model import storage
from ser_model.manifest import check_manifest, check_metadata
from ser_model.manifest_checks import TruthRange
from ser_model.schema import ManifestError


class Reader(Protocol):
    """What a reader's module offers."""

    LAYOUT: str

    def matches(self, source: str, files: Sequence[str]) -> bool:
        """Tell whether this corpus has the reader's layout."""

    def read(self, source: str, files: Sequence[str]) -> pa.Table:
        """Read the corpus."""


READERS = {
    name: cast(Reader, import_module(f"orchestration.readers.{name}")) for name in READER_NAMES
}
"""By name, in the order in which a corpus is tried."""

UNIT_RANGE: TruthRange = (0.0, 1.0)
"""Scale of the truth where neither the user nor the reader knows another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A corpus that was read.

    Attributes:
        reader: name of the reader that read it.
        manifest: checked; metadata alone, without `recording`, where the audio stands in tables.
        mismatches: sentences that say where it differs from what was published of it, or names
            recordings that are not there.
    """

    reader: str
    manifest: pa.Table
    mismatches: tuple[str, ...] = ()


def read_corpus(
    source: str, *, reader: str | None = None, truth_range: TruthRange | None = None
) -> Corpus:
    """Read a corpus into a manifest with absolute recordings.

    Args:
        source: folder or file, local or any URI.
        reader: a name of READERS; None takes the first that matches.
        truth_range: scale of the dimensions in the corpus; None takes the reader's TRUTH_RANGE,
            and 0 to 1 where it has none.

    Raises:
        ManifestError: there is no such corpus, no reader knows its layout, or it is broken.
    """
    files = storage.list_files(source)
    if not files and not storage.exists(source):
        raise ManifestError(f"{source} does not exist")
    if reader is None:
        reader = next((name for name, r in READERS.items() if r.matches(source, files)), None)
    if reader is None:
        layouts = "; ".join(f"{name}: {r.LAYOUT}" for name, r in READERS.items())
        raise ManifestError(f"{source} holds nothing that a reader knows ({layouts})")
    chosen = READERS[reader]
    read = chosen.read(source, files)
    if truth_range is None:
        truth_range = _known_truth_range(chosen, source, files)
    folder = folder_of(source, files)
    if "recording" in read.column_names:
        manifest = check_manifest(read, uri=source, folder=folder, truth_range=truth_range)
    else:
        manifest = check_metadata(read, uri=source, truth_range=truth_range)
    expected: tuple[Expectation, ...] = getattr(chosen, "EXPECTED", ())
    mismatches = [expectation.mismatch(manifest) for expectation in expected]
    mismatches.append(_absent_recordings(read, files))
    return Corpus(
        reader=reader, manifest=manifest, mismatches=tuple(text for text in mismatches if text)
    )


def _known_truth_range(reader: Reader, source: str, files: Sequence[str]) -> TruthRange:
    stated = getattr(reader, "truth_range", None)
    in_corpus: TruthRange | None = stated(source, files) if stated is not None else None
    of_reader: TruthRange = getattr(reader, "TRUTH_RANGE", UNIT_RANGE)
    return in_corpus or of_reader


def _absent_recordings(read: pa.Table, files: Sequence[str]) -> str | None:
    """Say how many segments lack their recording; what lies outside of the corpus is not asked."""
    there = set(files)
    recordings = read["recording"].to_pylist() if files and "recording" in read.column_names else []
    absent = [r for r in recordings if _is_inside(r) and r.removeprefix("./") not in there]
    if not absent:
        return None
    return (
        f"{len(absent)} of {len(recordings)} segments name a recording that is not there, "
        f"first {absent[0]}: they will be rejected"
    )


def _is_inside(recording: object) -> bool:
    return (
        isinstance(recording, str)
        and bool(recording)
        and not storage.is_absolute(recording)
        and ".." not in recording.split("/")
    )
