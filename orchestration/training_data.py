"""The examples of each training of a series, from segments that are read once for all of them.

manifest -> splits -> segments read and prepared -> examples by split
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from orchestration.feature_corpus import read_features
from orchestration.training_corpus import Corpus, read_corpus
from orchestration.training_splits import used_rows, used_splits, with_splits
from orchestration.training_truth import has_truth, targets_of, truth_tensor
from orchestration.transcripts import with_transcripts
from ser_model import storage
from ser_model.manifest import read_manifest
from ser_model.manifest_checks import TruthRange
from ser_model.schema import Rejection
from ser_model.splits import Fold, have_overlap, set_splits
from ser_model.training.examples import MAX_MEMORY_BYTES, Example, InputStore
from ser_model.training.recipe import AnyRecipe
from ser_model.training.support_vector_recipe import SupportVectorRecipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """What a manifest gives to train on.

    Attributes:
        targets: what the model's scores will mean.
        examples: by split: train, dev, and test where it is to be predicted.
        rejections: rows of these splits that could not be read.
        num_without_truth: rows of these splits that have no truth for the task.
        audio_sha256: of all waveforms that were read, in the manifest's order of recordings.
        speakers_overlap: whether a speaker is in several splits; None where that is not known.
    """

    targets: tuple[str, ...]
    examples: Mapping[str, Sequence[Example]]
    rejections: Sequence[Rejection]
    num_without_truth: int
    audio_sha256: str
    speakers_overlap: bool | None

    @property
    def num_segments(self) -> dict[str, int]:
        """By split, as used."""
        return {split: len(examples) for split, examples in self.examples.items()}


def input_store(output: str, num_workers: int) -> InputStore:
    """Return where inputs are kept: what does not fit into memory goes beside the model."""
    folder = storage.local_path(output)
    if folder is None:
        folder = Path(tempfile.gettempdir(), f"serval-train-{os.getpid()}")
    in_memory = MAX_MEMORY_BYTES if num_workers == 1 else 0  # workers share a file
    return InputStore(folder / "inputs.f32", max_memory_bytes=in_memory)


class CorpusReader:
    """Reads the manifest's segments when they are first wanted, once for all of a series."""

    def __init__(
        self,
        manifest_uri: str,
        truth_range: TruthRange,
        store: InputStore,
        folder: str,
        *,
        transcripts_uri: str | None = None,
    ) -> None:
        """Read nothing yet.

        Args:
            manifest_uri: of all trainings of the series.
            truth_range: scale of its dimensions.
            store: keeps the inputs.
            folder: of the series; functionals stay there.
            transcripts_uri: run or table whose transcripts stand in for the manifest's.
        """
        self._manifest_uri, self._truth_range = manifest_uri, truth_range
        self._store, self._folder = store, folder
        self._transcripts_uri = transcripts_uri
        self._manifest: pa.Table | None = None
        self._corpus: Corpus | None = None

    @property
    def manifest(self) -> pa.Table:
        """The manifest, with the transcripts that it is trained with."""
        if self._manifest is None:
            manifest = read_manifest(self._manifest_uri, truth_range=self._truth_range)
            if self._transcripts_uri is not None:
                manifest = with_transcripts(manifest, self._transcripts_uri)
            self._manifest = manifest
        return self._manifest

    def read(self, recipe: AnyRecipe, fold: Fold | None) -> TrainingData:
        """Return the segments of a training in their splits, and log how many there are.

        Raises:
            ManifestError: there is too little to train on, or its truth or speakers do not fit.
            TooManyRejectedError: too many segments could not be read.
        """
        table = with_splits(self.manifest, recipe.data, fold)
        if self._corpus is None:
            # Folds need every row sooner or later, whatever split the manifest gives it.
            wanted = table if fold is None else set_splits(table, ["train"] * len(table))
            self._corpus = self._read(recipe, wanted)
        data = select_data(recipe, table, self._corpus)
        _log_counts(data)
        return data

    def _read(self, recipe: AnyRecipe, table: pa.Table) -> Corpus:
        if isinstance(recipe, SupportVectorRecipe):
            return read_features(recipe, table, self._store, self._folder)
        return read_corpus(recipe, table, self._store)


def select_data(recipe: AnyRecipe, table: pa.Table, corpus: Corpus) -> TrainingData:
    """Put the segments of a corpus into their splits.

    Args:
        recipe: how the model is made.
        table: a manifest with splits.
        corpus: of the same segments, or more.

    Raises:
        ManifestError: there is too little to train on.
    """
    task, used = recipe.model_task, used_splits(recipe.data)
    rows = used_rows(table, recipe.data)
    rated = [row for row in rows if has_truth(row, task)]
    targets = targets_of(rated, task, used)
    examples: dict[str, list[Example]] = {split: [] for split in used}
    rejections = []
    for row in _in_order_read(rated, corpus):
        segment_id = row["segment_id"]
        if segment_id in corpus.rejections:
            rejections.append(corpus.rejections[segment_id])
            continue
        example = Example(
            segment_id=segment_id,
            duration_s=corpus.durations_s[segment_id],
            inputs=corpus.inputs[segment_id],
            truth=truth_tensor(row, task, targets),
            transcript=row.get("transcript"),
        )
        examples[row["split"]].append(example)
    if "test" in examples and recipe.data.split == "random-80-20":
        examples["test"] = examples["dev"]  # Gavali's fifth is both
    return TrainingData(
        targets=targets,
        examples=examples,
        rejections=rejections,
        num_without_truth=len(rows) - len(rated),
        audio_sha256=corpus.audio_sha256,
        speakers_overlap=have_overlap(table),
    )


def _in_order_read(rows: Sequence[Mapping[str, Any]], corpus: Corpus) -> list[Mapping[str, Any]]:
    places = {name: at for at, name in enumerate((*corpus.inputs, *corpus.rejections))}
    return sorted(rows, key=lambda row: places[row["segment_id"]])


def _log_counts(data: TrainingData) -> None:
    counts = ", ".join(f"{split} {number}" for split, number in data.num_segments.items())
    logger.info("segments: %s", counts)
    if data.num_without_truth:
        logger.warning("%d segments have no truth and are not used", data.num_without_truth)
    reasons = Counter(str(rejection.reason) for rejection in data.rejections)
    for reason, number in sorted(reasons.items()):
        logger.warning("%d segments rejected: %s", number, reason)
