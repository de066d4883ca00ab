"""The segments of a manifest, read and prepared once: each is an input or a rejection."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from orchestration.progress import Progress
from orchestration.training_splits import used_rows
from orchestration.training_transcripts import ids_without_transcript, needs_transcript
from orchestration.training_truth import categories_of, check_columns, has_truth
from ser_model.audio import SAMPLING_RATE_HZ, read_segments
from ser_model.manifest import segments
from ser_model.schema import (
    CLEAN,
    NO_TRANSCRIPT,
    Reason,
    Rejection,
    Segment,
    SegmentError,
    Stage,
    TooManyRejectedError,
)
from ser_model.training.examples import InputStore, StoredInputs
from ser_model.training.loop import new_model
from ser_model.training.recipe import AnyRecipe, Recipe

MAX_REJECTED = 0.05
"""Part of the segments that may be unreadable; more say that something is wrong with the corpus."""


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
        table: a manifest with splits.
        store: keeps the inputs.
        preparer: makes the inputs; None for the recipe's model.

    Raises:
        ManifestError: there is no truth for the task, or no transcript at all for a model that
            needs them.
        TooManyRejectedError: more than MAX_REJECTED of the segments cannot be read.
    """
    check_columns(table, recipe.model_task)
    rated = [row for row in used_rows(table, recipe.data) if has_truth(row, recipe.model_task)]
    targets = categories_of(rated, recipe.model_task)
    ids = {row["segment_id"] for row in rated}
    silent = ids_without_transcript(rated) if needs_transcript(recipe, targets) else set()
    wanted = [segment for segment in segments(table) if segment.segment_id in ids]
    if preparer is None:
        assert isinstance(recipe, Recipe), "other recipes bring a preparer"
        preparer = new_model(recipe, targets).eval()
    inputs: dict[str, Tensor | StoredInputs] = {}
    durations_s: dict[str, float] = {}
    rejections: dict[str, Rejection] = {}
    digest = hashlib.sha256()
    for segment, waveform in _waveforms(wanted, preparer.min_samples):
        if segment.segment_id in silent:
            waveform = SegmentError(Stage.READ, Reason.NO_TRANSCRIPT, NO_TRANSCRIPT)
        if isinstance(waveform, SegmentError):
            rejections[segment.segment_id] = _rejection(segment, waveform)
            continue
        digest.update(waveform.tobytes())
        durations_s[segment.segment_id] = len(waveform) / SAMPLING_RATE_HZ
        inputs[segment.segment_id] = store.keep(_prepare(preparer, waveform))
    _check_rejected(list(rejections.values()), len(wanted))
    return Corpus(
        inputs=inputs,
        durations_s=durations_s,
        rejections=rejections,
        audio_sha256=digest.hexdigest(),
    )


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


def _check_rejected(rejections: Sequence[Rejection], num_wanted: int) -> None:
    if len(rejections) <= MAX_REJECTED * num_wanted:
        return
    reasons = Counter(str(rejection.reason) for rejection in rejections)
    (reason, number), *_ = reasons.most_common(1)
    raise TooManyRejectedError(
        f"{len(rejections)} of {num_wanted} segments cannot be read ({number} times {reason}, "
        f"first: {rejections[0].detail}); more than {MAX_REJECTED:.0%} are too many to train on"
    )


def _rejection(segment: Segment, error: SegmentError) -> Rejection:
    return Rejection(
        segment_id=segment.segment_id,
        condition=CLEAN,
        stage=error.stage,
        reason=error.reason,
        detail=error.detail,
    )
