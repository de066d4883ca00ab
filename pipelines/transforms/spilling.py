"""Lays rows that were split by partition aside in files, until their partition is gathered.

A runner's own shuffle carries rows from one worker to another, and Beam's runner in one process
holds them in memory for that, three times over at its peak. So a worker writes what it has read in
blocks, sorted by partition, and only says where the rows of a partition are; whoever gathers them
reads them there. The blocks are named at random: a worker that dies leaves files that nobody looks
for, and all are removed when the audit ends. What is less than a block travels as it is.
"""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.runner import pipeline_options
from ser_model import storage

logger = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 25
"""32 MiB: a partition's rows are then a megabyte in one place, worth a request to a store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spilled:
    """Where packed batches of one partition are.

    Attributes:
        uri: file.
        offset: of the first batch, in bytes.
        sizes: of the batches, which follow each other, in bytes.
    """

    uri: str
    offset: int
    sizes: tuple[int, ...]


class Spill(beam.DoFn):
    """Takes (partition, packed batch), and yields such or (partition, Spilled)."""

    def __init__(self, folder: str) -> None:
        """Write blocks to a folder."""
        self._folder = folder

    def start_bundle(self) -> None:
        """Begin with nothing."""
        self._pieces: list[tuple[int, bytes]] = []
        self._num_bytes = 0

    def process(self, piece: tuple[int, bytes]) -> Iterator[tuple[int, Spilled]]:
        """Keep a piece, and write what has come together where that is a block."""
        self._pieces.append(piece)
        self._num_bytes += len(piece[1])
        if self._num_bytes >= BLOCK_BYTES:
            yield from self._write_block()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Yield what is left, as it is."""
        window = GlobalWindow()
        for piece in self._pieces:
            yield WindowedValue(piece, window.max_timestamp(), (window,))

    def _write_block(self) -> Iterator[tuple[int, Spilled]]:
        pieces = sorted(self._pieces, key=lambda piece: piece[0])
        uri = storage.join(self._folder, f"{uuid.uuid4().hex}.arrow")
        storage.write_atomic(uri, b"".join(packed for _, packed in pieces))
        offset = 0
        for number, of_partition in itertools.groupby(pieces, key=lambda piece: piece[0]):
            sizes = tuple(len(packed) for _, packed in of_partition)
            yield number, Spilled(uri=uri, offset=offset, sizes=sizes)
            offset += sum(sizes)
        self.start_bundle()


@contextmanager
def spill_folder(output: str, beam_options: Sequence[str]) -> Iterator[str]:
    """Name a folder that every worker can reach, and remove it when it is no longer needed.

    Args:
        output: folder of the job, below which it is where Beam's `--temp_location` names no other.
        beam_options: of the job.
    """
    temporary = pipeline_options(beam_options).get_all_options()["temp_location"]
    folder = storage.join(temporary or output, f"spill-{uuid.uuid4().hex}")
    try:
        yield folder
    finally:
        try:
            storage.remove_folder(folder)
        except OSError as error:  # of a store, perhaps, that lets nobody delete
            logger.warning("%s could not be removed, remove it by hand: %s", folder, error)


def fetch(pieces: Iterable[bytes | Spilled]) -> Iterator[bytes]:
    """Yield the packed batches of a partition."""
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        with storage.open_binary(piece.uri) as stream:
            stream.seek(piece.offset)
            for size in piece.sizes:
                yield stream.read(size)
