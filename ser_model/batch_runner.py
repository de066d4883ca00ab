"""Segments through a model in batches: one outcome each, whatever the model or the memory does.

Batches come from `batching`. Where a batch does not fit into memory, or the model raises an error
of it, it is halved until the parts succeed or one segment is left, which is rejected. What a batch
is made of, the subclasses say: predictions (`predict`) or transcripts (`transcribe`).

An outcome does not depend on its batch-mates, to 1e-5 of a score. Its last bits may: running out of
memory changes which segments share a batch, and so may change a score by 1e-7 and with it the hash
of a run's content. Without such an event, the same segments make the same batches and the same
bits.

Shapes: B batch, N samples.
"""

from __future__ import annotations

import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from ser_model.batching import (
    MAX_PADDING,
    WINDOW_BATCHES,
    Item,
    WaitingSegment,
    count_batch,
    longest_first,
    padded_s,
    read_windows,
)
from ser_model.device_errors import is_device_lost, is_out_of_memory
from ser_model.schema import Reason, Rejection, ServalError

logger = logging.getLogger(__name__)

Made = TypeVar("Made")
"""What is made of a segment where it is not rejected."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""What the arithmetic of a model may run in; what comes back is float32."""

MAX_ALL_FAILED = 3
"""Segments of a window of which the model may fail every one and pass for sound: where it fails all
of more, it is the model that is broken, not a thousand segments."""


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
class _Result(Generic[Made]):
    """What became of a batch.

    Attributes:
        outcomes: of the segments for which the model ran, and of those that do not fit alone.
        failed: of the segments for which the model raised an error, alone.
        fitting_s: padded seconds of the largest part that fitted into memory; 0 if none did, so
            one segment that can never fit does not shrink the budget of all others to nothing.
        first_error: behind `failed`.
    """

    outcomes: tuple[Made | Rejection, ...] = ()
    failed: tuple[Rejection, ...] = ()
    fitting_s: float = 0.0
    first_error: Exception | None = None

    def __add__(self, other: _Result[Made]) -> _Result[Made]:
        return _Result(
            outcomes=self.outcomes + other.outcomes,
            failed=self.failed + other.failed,
            fitting_s=max(self.fitting_s, other.fitting_s),
            first_error=self.first_error or other.first_error,
        )


class BatchRunner(ABC, Generic[Made]):
    """Runs one model on one device.

    Attributes:
        workload: counts of everything that went through the model so far.
        batch_seconds: the padded audio that a batch may hold; lowered for good when the device
            runs out of memory. One segment always makes a batch, however long it is.
    """

    def __init__(
        self,
        *,
        min_samples: int,
        padding_free: bool,
        device: str = "cpu",
        dtype: str = "float32",
        batch_seconds: float = 120.0,
    ) -> None:
        """Prepare for a device.

        Args:
            min_samples: shortest waveform that the model can take.
            padding_free: whether rows of any lengths may share a batch.
            device: "cpu", "cuda" or "cuda:1".
            dtype: "float32" or "bfloat16"; the latter by autocast, which leaves to float32 what
                needs it.
            batch_seconds: padded audio in a batch, in seconds, > 0.

        Raises:
            ValueError: an unknown dtype, or a budget that is not positive.
        """
        if dtype not in DTYPES:
            raise ValueError(f"dtype {dtype!r} is none of {', '.join(DTYPES)}")
        if not batch_seconds > 0:
            raise ValueError(f"batch_seconds {batch_seconds} is not positive")
        self._min_samples = min_samples
        self._padding_free = padding_free
        self._device = torch.device(device)
        self._dtype = DTYPES[dtype]
        self._max_padding = 1.0 if padding_free else MAX_PADDING
        self._window_s = WINDOW_BATCHES * batch_seconds
        self.batch_seconds = batch_seconds
        self.workload = Workload()

    @abstractmethod
    def _compute(
        self, batch: Sequence[WaitingSegment], waveform_BN: Tensor, num_samples_B: Tensor
    ) -> Iterable[Made | Rejection]:
        """Run the model, in inference mode and under autocast; return an outcome a segment.

        Args:
            batch: the segments.
            waveform_BN: theirs, padded, on the device.
            num_samples_B: their lengths, not on it: models plan with them.
        """

    def predict(self, items: Iterable[Item]) -> Iterator[Made | Rejection]:
        """Take segments through the model; every one of them yields exactly one outcome.

        Args:
            items: (segment_id, condition, waveform float32 [num_samples] at 16 kHz, transcript or
                None), consumed a window at a time, so that memory does not grow with their number.

        Yields:
            In no particular order: what the model makes of a segment, or a Rejection for a waveform
            that is too short for the model or not finite, that does not fit into memory even alone,
            of which the model raises an error, or of which the model makes nothing finite.

        Raises:
            Exception: what the model raised, where it failed for every segment of a window, or
                where the device is lost.
        """
        for window in read_windows(items, self._window_s):
            scorable: list[WaitingSegment] = []
            for segment in window:
                outcome = self._inspect(segment)
                if outcome is None:
                    scorable.append(segment)
                else:
                    yield outcome
            yield from self._run_window(longest_first(scorable))

    def _inspect(self, segment: WaitingSegment) -> Made | Rejection | None:
        """Return what becomes of a segment that the model need not see, or must not; else None."""
        if segment.num_samples < self._min_samples:
            return segment.reject(
                Reason.TOO_SHORT,
                f"{segment.num_samples} samples; the model needs {self._min_samples}",
            )
        if not np.isfinite(segment.waveform).all():
            return segment.reject(Reason.NOT_FINITE, "the waveform holds NaN or infinite samples")
        return None

    def _run_window(self, waiting: list[WaitingSegment]) -> Iterator[Made | Rejection]:
        failures: _Result[Made] = _Result()
        num_outcomes = 0
        while waiting:
            # The budget may have shrunk since the last batch, so each is cut only now.
            num_segments = count_batch(
                waiting, batch_seconds=self.batch_seconds, max_padding=self._max_padding
            )
            batch, waiting = waiting[:num_segments], waiting[num_segments:]
            result = self._run_batch(batch)
            if 0 < result.fitting_s < padded_s(batch):
                self.batch_seconds = result.fitting_s
                logger.warning(
                    "out of memory: batches hold %.0f s of audio from now on", self.batch_seconds
                )
            failures += replace(result, outcomes=())
            num_outcomes += len(result.outcomes)
            yield from result.outcomes
        if failures.first_error and num_outcomes == 0 and len(failures.failed) > MAX_ALL_FAILED:
            raise failures.first_error
        yield from failures.failed

    def _run_batch(self, batch: Sequence[WaitingSegment]) -> _Result[Made]:
        """Run a batch; where that fails, halve it until the parts succeed or are one segment."""
        outcomes = self._try_forward(batch)
        if not isinstance(outcomes, Exception):
            return _Result(outcomes=outcomes, fitting_s=padded_s(batch))
        error, out_of_memory = outcomes, is_out_of_memory(outcomes)
        if out_of_memory and self._device.type == "cuda":
            torch.cuda.empty_cache()
        if len(batch) > 1:
            middle = len(batch) // 2
            halves = self._run_batch(batch[:middle]) + self._run_batch(batch[middle:])
            # Any other failure says nothing of memory.
            return halves if out_of_memory else replace(halves, fitting_s=padded_s(batch))
        if out_of_memory:
            detail = f"{padded_s(batch):.1f} s of audio do not fit into memory, even alone"
            return _Result(outcomes=(batch[0].reject(Reason.OUT_OF_MEMORY, detail),))
        detail = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        logger.warning("the model fails of segment %r: %s", batch[0].segment_id, detail)
        rejection = batch[0].reject(Reason.MODEL_FAILED, detail)
        return _Result(failed=(rejection,), fitting_s=padded_s(batch), first_error=error)

    def _try_forward(
        self, batch: Sequence[WaitingSegment]
    ) -> tuple[Made | Rejection, ...] | Exception:
        """Run a batch, or return the error that is the batch's and not the device's."""
        try:
            return self._forward(batch)
        except ServalError:
            raise  # the command is to end, by SIGTERM for one
        except Exception as error:  # a model may raise anything of some audio
            if is_device_lost(error):
                raise
            # Its frames would keep the batch's tensors alive while the halves need the memory.
            traceback.clear_frames(error.__traceback__)
            return error

    @torch.inference_mode()
    def _forward(self, batch: Sequence[WaitingSegment]) -> tuple[Made | Rejection, ...]:
        num_samples = [segment.num_samples for segment in batch]
        # The only copies between memories: waveforms to the device from pinned memory, which does
        # not wait for it, and what is made of them back.
        on_gpu = self._device.type == "cuda"
        padded_BN = torch.zeros(len(batch), max(num_samples), pin_memory=on_gpu)
        for row_N, segment in zip(padded_BN.numpy(), batch, strict=True):
            row_N[: segment.num_samples] = segment.waveform
        with torch.autocast(
            self._device.type, dtype=self._dtype, enabled=self._dtype != torch.float32
        ):
            outcomes = tuple(
                self._compute(
                    batch,
                    padded_BN.to(self._device, non_blocking=True),
                    torch.tensor(num_samples),
                )
            )
        num_padded = sum(num_samples) if self._padding_free else padded_BN.numel()
        self.workload += Workload(num_samples=sum(num_samples), num_padded_samples=num_padded)
        return outcomes
