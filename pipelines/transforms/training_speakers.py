"""Counts the segments whose speakers a model was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import PCollection, TaggedOutput

from pipelines.transforms.tables import LEDGER_ROWS, array, group_rows

TRAINING_SPEAKERS = "training_speakers"
"""Name in the ledger of speakers of the training who speak in the audited segments too."""

TRAINING_SEGMENTS = "matched_of_training_speakers"
"""Name in the ledger of their segments."""

_SPEAKERS_SIDE = "speakers"

Speaker = tuple[str, str, str]
"""Model version, condition and speaker."""


class CountTrainingSpeakers(beam.PTransform[Any, Any]):
    """Turns joined partitions into LEDGER_ROWS of both counts."""

    def __init__(self, speaker_ids: frozenset[str]) -> None:
        """Count these speakers."""
        super().__init__()
        self._speaker_ids = sorted(speaker_ids)

    def expand(self, joined: PCollection[Any]) -> PCollection[Any]:
        """Count segments by partition, and each speaker once."""
        found = joined | "FindTrainingSpeakers" >> beam.FlatMap(
            find_training_speakers, self._speaker_ids
        ).with_outputs(_SPEAKERS_SIDE, main="rows")
        speakers = (
            found[_SPEAKERS_SIDE]
            | "SpeakersOnce" >> beam.Distinct()
            | "CountSpeakers" >> beam.Map(_speaker_row)
        )
        counts: PCollection[Any] = (found.rows, speakers) | "TrainingCounts" >> beam.Flatten()
        return counts


def find_training_speakers(
    element: tuple[int, pa.Table], speaker_ids: list[str]
) -> Iterator[pa.RecordBatch | TaggedOutput[Any, Any]]:
    """Yield LEDGER_ROWS of a joined partition, and on the side the speakers that were found."""
    _, joined = element
    is_known = pc.is_in(array(joined, "speaker_id"), pa.array(speaker_ids, pa.string()))
    known = is_known.to_numpy(zero_copy_only=False)
    first_rows, groups = group_rows(joined, ("model_version", "condition"))
    rows = []
    for group, first in enumerate(first_rows.tolist()):
        model = (joined["model_version"][first].as_py(), joined["condition"][first].as_py())
        theirs = np.flatnonzero(known & (groups == group))
        # Speakers are counted once, elsewhere; a 0 says that they were looked for.
        rows += [_row(*model, TRAINING_SEGMENTS, theirs.size), _row(*model, TRAINING_SPEAKERS, 0)]
        for name in pc.unique(array(joined, "speaker_id").take(pa.array(theirs))).to_pylist():
            yield TaggedOutput(_SPEAKERS_SIDE, (*model, name))
    yield pa.RecordBatch.from_pylist(rows, schema=LEDGER_ROWS)


def _speaker_row(speaker: Speaker) -> pa.RecordBatch:
    row = _row(speaker[0], speaker[1], TRAINING_SPEAKERS, 1)
    return pa.RecordBatch.from_pylist([row], schema=LEDGER_ROWS)


def _row(model_version: str, condition: str, name: str, num_segments: int) -> dict[str, Any]:
    return {
        "model_version": model_version,
        "condition": condition,
        "name": name,
        "num_segments": num_segments,
        "detail": None,
    }
