"""Waveforms in, transcripts out: one outcome a segment, as `batch_runner` sees to.

A segment that brings a transcript along keeps it, and the model does not see it.

Shapes: B batch, N samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from ser_model.batch_runner import BatchRunner
from ser_model.batching import WaitingSegment
from ser_model.models.logmel import SAMPLING_RATE_HZ
from ser_model.models.transcriber import Transcriber
from ser_model.schema import MANIFEST, Rejection, Transcript


class TranscriptRunner(BatchRunner[Transcript]):
    """Transcribes segments with one model on one device."""

    def __init__(
        self,
        model: Transcriber,
        *,
        name: str,
        device: str = "cpu",
        dtype: str = "float32",
        batch_seconds: float = 120.0,
    ) -> None:
        """Move the model to the device.

        Args:
            model: in evaluation mode or not; it is put into it.
            name: what its transcripts say of who made them.
            device: "cpu", "cuda" or "cuda:1".
            dtype: "float32" or "bfloat16".
            batch_seconds: padded audio in a batch, in seconds, > 0.

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
        self._name = name

    def _inspect(self, segment: WaitingSegment) -> Transcript | Rejection | None:
        if segment.transcript is not None:
            return _outcome(segment, segment.transcript, MANIFEST)
        return super()._inspect(segment)

    def _compute(
        self, batch: Sequence[WaitingSegment], waveform_BN: Tensor, num_samples_B: Tensor
    ) -> Iterator[Transcript]:
        transcripts = self._model(waveform_BN, num_samples_B)
        for segment, transcript in zip(batch, transcripts, strict=True):
            yield _outcome(segment, transcript, self._name)


def _outcome(segment: WaitingSegment, transcript: str, transcriber: str) -> Transcript:
    return Transcript(
        segment_id=segment.segment_id,
        condition=segment.condition,
        duration_s=segment.num_samples / SAMPLING_RATE_HZ,
        transcript=transcript,
        transcriber=transcriber,
    )
