"""Tells which shards take far longer than others, so that an idle worker can try them too."""

from __future__ import annotations

import statistics
from collections import deque

HEDGE_AFTER = 3.0
"""A shard is a straggler when it takes this many times as long as others of its size."""

MIN_HEDGE_S = 5.0
"""No shard is one before this: what lasts a moment is not worth scoring twice."""

NUM_REMEMBERED = 100
"""Shards that the median is taken of, the last ones: what is usual may change during a run."""


class ShardTimes:
    """Remembers how long shards took.

    Example:
        >>> times = ShardTimes()
        >>> times.overdue(60.0, num_segments=10)
        0.0
        >>> times.add(20.0, num_segments=10)
        >>> times.overdue(60.0, num_segments=10), times.overdue(60.0, num_segments=40)
        (1.0, 0.25)
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._segment_s: deque[float] = deque(maxlen=NUM_REMEMBERED)

    def add(self, duration_s: float, num_segments: int) -> None:
        """Remember that a shard of so many segments took so long."""
        self._segment_s.append(duration_s / num_segments)

    def overdue(self, elapsed_s: float, num_segments: int) -> float:
        """Return for how much of the allowed time a shard has been in work; from 1 it straggles.

        It is 0 as long as no shard has ended, for then nothing is known.
        """
        if not self._segment_s:
            return 0.0
        usual_s = statistics.median(self._segment_s) * num_segments
        return elapsed_s / max(HEDGE_AFTER * usual_s, MIN_HEDGE_S)
