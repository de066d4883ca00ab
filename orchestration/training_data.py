"""The segments of train and dev, read and prepared: every row is an example or is counted."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from orchestration.progress import Progress
from ser_model.audio import SAMPLING_RATE_HZ, read_segments
from ser_model.manifest import segments
from ser_model.models.base import EmotionModel, Task
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
from ser_model.splits import assign_splits
from ser_model.training.loop import Example, new_model
from ser_model.training.recipe import Recipe

logger = logging.getLogger(__name__)

MAX_REJECTED = 0.05
"""Part of the segments that may be unreadable; more say that something is wrong with the corpus."""

DEFAULT_SHARES = (70.0, 15.0, 15.0)
USED_SPLITS = ("train", "dev")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """What a manifest gives to train on.

    Attributes:
        targets: what the model's scores will mean.
        examples: by split, train and dev.
        rejections: rows of these splits that could not be read.
        num_without_truth: rows of these splits that have no truth for the task.
        audio_sha256: of all waveforms, in the manifest's order of recordings.
        speakers_checked: whether it is known that no speaker is in two splits.
    """

    targets: tuple[str, ...]
    examples: Mapping[str, Sequence[Example]]
    rejections: Sequence[Rejection]
    num_without_truth: int
    audio_sha256: str
    speakers_checked: bool


def with_splits(table: pa.Table, *, seed: int) -> pa.Table:
    """Return the manifest with splits in which no speaker is twice; made where there are none.

    Raises:
        ManifestError: a speaker is in two splits, or there are no speakers to make splits of.
    """
    if "split" not in table.column_names:
        shares = ":".join(f"{share:g}" for share in DEFAULT_SHARES)
        logger.info("no column 'split': speakers are split %s", shares)
        return assign_splits(table, DEFAULT_SHARES, seed=seed)
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
                "(serval manifest --split 70:15:15)"
            )
    return table


def read_training_data(recipe: Recipe, table: pa.Table) -> TrainingData:
    """Read the segments of train and dev and prepare them for the recipe's model.

    Args:
        recipe: how the model is made.
        table: a manifest with splits.

    Raises:
        ManifestError: there is no truth for the task, or too little to train on.
        TooManyRejectedError: more than MAX_REJECTED of the segments cannot be read.
    """
    rows = [row for row in table.to_pylist() if row["split"] in USED_SPLITS]
    _check_columns(table, recipe.task)
    rated = {row["segment_id"]: row for row in rows if _has_truth(row, recipe.task)}
    targets = _targets(rated.values(), recipe.task)
    model = new_model(recipe, targets).eval()
    wanted = [segment for segment in segments(table) if segment.segment_id in rated]
    examples: dict[str, list[Example]] = {split: [] for split in USED_SPLITS}
    rejections: list[Rejection] = []
    digest = hashlib.sha256()
    for segment, waveform in _waveforms(wanted, model.min_samples):
        if isinstance(waveform, SegmentError):
            rejections.append(_rejection(segment, waveform))
            continue
        digest.update(waveform.tobytes())
        row = rated[segment.segment_id]
        examples[row["split"]].append(_example(model, targets, row, waveform))
    if len(rejections) > MAX_REJECTED * len(wanted):
        (reason, number), *_ = Counter(str(r.reason) for r in rejections).most_common(1)
        raise TooManyRejectedError(
            f"{len(rejections)} of {len(wanted)} segments cannot be read ({number} times {reason}, "
            f"first: {rejections[0].detail}); more than {MAX_REJECTED:.0%} are too many to train on"
        )
    return TrainingData(
        targets=targets,
        examples=examples,
        rejections=rejections,
        num_without_truth=len(rows) - len(rated),
        audio_sha256=digest.hexdigest(),
        speakers_checked="speaker_id" in table.column_names,
    )


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


def _targets(rated: Any, task: Task) -> tuple[str, ...]:  # noqa: ANN401
    splits: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rated:
        splits[row["split"]].append(row)
    for split in USED_SPLITS:
        if len(splits[split]) < 2:
            raise ManifestError(
                f"the split {split} has {len(splits[split])} segments with truth; training needs "
                "two or more in train and in dev"
            )
    if task == "dimensions":
        return DIMENSIONS
    in_train, in_dev = ({row["emotion"] for row in splits[split]} for split in USED_SPLITS)
    if len(in_train) < 2:
        raise ManifestError(f"the split train has the emotion {min(in_train)} alone")
    if in_dev - in_train:
        raise ManifestError(
            f"the split dev has emotions that train has not: {', '.join(sorted(in_dev - in_train))}"
        )
    return tuple(sorted(in_train))


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
                    yield (
                        segment,
                        SegmentError(
                            Stage.SEGMENT,
                            Reason.TOO_SHORT,
                            f"{len(waveform)} samples; the model needs {min_samples}",
                        ),
                    )
                else:
                    yield segment, waveform


@torch.inference_mode()
def _example(
    model: EmotionModel,
    targets: Sequence[str],
    row: Mapping[str, Any],
    waveform: npt.NDArray[np.float32],
) -> Example:
    inputs_BT, _ = model.prepare(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]))
    truth = (
        torch.tensor([row[name] for name in targets], dtype=torch.float32)
        if model.task == "dimensions"
        else torch.tensor(targets.index(row["emotion"]))
    )
    return Example(
        segment_id=row["segment_id"],
        duration_s=len(waveform) / SAMPLING_RATE_HZ,
        inputs=inputs_BT[0],
        truth=truth,
    )


def _rejection(segment: Segment, error: SegmentError) -> Rejection:
    return Rejection(
        segment_id=segment.segment_id,
        condition=CLEAN,
        stage=error.stage,
        reason=error.reason,
        detail=error.detail,
    )
