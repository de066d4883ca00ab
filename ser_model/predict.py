"""Waveforms and transcripts in, predictions out: one outcome a segment, as `batch_runner` sees to.

Shapes: B batch, N samples, D hidden features, K scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ser_model.batch_runner import BatchRunner
from ser_model.batching import WaitingSegment
from ser_model.models.base import Scorer
from ser_model.models.logmel import SAMPLING_RATE_HZ
from ser_model.schema import NO_TRANSCRIPT, Prediction, Reason, Rejection, Stage


class Predictor(BatchRunner[Prediction]):
    """Scores segments with one model on one device."""

    def __init__(
        self,
        model: Scorer,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        batch_seconds: float = 120.0,
        embeddings: bool = False,
    ) -> None:
        """Move the model to the device.

        Args:
            model: in evaluation mode or not; it is put into it.
            device: "cpu", "cuda" or "cuda:1".
            dtype: "float32" or "bfloat16".
            batch_seconds: padded audio in a batch, in seconds, > 0.
            embeddings: whether predictions carry their embedding.

        Raises:
            ValueError: an unknown dtype, or a budget that is not positive.
        """
        super().__init__(
            min_samples=model.min_samples,
            padding_free=model.padding_free,
            device=device,
            dtype=dtype,
            batch_seconds=batch_seconds,
        )
        self._model = model.to(device).eval()
        self._embeddings = embeddings

    def _inspect(self, segment: WaitingSegment) -> Prediction | Rejection | None:
        outcome = super()._inspect(segment)
        if outcome is None and self._model.needs_transcript and segment.transcript is None:
            return segment.reject(Reason.NO_TRANSCRIPT, NO_TRANSCRIPT, stage=Stage.READ)
        return outcome

    def _compute(
        self, batch: Sequence[WaitingSegment], waveform_BN: Tensor, num_samples_B: Tensor
    ) -> Iterator[Prediction | Rejection]:
        transcripts = [segment.transcript or "" for segment in batch]
        output = self._model(
            waveform_BN, num_samples_B, transcripts if self._model.uses_text else None
        )
        scores_BK = output.scores.float()
        if self._model.task == "emotion":
            scores_BK = torch.softmax(scores_BK, dim=-1)
        embeddings_BD = output.embedding.float().tolist() if self._embeddings else [[]] * len(batch)
        rows = zip(batch, scores_BK.tolist(), embeddings_BD, strict=True)
        for segment, scores_K, embedding_D in rows:
            yield self._outcome(segment, scores_K, embedding_D)

    def _outcome(
        self, segment: WaitingSegment, scores: list[float], embedding: list[float]
    ) -> Prediction | Rejection:
        if not np.isfinite(scores).all():
            return segment.reject(Reason.SCORE_NOT_FINITE, "the model's score is NaN or infinite")
        prediction = Prediction(
            segment_id=segment.segment_id,
            condition=segment.condition,
            duration_s=segment.num_samples / SAMPLING_RATE_HZ,
            embedding=tuple(embedding) if self._embeddings else None,
        )
        if self._model.task == "emotion":
            return replace(
                prediction,
                emotion_scores=dict(zip(self._model.targets, scores, strict=True)),
            )
        arousal, dominance, valence = scores
        return replace(prediction, dimensions=(arousal, dominance, valence))
