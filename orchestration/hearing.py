"""Segments as they are heard under each condition: decoded once, augmented one after the other.

    a window of segments ──▶ clean ──▶ one condition ──▶ the next ──▶ ... ──▶ the next window

A window of clean audio is held in memory, however many conditions there are, and of augmented audio
one segment. The clean lengths alone decide which segments share a window, and a batch is of one
window and one condition. So a score does not depend on which conditions are asked for beside its
own, to the last bit: a run that is extended by a condition is one that had it from the beginning.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from orchestration.shard_plan import SegmentAudio, Waveform
from ser_model.audio import SAMPLING_RATE_HZ
from ser_model.augment import Condition
from ser_model.schema import CLEAN, SegmentError

WINDOW_S = 1200.0
"""Seconds of clean audio in a window, at least: what the predictor sorts into batches at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionAudio:
    """A segment under a condition.

    Attributes:
        condition: its name.
        window: number of the window that the segment is in, from 0.
        segment_id: the segment.
        audio: its waveform, or why there is none.
    """

    condition: str
    window: int
    segment_id: str
    audio: Waveform | SegmentError


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionEnd:
    """Says that all segments of a shard have been heard under a condition."""

    condition: str


Heard: TypeAlias = ConditionAudio | ConditionEnd


class Hearing:
    """Lets the segments of a shard be heard under some conditions.

    Attributes:
        read_s: seconds that reading and decoding took.
        augment_s: seconds that the conditions took.
    """

    def __init__(
        self, conditions: Sequence[Condition], *, seed: int = 0, window_s: float = WINDOW_S
    ) -> None:
        """Take the conditions, each once; `clean` leaves the audio as it was decoded."""
        self._has_clean = any(condition.name == CLEAN for condition in conditions)
        self._augmenting = [condition for condition in conditions if condition.name != CLEAN]
        self._seed = seed
        self._window_samples = int(window_s * SAMPLING_RATE_HZ)
        self.read_s = 0.0
        self.augment_s = 0.0

    def hear(self, segments: Iterable[SegmentAudio]) -> Iterator[Heard]:
        """Yield each segment under each condition, and an end behind the last one of a condition.

        Clean audio passes at once; under the other conditions a window follows when it is full.
        A segment without audio has none under any condition.

        Args:
            segments: those of a shard, as `Shard.read` yields them; each is taken once.

        Raises:
            ConfigError: a sound that the noise folder lists cannot be read here.
            UnfinishedError: the store of the noise folder does not answer.
        """
        window: list[SegmentAudio] = []
        number, num_samples = 0, 0
        for segment_id, audio in self._timed(segments):
            if self._has_clean:
                yield ConditionAudio(
                    condition=CLEAN, window=number, segment_id=segment_id, audio=audio
                )
            if self._augmenting:
                window.append((segment_id, audio))
            num_samples += 0 if isinstance(audio, SegmentError) else len(audio)
            if num_samples >= self._window_samples:
                for condition in self._augmenting:
                    yield from self._under(condition, number, window)
                window, number, num_samples = [], number + 1, 0
        if self._has_clean:
            yield ConditionEnd(condition=CLEAN)
        for condition in self._augmenting:
            yield from self._under(condition, number, window)
            yield ConditionEnd(condition=condition.name)

    def _timed(self, segments: Iterable[SegmentAudio]) -> Iterator[SegmentAudio]:
        started = time.monotonic()
        for segment in segments:
            self.read_s += time.monotonic() - started
            yield segment
            started = time.monotonic()

    def _under(
        self, condition: Condition, number: int, window: Sequence[SegmentAudio]
    ) -> Iterator[ConditionAudio]:
        for segment_id, audio in window:
            yield ConditionAudio(
                condition=condition.name,
                window=number,
                segment_id=segment_id,
                audio=self._augment(condition, segment_id, audio),
            )

    def _augment(
        self, condition: Condition, segment_id: str, audio: Waveform | SegmentError
    ) -> Waveform | SegmentError:
        if isinstance(audio, SegmentError):
            return audio
        started = time.monotonic()
        try:
            return condition.apply(audio, segment_id, self._seed)
        except SegmentError as error:
            return error
        finally:
            self.augment_s += time.monotonic() - started
