"""Predictions and metadata for the audit's benchmark: synthetic, shuffled against each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ser_model.schema import DIMENSIONS

SEGMENTS_PER_SPEAKER = 200
ACCENTS = ("american", "australian", "canadian", "indian", "irish", "nigerian", "scottish", "welsh")
ROWS_PER_BATCH = 250_000
"""Rows in memory at a time while the files are written; also those of a row group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """The two files of one size.

    Attributes:
        predictions: Parquet with `segment_id`, arousal, dominance, valence.
        metadata: Parquet with `segment_id`, `speaker_id`, `sex`, `accent` and the truth.
        num_rows: of each.
    """

    predictions: Path
    metadata: Path
    num_rows: int


def write_corpus(folder: Path, num_rows: int) -> Corpus:
    """Write both files, each in an order of its own, with a batch of rows in memory at a time."""
    corpus = Corpus(
        predictions=folder / f"predictions-{num_rows}.parquet",
        metadata=folder / f"metadata-{num_rows}.parquet",
        num_rows=num_rows,
    )
    for path, seed, columns in (
        (corpus.predictions, 1, ("segment_id", *DIMENSIONS)),
        (corpus.metadata, 2, ("segment_id", "speaker_id", "sex", "accent", *DIMENSIONS)),
    ):
        order = np.random.default_rng(seed).permutation(num_rows)
        tables = _rows(order, num_rows, is_truth=path == corpus.metadata)
        writer: pq.ParquetWriter | None = None
        for table in tables:
            table = table.select(columns)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
        assert writer is not None
        writer.close()
    return corpus


def _rows(order: np.ndarray, num_rows: int, *, is_truth: bool) -> Iterator[pa.Table]:
    """The rows of the segments `order`; a segment's values depend on its number alone."""
    num_speakers = max(num_rows // SEGMENTS_PER_SPEAKER, 16)
    for first in range(0, num_rows, ROWS_PER_BATCH):
        number = order[first : first + ROWS_PER_BATCH]
        speaker = number % num_speakers
        columns = {
            "segment_id": pa.array([f"podcast-{n:09d}" for n in number.tolist()]),
            "speaker_id": pa.array([f"speaker-{s:07d}" for s in speaker.tolist()]),
            "sex": pa.array(np.array(["female", "male"])[speaker % 2]),
            "accent": pa.array(np.array(ACCENTS)[speaker // 2 % len(ACCENTS)]),
        }
        for index, dimension in enumerate(DIMENSIONS):
            truth = _uniform(number, 3 * index)
            noise = _uniform(number, 3 * index + 1) + _uniform(speaker, 3 * index + 2) - 1.0
            values = truth if is_truth else np.clip(0.2 + 0.6 * truth + 0.2 * noise, 0.0, 1.0)
            columns[dimension] = pa.array(values.astype(np.float32))
        yield pa.table(columns)


def _uniform(number: np.ndarray, stream: int) -> np.ndarray:
    """A number from 0 to 1 for each integer, the same whenever it is asked for (SplitMix64)."""
    bits = (number.astype(np.uint64) + np.uint64(1 + (stream << 40))) * np.uint64(
        0x9E3779B97F4A7C15
    )
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (bits >> np.uint64(11)) * 2.0**-53
