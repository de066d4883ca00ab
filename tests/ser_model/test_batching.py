"""Batches: what they hold, and how little of it is padding."""

import numpy as np
import pytest

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
from ser_model.schema import CLEAN


def silence(lengths: list[int]) -> list[Item]:
    return [(f"s{i}", CLEAN, np.zeros(n, np.float32), None) for i, n in enumerate(lengths)]


def batches(
    lengths: list[int], *, batch_seconds: float = 120.0, max_padding: float = MAX_PADDING
) -> list[list[WaitingSegment]]:
    found = []
    for window in read_windows(silence(lengths), WINDOW_BATCHES * batch_seconds):
        waiting = longest_first(window)
        while waiting:
            count = count_batch(waiting, batch_seconds=batch_seconds, max_padding=max_padding)
            found.append(waiting[:count])
            waiting = waiting[count:]
    return found


@pytest.mark.parametrize("num_segments", [64, 256, 5_000])
@pytest.mark.parametrize("seed", range(5))
def test_padding_is_at_most_five_percent_of_a_podcast_like_mix(
    num_segments: int, seed: int
) -> None:
    seconds = np.random.default_rng(seed).lognormal(np.log(5.0), 0.65, num_segments).clip(1, 30)
    lengths = [int(second * 16_000) for second in seconds]
    cut = batches(lengths)
    assert sorted(s.num_samples for batch in cut for s in batch) == sorted(lengths)
    assert all(len(batch) == 1 or padded_s(batch) <= 120.0 for batch in cut)
    waste = 1.0 - sum(lengths) / 16_000 / sum(padded_s(batch) for batch in cut)
    print(f"{num_segments} segments, {len(cut)} batches: padding {waste:.1%}")  # noqa: T201  to be seen
    assert 0.0 < waste <= 0.05


def test_without_padding_every_batch_is_as_full_as_the_budget_allows() -> None:
    cut = batches([160_000, 16_000, 48_000, 160_001], batch_seconds=20.1, max_padding=1.0)
    assert [[s.num_samples for s in batch] for batch in cut] == [
        [160_001, 160_000],
        [48_000, 16_000],
    ]


def test_a_segment_longer_than_the_budget_is_a_batch() -> None:
    assert [len(batch) for batch in batches([160_000] * 2, batch_seconds=1.0)] == [1, 1]


def test_the_order_of_reading_decides_nothing_within_a_window() -> None:
    items = silence([3_000, 2_000, 3_000])
    (forwards,) = read_windows(items, 10.0)
    (backwards,) = read_windows(items[::-1], 10.0)
    assert longest_first(forwards) == longest_first(backwards)
    assert [s.segment_id for s in longest_first(forwards)] == ["s0", "s2", "s1"]
