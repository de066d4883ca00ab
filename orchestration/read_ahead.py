"""Audio on its way from the thread that reads it to the thread that scores it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator

from orchestration.hearing import ConditionEnd, Heard
from ser_model.audio import SAMPLING_RATE_HZ
from ser_model.schema import SegmentError

READ_AHEAD_S = 1200.0
"""Seconds of audio that wait for the model at most: 77 MB, one window of the predictor."""


class StoppedError(Exception):
    """The other thread has no use for what this one does."""


class ReadAhead:
    """A queue between one thread that reads a shard and one that scores it.

    It is bounded by seconds of audio, not by items, so that memory does not depend on how long
    segments are: the reader waits where it is full. One item always has room, however long.

    Attributes:
        starved_s: seconds that the scoring side has waited for audio.
    """

    def __init__(self, max_s: float = READ_AHEAD_S) -> None:
        """Make an empty queue that holds `max_s` seconds of audio."""
        self._max_samples = int(max_s * SAMPLING_RATE_HZ)
        self._num_samples = 0
        self._items: deque[Heard] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._error: BaseException | None = None
        self._stopped = False
        self.starved_s = 0.0

    def put(self, item: Heard) -> None:
        """Add a segment, or the end of a condition; waits for room.

        Raises:
            StoppedError: nobody will take it.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopped or self._num_samples < self._max_samples or not self._items
            )
            if self._stopped:
                raise StoppedError
            self._items.append(item)
            self._num_samples += _num_samples(item)
            self._changed.notify_all()

    def close(self, error: BaseException | None = None) -> None:
        """Say that nothing follows, or that reading failed, which iterating raises at its end."""
        with self._changed:
            self._closed, self._error = True, error
            self._changed.notify_all()

    def stop(self) -> None:
        """Let both sides go: `put` and iterating raise StoppedError."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Heard]:
        """Yield what is put, until it is closed."""
        while (item := self._take()) is not None:
            yield item

    def _take(self) -> Heard | None:
        with self._changed:
            started = time.monotonic()
            self._changed.wait_for(lambda: self._stopped or self._items or self._closed)
            self.starved_s += time.monotonic() - started
            if self._stopped:
                raise StoppedError
            if self._items:
                item = self._items.popleft()
                self._num_samples -= _num_samples(item)
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            return None


def _num_samples(item: Heard) -> int:
    if isinstance(item, ConditionEnd) or isinstance(item.audio, SegmentError):
        return 0
    return len(item.audio)
