"""Reading and decoding by Ray tasks, so that CPU machines do it for a worker with a GPU.

worker ──▶ parts of a shard ──▶ tasks on any CPU of the cluster
   ▲                                        │ waveforms
   └──────────── in order ──────────────────┘
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
import ray
from ray.exceptions import RayTaskError

from orchestration.shard_plan import SegmentAudio, Shard

SEGMENTS_PER_PART = 32
"""A part of this many segments of 10 s is 20 MB of audio: enough to be worth a task."""

LARGEST_PART = 512
"""A part of more segments (a long recording, a large row group) is not held in memory as a whole:
its worker reads it, a segment after the other."""


def read_remotely(shard: Shard, num_in_flight: int) -> Iterator[SegmentAudio]:
    """Yield what `shard.read()` yields, the same in the same order, read by Ray tasks.

    Ray repeats a task whose process or machine dies.

    Args:
        shard: some segments.
        num_in_flight: parts that are read, or have been read and wait here, at a time.

    Raises:
        OSError: as reading raised it in a task.
    """
    parts = shard.parts(SEGMENTS_PER_PART)
    in_flight: deque[ray.ObjectRef[list[SegmentAudio]] | Shard] = deque()
    try:
        while True:
            while len(in_flight) < num_in_flight and (part := next(parts, None)) is not None:
                small = part[1] <= LARGEST_PART
                in_flight.append(_read_part.remote(part[0]) if small else part[0])
            if not in_flight:
                return
            first = in_flight.popleft()
            yield from _take(first) if isinstance(first, ray.ObjectRef) else first.read()
    finally:
        for left in in_flight:
            if isinstance(left, ray.ObjectRef):
                ray.cancel(left)


@ray.remote(num_cpus=1)
def _read_part(part: Shard) -> list[SegmentAudio]:
    return list(part.read())


def _take(ref: ray.ObjectRef[list[SegmentAudio]]) -> Iterator[SegmentAudio]:
    try:
        segments = ray.get(ref)
    except RayTaskError as error:
        raise error.cause from error
    for segment_id, audio in segments:
        # A copy, for what Ray returns is a view that would keep the whole part in its store.
        yield segment_id, audio.copy() if isinstance(audio, np.ndarray) else audio
