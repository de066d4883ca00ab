"""Finds the segments of a shard that kill whoever scores them, so that the others can be scored."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from orchestration.shard_plan import Exclusion

MAX_TRIES = 2
"""Failures of a segment that is alone on its worker before it is excluded: the first may have been
a machine that went away, or a device that an earlier segment left in a bad state."""


class Quarantine:
    """Tries the segments of one shard in turn; it decides, and others do the trying.

    Attributes:
        num_segments: segments of the shard.
        excluded: those that were found guilty, and why.

    Example:
        >>> from ser_model.schema import Reason
        >>> quarantine = Quarantine(["a", "b"])
        >>> for _ in range(MAX_TRIES):
        ...     quarantine.fail("a", Exclusion(reason=Reason.KILLED_WORKER, detail="died"))
        >>> quarantine.next_segment()
        'b'
        >>> quarantine.acquit("b")
        >>> quarantine.next_segment() is None, list(quarantine.excluded)
        (True, ['a'])
    """

    def __init__(self, segment_ids: Sequence[str]) -> None:
        """Suspect all of these."""
        self.num_segments = len(segment_ids)
        self.excluded: dict[str, Exclusion] = {}
        self._suspects = deque(segment_ids)
        self._num_failures: Counter[str] = Counter()

    @property
    def num_left(self) -> int:
        """Segments that are still to be tried."""
        return len(self._suspects)

    def next_segment(self) -> str | None:
        """Return the segment to try now; None when all have been judged."""
        return self._suspects[0] if self._suspects else None

    def acquit(self, segment_id: str) -> None:
        """Note that a segment was scored without harm."""
        self._suspects.remove(segment_id)

    def fail(self, segment_id: str, why: Exclusion) -> None:
        """Note that trying a segment failed; the last time it is excluded."""
        self._num_failures[segment_id] += 1
        if self._num_failures[segment_id] == MAX_TRIES:
            self._suspects.remove(segment_id)
            self.excluded[segment_id] = why
