"""Rooms: their reverberation, measured from impulse responses, and their place in time."""

from __future__ import annotations

import numpy as np
import pyroomacoustics
import pytest
from scipy import signal

from ser_model.augment import conditions
from ser_model.augment.rooms import Room, impulse_response

NAMES = (
    "position-1m",
    "position-3m",
    "room-booth",
    "room-office",
    "room-lecture",
    "microphone-boundary",
)


def room(name: str) -> Room:
    (condition,) = conditions([name], None)
    assert isinstance(condition.transform, Room)
    return condition.transform


def decay_s(response: np.ndarray) -> float:
    """The reverberation time from -5 to -25 dB of Schroeder's backward integral (ISO 3382)."""
    left = np.cumsum(response[::-1] ** 2)[::-1]
    level_db = 10 * np.log10(left / left[0] + 1e-12)
    fitted = (level_db < -5) & (level_db > -25)
    slope, _ = np.polyfit(np.flatnonzero(fitted) / 16_000, level_db[fitted], 1)
    return -60 / slope


def direct_to_reverberant_db(response: np.ndarray) -> float:
    return 10 * np.log10(np.sum(response[:40] ** 2) / np.sum(response[40:] ** 2))


@pytest.mark.parametrize(
    ("name", "expected_s"),
    [
        ("room-booth", 0.12),
        ("microphone-boundary", 0.3),
        ("room-office", 0.4),
        ("position-1m", 0.45),
        ("position-3m", 0.45),
        ("room-lecture", 0.8),
    ],
)
def test_sound_dies_away_as_the_page_says(name: str, expected_s: float) -> None:
    assert decay_s(impulse_response(room(name))) == pytest.approx(expected_s, rel=0.15)


def test_a_farther_microphone_hears_more_of_the_room() -> None:
    near, far = (impulse_response(room(name)) for name in ("position-1m", "position-3m"))
    assert direct_to_reverberant_db(near) > direct_to_reverberant_db(far) + 4


@pytest.mark.parametrize("name", NAMES)
def test_the_direct_sound_is_in_time(name: str) -> None:
    click = np.zeros(8_000, np.float32)
    click[1_000] = 0.5
    (condition,) = conditions([name], None)
    heard = condition.apply(click, "a", 0)
    assert np.argmax(np.abs(heard)) == 1_000
    # Before it there is only the ringing of the band limit, and a high-pass of 10 Hz.
    assert np.abs(heard[:990]).max(initial=0) < 0.02 * np.abs(heard).max()


def test_it_is_a_convolution(speech: np.ndarray) -> None:
    response = impulse_response(room("room-office"))
    expected = signal.lfilter(response[:4_000], 1, speech[:4_000].astype(float))
    expected *= np.sqrt(np.mean(speech[:4_000].astype(float) ** 2) / np.mean(expected**2))
    (condition,) = conditions(["room-office"], None)
    np.testing.assert_allclose(condition.apply(speech[:4_000], "a", 0), expected, atol=1e-5)


def test_the_number_of_threads_changes_nothing_and_is_put_back() -> None:
    before = pyroomacoustics.constants.get("num_threads")
    responses = []
    try:
        for num_threads in (1, 4):
            pyroomacoustics.constants.set("num_threads", num_threads)
            impulse_response.cache_clear()
            responses.append(impulse_response(room("room-lecture")))
            assert pyroomacoustics.constants.get("num_threads") == num_threads
    finally:
        pyroomacoustics.constants.set("num_threads", before)
    np.testing.assert_array_equal(*responses)
