"""Edits are exact to the sample."""

from __future__ import annotations

import numpy as np
import pytest

from ser_model.augment import conditions


def apply(name: str, waveform: np.ndarray, segment_id: str = "a") -> np.ndarray:
    (condition,) = conditions([name], None)
    return condition.apply(waveform, segment_id, 0)


def lengths(name: str, speech: np.ndarray) -> set[int]:
    return {len(apply(name, speech, str(number))) - len(speech) for number in range(30)}


@pytest.mark.parametrize(
    ("name", "kept_of_speech"),
    [("small-append-zeros", slice(0, 48_000)), ("small-prepend-zeros", slice(-48_000, None))],
)
def test_zeros_are_added_and_the_rest_is_as_it_was(
    name: str, kept_of_speech: slice, speech: np.ndarray
) -> None:
    assert lengths(name, speech) == {100, 500, 1000}
    augmented = apply(name, speech)
    np.testing.assert_array_equal(augmented[kept_of_speech], speech)
    assert np.abs(augmented).sum(dtype=float) == pytest.approx(np.abs(speech).sum(dtype=float))


def test_cropping_takes_from_its_side(speech: np.ndarray) -> None:
    assert lengths("small-crop-beginning", speech) == {-100, -500, -1000}
    assert lengths("small-crop-end", speech) == {-100, -500, -1000}
    without_beginning = apply("small-crop-beginning", speech)
    np.testing.assert_array_equal(without_beginning, speech[-len(without_beginning) :])
    without_end = apply("small-crop-end", speech)
    np.testing.assert_array_equal(without_end, speech[: len(without_end)])


@pytest.mark.parametrize(("name", "num_lost"), [("gaps-2pct", 3), ("gaps-10pct", 15)])
def test_gaps_lose_their_share_of_frames(name: str, num_lost: int, speech: np.ndarray) -> None:
    # Of 150 frames of 20 ms. No sample of the segment is zero by itself.
    segment = np.where(speech == 0, np.float32(1e-3), speech)
    frames = []
    for number in range(5):
        augmented = apply(name, segment, str(number))
        lost = (augmented == 0).reshape(150, 320)
        assert (lost.all(axis=1) == lost.any(axis=1)).all()
        assert lost.all(axis=1).sum() == num_lost
        np.testing.assert_array_equal(augmented[augmented != 0], segment[augmented != 0])
        frames.append(tuple(np.flatnonzero(lost.all(axis=1))))
    assert len(set(frames)) == 5


def test_clean_is_the_segment_itself(speech: np.ndarray) -> None:
    np.testing.assert_array_equal(apply("clean", speech), speech)
