"""Gains, fades, loudness and clipping, measured from what comes out."""

from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest
from scipy import signal

from ser_model.augment import conditions
from ser_model.schema import SegmentError


def apply(name: str, waveform: np.ndarray, segment_id: str = "a") -> np.ndarray:
    (condition,) = conditions([name], None)
    return condition.apply(waveform, segment_id, 0)


def test_the_small_gain_is_one_of_four(speech: np.ndarray) -> None:
    found = set()
    for number in range(40):
        augmented = apply("small-gain", speech, str(number))
        loud = np.abs(speech) > 0.01
        gains_db = 20 * np.log10(augmented[loud] / speech[loud])
        assert np.ptp(gains_db) < 1e-3
        found.add(round(float(gains_db.mean()), 3))
    assert found == {-2.0, -1.0, 1.0, 2.0}


def test_a_fade_changes_the_amplitude_by_2_percent_a_second() -> None:
    ones = np.ones(10 * 16_000, np.float32)
    each_second = [0.98**second for second in range(10)]
    directions = set()
    for number in range(12):
        augmented = apply("fade", ones, str(number))
        fades_in = augmented[0] < augmented[-1]
        directions.add(bool(fades_in))
        ordered = augmented[::-1] if fades_in else augmented
        np.testing.assert_allclose(ordered[::16_000], each_second, atol=1e-6)
        assert (np.diff(ordered) <= 0).all()
    assert directions == {True, False}


def test_a_fade_of_ten_minutes_is_still_heard() -> None:
    quiet_end = apply("fade", np.ones(600 * 16_000, np.float32)).min()
    assert quiet_end == pytest.approx(0.98**600, rel=1e-3)


@pytest.mark.parametrize("lufs", [-36, -30, -23, -16, -9])
def test_the_loudness_is_that_of_the_name(lufs: int, speech: np.ndarray) -> None:
    for gain in (0.1, 1.0, 5.0):
        augmented = apply(f"loudness-minus-{-lufs}lufs", speech * np.float32(gain))
        measured = pyloudnorm.Meter(16_000).integrated_loudness(augmented.astype(float))
        assert measured == pytest.approx(lufs, abs=0.05)
        ratio = augmented[np.abs(speech) > 0.01] / speech[np.abs(speech) > 0.01]
        assert np.ptp(ratio) < 1e-4 * ratio.mean()  # one gain, and no clipping


def test_the_loudness_of_a_sine_is_what_the_standard_says() -> None:
    """BS.1770: a full-scale sine of 997 Hz in one front channel has -3.01 LUFS."""
    turns = 997 * np.arange(5 * 16_000) / 16_000
    sine = np.sin(2 * np.pi * turns).astype(np.float32)
    augmented = apply("loudness-minus-23lufs", sine * np.float32(0.3))
    assert 20 * np.log10(np.abs(augmented).max()) == pytest.approx(-23 + 3.01, abs=0.1)


def test_loudness_has_no_meaning_below_the_gate_and_for_less_than_400_ms(
    speech: np.ndarray,
) -> None:
    with pytest.raises(SegmentError, match=r"silent_segment: .*-70 LUFS"):
        apply("loudness-minus-23lufs", (speech / np.abs(speech).max() * 2e-4).astype(np.float32))
    with pytest.raises(SegmentError, match="too_short: 6399 samples"):
        apply("loudness-minus-23lufs", speech[:6_399])
    assert len(apply("loudness-minus-23lufs", speech[3_000:9_400])) == 6_400


@pytest.mark.parametrize(("name", "share"), [("clipping-1pct", 0.01), ("clipping-5pct", 0.05)])
def test_clipping_cuts_its_share_of_the_samples(
    name: str, share: float, speech: np.ndarray
) -> None:
    augmented = apply(name, speech)
    limit = np.abs(augmented).max()
    assert np.mean(np.abs(speech) > limit) == pytest.approx(share, abs=1 / len(speech))
    np.testing.assert_array_equal(augmented, np.clip(speech, -limit, limit))


def test_the_small_clip_cuts_one_of_three_shares(speech: np.ndarray) -> None:
    shares = set()
    for number in range(30):
        limit = np.abs(apply("small-clip", speech, str(number))).max()
        shares.add(round(float(np.mean(np.abs(speech) > limit)), 4))
    assert shares == {0.001, 0.002, 0.003}


def test_a_square_wave_has_nothing_to_clip() -> None:
    square = signal.square(np.arange(8_000) / 20).astype(np.float32)
    np.testing.assert_array_equal(apply("clipping-5pct", square), square)
