"""Faster playback: durations, pitch, and what is left as it was."""

from __future__ import annotations

import numpy as np
import pytest

from ser_model.augment import conditions


def apply(name: str, waveform: np.ndarray, segment_id: str = "a") -> np.ndarray:
    (condition,) = conditions([name], None)
    return condition.apply(waveform, segment_id, 0)


@pytest.mark.parametrize("factor", [1.25, 1.5])
@pytest.mark.parametrize("num_samples", [1, 10, 400, 1_999, 16_000, 160_001])
def test_playback_shortens_by_its_factor(factor: float, num_samples: int) -> None:
    tone = np.sin(2 * np.pi * 200 * np.arange(num_samples) / 16_000 + 1).astype(np.float32)
    faster = apply(f"playback-{factor}x", tone)
    assert abs(len(faster) - num_samples / factor) <= 0.5


@pytest.mark.parametrize("factor", [1.25, 1.5])
def test_playback_keeps_pitch_and_level(factor: float) -> None:
    for frequency_hz in (120, 440, 3_000):
        tone = np.sin(2 * np.pi * frequency_hz * np.arange(80_000) / 16_000).astype(np.float32)
        faster = apply(f"playback-{factor}x", tone)
        spectrum = np.abs(np.fft.rfft(faster * np.hanning(len(faster))))
        found_hz = np.argmax(spectrum) * 16_000 / len(faster)
        assert found_hz == pytest.approx(frequency_hz, rel=0.005)
        assert np.sqrt(np.mean(faster**2)) == pytest.approx(np.sqrt(0.5), rel=0.02)


def test_syllables_come_faster(speech: np.ndarray) -> None:
    """Three bursts at known times are heard at these times by the factor."""
    waveform = np.zeros(5 * 16_000, np.float32)
    for start_s in (0.5, 2.0, 4.0):
        start = round(start_s * 16_000)
        waveform[start : start + 3_200] = speech[1_000:4_200]
    faster = apply("playback-1.25x", waveform)
    loud = np.convolve(np.abs(faster) > 0.02, np.ones(800), "same") > 0
    starts = np.flatnonzero(np.diff(loud.astype(int)) == 1) / 16_000
    np.testing.assert_allclose(starts, np.array([0.5, 2.0, 4.0]) / 1.25, atol=0.06)


def test_one_stretch_of_10_to_20_percent_is_faster_and_the_rest_as_it_was(
    speech: np.ndarray,
) -> None:
    # A seventh of the segment is 1/7 shorter ... in all .02 to .04 of it is lost.
    shares, starts = [], []
    for number in range(40):
        faster = apply("speed-up-segment", speech, str(number))
        lost = len(speech) - len(faster)
        num_before = int(np.argmax(np.r_[faster != speech[: len(faster)], True]))
        same_end = faster[::-1] == speech[::-1][: len(faster)]
        num_after = int(np.argmax(np.r_[~same_end, True]))
        num_stretch = lost / (1 - 1 / 1.25)
        shares.append(num_stretch / len(speech))
        starts.append(num_before / len(speech))
        # The 5 ms behind the stretch are a cross-fade; all else is equal to the sample.
        assert num_before + num_stretch + num_after >= len(speech) - 80 - 5
    assert 0.099 < min(shares) < 0.12
    assert 0.18 < max(shares) < 0.201
    assert min(starts) < 0.15
    assert max(starts) > 0.7


def test_the_faster_stretch_is_what_the_whole_would_be_there() -> None:
    """A tone stays one tone over both joints: no click, no gap."""
    turns = 200 * np.arange(32_000) / 16_000
    tone = np.sin(2 * np.pi * turns).astype(np.float32)
    for number in range(10):
        faster = apply("speed-up-segment", tone, str(number))
        envelope = np.sqrt(np.convolve(faster.astype(float) ** 2, np.ones(80) / 80, "valid"))
        assert envelope.min() > 0.25  # the fade may meet the tone in another phase
        assert np.abs(np.diff(faster)).max() < 0.35
