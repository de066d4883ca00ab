"""The segments of a training, read and prepared once: every row is an example or is counted."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from orchestration.progress import Progress
from ser_model.audio import SAMPLING_RATE_HZ, read_segments
from ser_model.manifest import segments
from ser_model.models.base import Task
from ser_model.schema import (
    CLEAN,
    DIMENSIONS,
    ManifestError,
    Reason,
    Rejection,
    Segment,
    SegmentError,
    Stage,
    TooManyRejectedError,
)
from ser_model.splits import assign_random_fifth, assign_splits, have_overlap, keep_fraction
from ser_model.training.examples import Example, InputStore, StoredInputs
from ser_model.training.loop import new_model
from ser_model.training.recipe import AnyRecipe, Recipe
from ser_model.training.settings import DataConfig

logger = logging.getLogger(__name__)

MAX_REJECTED = 0.05
"""Part of the segments that may be unreadable; more say that something is wrong with the corpus."""

DEFAULT_SHARES = (70.0, 15.0, 15.0)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Segments, read and prepared.

    Attributes:
        inputs: by segment.
        durations_s: by segment.
        rejections: by segment.
        audio_sha256: of all waveforms.
    """

    inputs: Mapping[str, Tensor | StoredInputs]
    durations_s: Mapping[str, float]
    rejections: Mapping[str, Rejection]
    audio_sha256: str


def used_splits(config: DataConfig) -> tuple[str, ...]:
    """Return the splits that a training reads."""
    with_test = config.predict_test or config.fold_by is not None
    return ("train", "dev", "test") if with_test else ("train", "dev")


def with_splits(table: pa.Table, config: DataConfig) -> pa.Table:
    """Return the manifest with the splits that a recipe asks for.

    Raises:
        ManifestError: a speaker is in two splits and that was not asked for by name, or there is
            nothing to make splits of.
    """
    return keep_fraction(_split(table, config), config.fraction, seed=config.seed)


def _split(table: pa.Table, config: DataConfig) -> pa.Table:
    if config.split == "random-80-20":
        logger.warning("data.split random-80-20: the same speakers are in train and in dev")
        return assign_random_fifth(table, seed=config.seed)
    if config.split == "as-given":
        if "split" not in table.column_names:
            raise ManifestError("data.split as-given needs a column 'split'")
        if have_overlap(table):
            logger.warning("data.split as-given: a speaker is in several splits")
        return table
    if "split" not in table.column_names:
        shares = ":".join(f"{share:g}" for share in DEFAULT_SHARES)
        logger.info("no column 'split': speakers are split %s", shares)
        return assign_splits(table, DEFAULT_SHARES, seed=config.seed)
    if "speaker_id" not in table.column_names:
        logger.warning("no column 'speaker_id': speakers may be in several splits")
        return table
    split_of: dict[str, str] = {}
    pairs = zip(table["speaker_id"].to_pylist(), table["split"].to_pylist(), strict=True)
    for speaker, split in pairs:
        if speaker is None or split is None:
            continue
        if split_of.setdefault(speaker, split) != split:
            raise ManifestError(
                f"speaker {speaker!r} is in the splits {split_of[speaker]} and {split}: what a "
                "model says of a speaker that it knows is no measure; split by speaker "
                "(serval manifest --split 70:15:15), or say --set data.split=as-given"
            )
    return table


class Preparer(Protocol):
    """What turns waveforms into inputs: a model, or one that knows some of them already."""

    min_samples: int

    def prepare(self, waveform_BN: Tensor, num_samples_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs_BT... and num_inputs_B."""


def read_corpus(
    recipe: AnyRecipe, table: pa.Table, store: InputStore, preparer: Preparer | None = None
) -> Corpus:
    """Read the segments that have truth and are in a split that is used, and prepare them.

    Args:
        recipe: how the model is made.
        table: a manifest; with splits, or all of it is read.
        store: keeps the inputs.
        preparer: makes the inputs; None for the recipe's model.

    Raises:
        ManifestError: there is no truth for the task.
        TooManyRejectedError: more than MAX_REJECTED of the segments cannot be read.
    """
    _check_columns(table, recipe.model_task)
    used = used_splits(recipe.data)
    rows = [row for row in table.to_pylist() if row.get("split", "train") in used]
    rated = [row for row in rows if _has_truth(row, recipe.model_task)]
    ids = {row["segment_id"] for row in rated}
    wanted = [segment for segment in segments(table) if segment.segment_id in ids]
    targets = _categories(rated, recipe.model_task)
    if preparer is None:
        assert isinstance(recipe, Recipe), "other recipes bring a preparer"
        preparer = new_model(recipe, targets).eval()
    inputs: dict[str, Tensor | StoredInputs] = {}
    durations_s: dict[str, float] = {}
    rejections: dict[str, Rejection] = {}
    digest = hashlib.sha256()
    for segment, waveform in _waveforms(wanted, preparer.min_samples):
        if isinstance(waveform, SegmentError):
            rejections[segment.segment_id] = _rejection(segment, waveform)
            continue
        digest.update(waveform.tobytes())
        durations_s[segment.segment_id] = len(waveform) / SAMPLING_RATE_HZ
        inputs[segment.segment_id] = store.keep(_prepare(preparer, waveform))
    if len(rejections) > MAX_REJECTED * len(wanted):
        (reason, number), *_ = Counter(str(r.reason) for r in rejections.values()).most_common(1)
        first = next(iter(rejections.values()))
        raise TooManyRejectedError(
            f"{len(rejections)} of {len(wanted)} segments cannot be read ({number} times {reason}, "
            f"first: {first.detail}); more than {MAX_REJECTED:.0%} are too many to train on"
        )
    return Corpus(
        inputs=inputs,
        durations_s=durations_s,
        rejections=rejections,
        audio_sha256=digest.hexdigest(),
    )


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
    rows = [row for row in table.to_pylist() if row["split"] in used]
    rated = [row for row in rows if _has_truth(row, task)]
    targets = _targets(rated, task, used)
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
            truth=_truth(row, task, targets),
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


def _check_columns(table: pa.Table, task: Task) -> None:
    needed = DIMENSIONS if task == "dimensions" else ("emotion",)
    missing = [column for column in needed if column not in table.column_names]
    if missing:
        other = "emotion" if task == "dimensions" else "dimensions"
        raise ManifestError(
            f"the manifest has no column {', '.join(missing)}, the truth for --target {task}; "
            f"is --target {other} meant?"
        )


def _has_truth(row: Mapping[str, Any], task: Task) -> bool:
    if task == "emotion":
        return bool(row["emotion"])
    return all(row[name] is not None and isfinite(row[name]) for name in DIMENSIONS)


def _truth(row: Mapping[str, Any], task: Task, targets: Sequence[str]) -> Tensor:
    if task == "emotion":
        return torch.tensor(targets.index(row["emotion"]))
    return torch.tensor([row[name] for name in targets], dtype=torch.float32)


def _categories(rated: Sequence[Mapping[str, Any]], task: Task) -> tuple[str, ...]:
    if task == "dimensions":
        return DIMENSIONS
    found = sorted({row["emotion"] for row in rated})
    if len(found) < 2:
        raise ManifestError(f"there are {len(found)} emotions to tell apart: {', '.join(found)}")
    return tuple(found)


def _targets(
    rated: Sequence[Mapping[str, Any]], task: Task, used: Sequence[str]
) -> tuple[str, ...]:
    splits: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rated:
        splits[row["split"]].append(row)
    for split in ("train", "dev"):
        if len(splits[split]) < 2:
            raise ManifestError(
                f"the split {split} has {len(splits[split])} segments with truth; training needs "
                "two or more in train and in dev"
            )
    if task == "dimensions":
        return DIMENSIONS
    in_split = {split: {row["emotion"] for row in splits[split]} for split in used}
    if len(in_split["train"]) < 2:
        raise ManifestError(f"the split train has the emotion {min(in_split['train'])} alone")
    for split in used:
        new = sorted(in_split[split] - in_split["train"])
        if new:
            raise ManifestError(
                f"the split {split} has emotions that train has not: {', '.join(new)}"
            )
    return tuple(sorted(in_split["train"]))


def _waveforms(
    wanted: Sequence[Segment], min_samples: int
) -> Iterator[tuple[Segment, npt.NDArray[np.float32] | SegmentError]]:
    by_recording: dict[str, list[Segment]] = defaultdict(list)
    for segment in wanted:
        by_recording[segment.recording].append(segment)
    with Progress("read", total=len(wanted)) as progress:
        for recording, of_recording in by_recording.items():
            for segment, waveform in read_segments(recording, of_recording):
                progress.advance()
                if not isinstance(waveform, SegmentError) and len(waveform) < min_samples:
                    detail = f"{len(waveform)} samples; the model needs {min_samples}"
                    yield segment, SegmentError(Stage.SEGMENT, Reason.TOO_SHORT, detail)
                else:
                    yield segment, waveform


@torch.no_grad()
def _prepare(preparer: Preparer, waveform: npt.NDArray[np.float32]) -> Tensor:
    waveform_BN = torch.from_numpy(waveform)[None]
    inputs_BT, _ = preparer.prepare(waveform_BN, torch.tensor([len(waveform)]))
    return inputs_BT[0]


def _rejection(segment: Segment, error: SegmentError) -> Rejection:
    return Rejection(
        segment_id=segment.segment_id,
        condition=CLEAN,
        stage=error.stage,
        reason=error.reason,
        detail=error.detail,
    )
