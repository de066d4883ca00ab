"""Which segments share a batch: like lengths, within a budget of audio, with little padding.

Segments are sorted by length and cut into batches, so that little of what the device computes is
padding. The order is by length, then by segment_id: which segments share a batch depends on the
segments alone, never on the order in which they were read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ser_model.models.logmel import SAMPLING_RATE_HZ
from ser_model.schema import Reason, Rejection, Stage

Waveform: TypeAlias = npt.NDArray[np.float32]
"""Mono samples at 16 kHz, [num_samples]."""

WINDOW_BATCHES = 10
"""Batches' worth of audio that is held in memory and sorted at a time: ten of 120 s are 77 MB."""

MAX_PADDING = 0.1
"""The part of a segment's row in a batch that may be padding; a batch that is not full is the
lesser waste. On segments of a log-normal length around 5 s, 1 to 30 s, 3.6 to 4.3 % of what is
computed is padding then, and batches of up to 120 s hold 20 s (64 segments) to 50 s (thousands)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingSegment:
    """A segment that waits for its batch; its transcript is None where there is none."""

    segment_id: str
    condition: str
    waveform: Waveform
    transcript: str | None

    @property
    def num_samples(self) -> int:
        """Its length, without padding."""
        return len(self.waveform)

    def reject(self, reason: Reason, detail: str, *, stage: Stage = Stage.SCORE) -> Rejection:
        """Say why it has no prediction."""
        return Rejection(
            segment_id=self.segment_id,
            condition=self.condition,
            stage=stage,
            reason=reason,
            detail=detail,
        )


Item: TypeAlias = tuple[str, str, Waveform, str | None]
"""What is to be scored: segment_id, condition, waveform, and transcript where there is one."""


def read_windows(items: Iterable[Item], window_s: float) -> Iterator[list[WaitingSegment]]:
    """Yield segments in lists of at least `window_s` of audio; the last has what is left."""
    window: list[WaitingSegment] = []
    num_samples = 0
    for segment_id, condition, waveform, transcript in items:
        window.append(
            WaitingSegment(
                segment_id=segment_id,
                condition=condition,
                waveform=waveform,
                transcript=transcript,
            )
        )
        num_samples += len(waveform)
        if num_samples >= window_s * SAMPLING_RATE_HZ:
            yield window
            window, num_samples = [], 0
    if window:
        yield window


def longest_first(segments: Iterable[WaitingSegment]) -> list[WaitingSegment]:
    """Sort for batches: a device that is too small shows it in the first one."""
    return sorted(segments, key=lambda s: (-s.num_samples, s.segment_id, s.condition))


def count_batch(
    waiting: Sequence[WaitingSegment], *, batch_seconds: float, max_padding: float
) -> int:
    """Return how many of the longest segments make the next batch, at least one.

    Args:
        waiting: at least one, longest first.
        batch_seconds: padded audio that a batch may hold.
        max_padding: the part of a row that may be padding, 0 to 1; 1 where none is computed.
    """
    longest = waiting[0].num_samples
    num_fitting = max(1, round(batch_seconds * SAMPLING_RATE_HZ) // longest)
    shortest = (1 - max_padding) * longest
    candidates = itertools.islice(waiting, num_fitting)
    return sum(1 for _ in itertools.takewhile(lambda s: s.num_samples >= shortest, candidates))


def padded_s(batch: Sequence[WaitingSegment]) -> float:
    """Return the audio of a batch, longest segment first, with its padding, in seconds."""
    return len(batch) * batch[0].num_samples / SAMPLING_RATE_HZ
