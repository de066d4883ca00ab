"""Sketches of sets of segments against the sets themselves."""

import numpy as np
import pytest

from ser_model.metrics.segment_sketch import SKETCH_SIZE, SegmentSketch


def hashes(size, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, size, dtype=np.uint64)


@pytest.mark.parametrize(("size", "missing", "added"), [(0, 0, 1), (50, 3, 0), (1500, 40, 25)])
def test_up_to_its_size_a_sketch_counts_exactly(size, missing, added):
    common = hashes(size)
    first = SegmentSketch.from_hashes(np.concatenate([common, hashes(missing, 1)]))
    second = SegmentSketch.from_hashes(np.concatenate([hashes(added, 2), common]))
    assert first.num_differing(second) == second.num_differing(first) == missing + added


@pytest.mark.parametrize("missing", [500, 5_000])
def test_of_many_segments_it_is_within_four_standard_deviations(missing):
    whole = hashes(100_000)
    found = SegmentSketch.from_hashes(whole).num_differing(
        SegmentSketch.from_hashes(whole[missing:])
    )
    share = missing / len(whole)
    deviation = len(whole) * np.sqrt(share * (1 - share) / SKETCH_SIZE)
    assert abs(found - missing) <= 4 * deviation
    assert found >= missing  # one set is part of the other: the counts alone say so much


def test_one_segment_of_many_is_noticed():
    whole = hashes(100_000)
    changed = whole.copy()
    changed[np.argmax(whole)] = np.uint64(2**64 - 1)
    first, second = SegmentSketch.from_hashes(whole), SegmentSketch.from_hashes(changed)
    assert first.num_segments == second.num_segments
    assert first.num_differing(second) >= 1


def test_merging_in_any_order_gives_the_sketch_of_the_whole():
    whole = hashes(9_000)
    parts = [SegmentSketch.from_hashes(part) for part in np.array_split(whole, 7)]
    for order in (range(7), reversed(range(7))):
        merged = SegmentSketch.from_hashes(whole[:0])
        for number in order:
            merged = merged.merge(parts[number])
        expected = SegmentSketch.from_hashes(whole)
        assert merged.num_differing(expected) == 0
        np.testing.assert_array_equal(merged.smallest, expected.smallest)
