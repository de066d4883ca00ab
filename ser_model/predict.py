"""Waveforms in, predictions out: batches by length, and recovery where memory does not suffice.

Segments are sorted by length and cut into batches of like lengths within a budget of audio, so that
little of what the device computes is padding. The order is by length, then by segment_id: which
segments share a batch depends on the segments alone, never on the order in which they were read.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from ser_model.models.base import EmotionModel
from ser_model.models.logmel import SAMPLING_RATE_HZ
from ser_model.schema import Prediction, Reason, Rejection, Stage

logger = logging.getLogger(__name__)

Waveform: TypeAlias = npt.NDArray[np.float32]
"""Mono samples at 16 kHz, [num_samples]."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""What the arithmetic of a model may run in; scores always come back as float32."""

WINDOW_BATCHES = 10
"""Batches' worth of audio that is held in memory and sorted at a time: ten of 120 s are 77 MB."""


MAX_PADDING = 0.1
"""The part of a segment's row in a batch that may be padding. On segments of 1 to 30 s about half
of it is, on average; a batch that is not full is the lesser waste."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Counts what went through the model.

    Attributes:
        num_samples: samples of the segments.
        num_padded_samples: samples of the batches, padding included where it is computed.
    """

    num_samples: int = 0
    num_padded_samples: int = 0

    @property
    def padding_waste(self) -> float:
        """The part of what was computed that is padding, 0 to 1."""
        if self.num_padded_samples == 0:
            return 0.0
        return 1.0 - self.num_samples / self.num_padded_samples

    def __add__(self, other: Workload) -> Workload:
        return Workload(
            num_samples=self.num_samples + other.num_samples,
            num_padded_samples=self.num_padded_samples + other.num_padded_samples,
        )

    def __sub__(self, earlier: Workload) -> Workload:
        return Workload(
            num_samples=self.num_samples - earlier.num_samples,
            num_padded_samples=self.num_padded_samples - earlier.num_padded_samples,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """A segment that waits for its batch."""

    segment_id: str
    condition: str
    waveform: Waveform

    @property
    def num_samples(self) -> int:
        return len(self.waveform)

    def reject(self, reason: Reason, detail: str) -> Rejection:
        return Rejection(
            segment_id=self.segment_id,
            condition=self.condition,
            stage=Stage.SCORE,
            reason=reason,
            detail=detail,
        )


class Predictor:
    """Runs one model on one device.

    Attributes:
        workload: counts of everything scored so far.
        batch_seconds: the padded audio that a batch may hold; lowered for good when the device
            runs out of memory. One segment always makes a batch, however long it is.
    """

    def __init__(
        self,
        model: EmotionModel,
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
            dtype: "float32" or "bfloat16"; the latter by autocast, which leaves to float32 what
                needs it.
            batch_seconds: padded audio in a batch, in seconds, > 0.
            embeddings: whether predictions carry their embedding.

        Raises:
            ValueError: an unknown dtype, or a budget that is not positive.
        """
        if dtype not in DTYPES:
            raise ValueError(f"dtype {dtype!r} is none of {', '.join(DTYPES)}")
        if not batch_seconds > 0:
            raise ValueError(f"batch_seconds {batch_seconds} is not positive")
        self._model = model.to(device).eval()
        self._device = torch.device(device)
        self._dtype = DTYPES[dtype]
        self._embeddings = embeddings
        self._max_padding = 1.0 if model.padding_free else MAX_PADDING
        self._window_samples = int(WINDOW_BATCHES * batch_seconds * SAMPLING_RATE_HZ)
        self.batch_seconds = batch_seconds
        self.workload = Workload()

    def predict(
        self, items: Iterable[tuple[str, str, Waveform]]
    ) -> Iterator[Prediction | Rejection]:
        """Score segments; every one of them yields exactly one prediction or rejection.

        Args:
            items: (segment_id, condition, waveform float32 [num_samples] at 16 kHz), consumed a
                window at a time, so that memory does not grow with their number.

        Yields:
            In no particular order: a Prediction, or a Rejection for a waveform that is too short
            for the model or not finite, that does not fit into memory even alone, or whose score
            is not finite.
        """
        iterator = iter(items)
        while window := self._read_window(iterator):
            scorable: list[_Item] = []
            for item in window:
                rejection = self._inspect(item)
                if rejection is None:
                    scorable.append(item)
                else:
                    yield rejection
            yield from self._predict_window(scorable)

    def _read_window(self, iterator: Iterator[tuple[str, str, Waveform]]) -> list[_Item]:
        window: list[_Item] = []
        num_samples = 0
        for segment_id, condition, waveform in iterator:
            window.append(_Item(segment_id=segment_id, condition=condition, waveform=waveform))
            num_samples += len(waveform)
            if num_samples >= self._window_samples:
                break
        return window

    def _inspect(self, item: _Item) -> Rejection | None:
        """Return why the model must not see this waveform, or None if it may."""
        if item.num_samples < self._model.min_samples:
            return item.reject(
                Reason.TOO_SHORT,
                f"{item.num_samples} samples; the model needs {self._model.min_samples}",
            )
        if not np.isfinite(item.waveform).all():
            return item.reject(Reason.NOT_FINITE, "the waveform holds NaN or infinite samples")
        return None

    def _predict_window(self, items: list[_Item]) -> Iterator[Prediction | Rejection]:
        # Longest first: a device that is too small shows it in the first batch.
        waiting = sorted(items, key=lambda i: (-i.num_samples, i.segment_id, i.condition))
        while waiting:
            # The budget may have shrunk since the last batch, so each is cut only now.
            num_items = self._count_batch(waiting)
            batch, waiting = waiting[:num_items], waiting[num_items:]
            outcomes, fitting_s = self._predict_batch(batch)
            if 0 < fitting_s < _padded_s(batch):
                logger.warning("out of memory: batches hold %.0f s of audio from now on", fitting_s)
                self.batch_seconds = fitting_s
            yield from outcomes

    def _count_batch(self, waiting: Sequence[_Item]) -> int:
        """Return how many of the longest segments make the next batch."""
        longest = waiting[0].num_samples
        num_fitting = max(1, round(self.batch_seconds * SAMPLING_RATE_HZ) // longest)
        shortest = (1 - self._max_padding) * longest
        candidates = itertools.islice(waiting, num_fitting)
        return sum(1 for _ in itertools.takewhile(lambda i: i.num_samples >= shortest, candidates))

    def _predict_batch(self, batch: Sequence[_Item]) -> tuple[list[Prediction | Rejection], float]:
        """Score a batch; where it does not fit, halve it until the parts fit or are one segment.

        Returns:
            The outcomes, and the padded seconds of the largest part that fitted (0 if none did):
            so one segment that can never fit does not shrink the budget of all others to nothing.
        """
        outcomes = self._try_forward(batch)
        if outcomes is not None:
            return outcomes, _padded_s(batch)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        if len(batch) == 1:
            detail = f"{_padded_s(batch):.1f} s of audio do not fit into memory, even alone"
            return [batch[0].reject(Reason.OUT_OF_MEMORY, detail)], 0.0
        middle = len(batch) // 2
        first, first_s = self._predict_batch(batch[:middle])
        second, second_s = self._predict_batch(batch[middle:])
        return first + second, max(first_s, second_s)

    def _try_forward(self, batch: Sequence[_Item]) -> list[Prediction | Rejection] | None:
        """Score a batch, or return None where memory does not suffice.

        The exception ends here, and with it the traceback that would keep the tensors alive.
        """
        try:
            scores_BK, embeddings_BD = self._forward(batch)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            return None
        return [
            self._outcome(item, scores_K, embedding_D)
            for item, scores_K, embedding_D in zip(batch, scores_BK, embeddings_BD, strict=True)
        ]

    @torch.inference_mode()
    def _forward(self, batch: Sequence[_Item]) -> tuple[list[list[float]], list[list[float]]]:
        num_samples = [item.num_samples for item in batch]
        padded_BN = np.zeros((len(batch), max(num_samples)), dtype=np.float32)
        for row_N, item in zip(padded_BN, batch, strict=True):
            row_N[: item.num_samples] = item.waveform
        with torch.autocast(
            self._device.type, dtype=self._dtype, enabled=self._dtype != torch.float32
        ):
            output = self._model(
                torch.from_numpy(padded_BN).to(self._device),
                torch.tensor(num_samples, device=self._device),
            )
        scores_BK = output.scores.float()
        if self._model.task == "emotion":
            scores_BK = torch.softmax(scores_BK, dim=-1)
        self.workload += Workload(
            num_samples=sum(num_samples),
            num_padded_samples=sum(num_samples) if self._model.padding_free else padded_BN.size,
        )
        embeddings_BD = output.embedding.float().tolist() if self._embeddings else [[]] * len(batch)
        return scores_BK.tolist(), embeddings_BD

    def _outcome(
        self, item: _Item, scores: list[float], embedding: list[float]
    ) -> Prediction | Rejection:
        if not np.isfinite(scores).all():
            return item.reject(Reason.SCORE_NOT_FINITE, "the model's score is NaN or infinite")
        prediction = Prediction(
            segment_id=item.segment_id,
            condition=item.condition,
            duration_s=item.num_samples / SAMPLING_RATE_HZ,
            embedding=tuple(embedding) if self._embeddings else None,
        )
        if self._model.task == "emotion":
            return replace(
                prediction,
                emotion_scores=dict(zip(self._model.targets, scores, strict=True)),
            )
        arousal, dominance, valence = scores
        return replace(prediction, dimensions=(arousal, dominance, valence))


def _padded_s(batch: Sequence[_Item]) -> float:
    """Return the padded audio of a batch, longest segment first, in seconds."""
    return len(batch) * batch[0].num_samples / SAMPLING_RATE_HZ


def _is_out_of_memory(error: Exception) -> bool:
    """Tell whether an exception means that memory did not suffice.

    CUDA raises torch.OutOfMemoryError; torch's allocator for CPUs and cuDNN only say it in words.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = str(error).lower()
    return "out of memory" in words or "can't allocate memory" in words
