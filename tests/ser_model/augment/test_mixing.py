"""What is added has the level that it should have, measured from what comes out."""

from __future__ import annotations

import numpy as np
import pytest

from ser_model.augment import NoiseFolder, conditions
from ser_model.augment.noise_layout import KINDS
from ser_model.schema import SegmentError


def snr_db(speech: np.ndarray, augmented: np.ndarray, where: slice = slice(None)) -> float:
    """The ratio of the segment's energy a sample to that of what was added, in dB."""
    added = (augmented.astype(np.float64) - speech)[where]
    return 10 * np.log10(np.var(speech, ddof=0, dtype=float) / np.mean(added**2))


@pytest.mark.parametrize("gain", [1.0, 0.02])
@pytest.mark.parametrize(
    "name",
    [
        *(f"{kind}-{snr}db" for kind in ("natural", "human", "interior") for snr in (0, 10, 20)),
        *(f"white-noise-{snr}db" for snr in (30, 25, 20, 15, 10, 5, 0)),
        *(f"cross-talk-{snr}db" for snr in (5, 10, 20)),
        "music-10db",
        "music-20db",
        "environmental-20db",
        "babble-20db",
    ],
)
def test_the_snr_is_that_of_the_name(
    name: str, gain: float, noise: NoiseFolder, speech: np.ndarray
) -> None:
    (condition,) = conditions([name], noise)
    wanted = float(name.split("-")[-1].removesuffix("db"))
    for number in range(5):
        segment = (speech - speech.mean()) * np.float32(gain)
        augmented = condition.apply(segment, f"s{number}", 0)
        assert snr_db(segment, augmented) == pytest.approx(wanted, abs=0.05)
        assert len(augmented) == len(speech)


@pytest.mark.parametrize("name", ["coughing-10db", "sneezing-10db"])
def test_an_event_is_heard_once_for_a_second_at_most_and_at_its_snr(
    name: str, noise: NoiseFolder, speech: np.ndarray
) -> None:
    (condition,) = conditions([name], noise)
    centred = speech - speech.mean()
    starts = set()
    for number in range(8):
        augmented = condition.apply(centred, f"s{number}", 0)
        changed = np.flatnonzero(augmented != centred)
        start, end = int(changed[0]), int(changed[-1]) + 1
        assert 0.7 * 16_000 < end - start <= 16_000
        assert snr_db(centred, augmented, slice(start, end)) == pytest.approx(10, abs=0.05)
        starts.add(start // 4_000)
    assert len(starts) > 2


def test_small_white_noise_has_one_of_three_snrs(speech: np.ndarray) -> None:
    (condition,) = conditions(["small-white-noise"], None)
    centred = speech - speech.mean()
    found = [snr_db(centred, condition.apply(centred, str(n), 0)) for n in range(30)]
    nearest = {min((35, 40, 45), key=lambda snr: abs(snr - value)) for value in found}
    assert nearest == {35, 40, 45}
    assert max(min(abs(value - snr) for snr in (35, 40, 45)) for value in found) < 0.05


def test_the_small_tone_is_a_sine_between_5_and_7_khz_below_the_peak(speech: np.ndarray) -> None:
    (condition,) = conditions(["small-tone"], None)
    ratios, frequencies = set(), []
    for number in range(20):
        added = condition.apply(speech, str(number), 0).astype(float) - speech
        spectrum = np.abs(np.fft.rfft(added * np.hanning(len(added))))
        frequencies.append(float(np.argmax(spectrum)) * 16_000 / len(added))
        peak_db = 20 * np.log10(np.abs(speech).max() / (np.sqrt(2 * np.mean(added**2))))
        ratios.add(round(peak_db, 1))
    assert ratios == {40.0, 45.0, 50.0}
    assert 5_000 <= min(frequencies) < 5_500
    assert 6_500 < max(frequencies) <= 7_000


def test_white_noise_is_white_and_gaussian() -> None:
    (condition,) = conditions(["white-noise-0db"], None)
    tone = np.sin(np.arange(160_000, dtype=np.float32))
    added = condition.apply(tone, "a", 0).astype(float) - tone
    power = np.abs(np.fft.rfft(added)) ** 2
    octaves = [power[1000 * 2**k : 1000 * 2 ** (k + 1)].mean() for k in range(6)]
    assert max(octaves) / min(octaves) < 1.15
    kurtosis = np.mean(added**4) / np.mean(added**2) ** 2
    assert kurtosis == pytest.approx(3, abs=0.1)


def test_babble_is_of_four_to_seven_voices(tmp_path, write_sound, speech: np.ndarray) -> None:
    # Sounds that are pure tones can be counted again in the spectrum.
    frequencies = [300 + 100 * number for number in range(40)]
    time_s = np.arange(48_000) / 16_000
    for frequency in frequencies:
        write_sound(f"speech/{frequency}.wav", 0.1 * np.sin(2 * np.pi * frequency * time_s))
    (babble,) = conditions(["babble-20db"], NoiseFolder.open(str(tmp_path / "noise")))
    counts = set()
    for number in range(40):
        added = babble.apply(speech, str(number), 0).astype(float) - speech
        heard = np.abs(np.fft.rfft(added))[[3 * frequency for frequency in frequencies]]
        # Voices that were drawn twice have the more amplitude: at most 7 in all.
        counts.add(int((heard > 0.2 * heard.max()).sum()))
    assert max(counts) == 7
    assert min(counts) >= 3
    assert {4, 5, 6, 7} <= counts


def test_the_kinds_of_the_papers_have_ten_classes_each() -> None:
    for kind in ("natural", "human", "interior"):
        assert len(KINDS[kind] - {kind}) == 10
    assert not KINDS["natural"] & KINDS["human"]
    assert not KINDS["human"] & KINDS["interior"]
    assert not KINDS["natural"] & KINDS["interior"]


def test_a_segment_at_the_limit_of_silence(noise: NoiseFolder) -> None:
    (condition,) = conditions(["natural-0db"], noise)
    rounding = np.full(16_000, 1 / 32_768, np.float32)  # one step of 16 bits is heard ...
    assert len(condition.apply(rounding, "a", 0)) == 16_000
    with pytest.raises(SegmentError, match="silent_segment"):  # ... and a third of one is not
        condition.apply(rounding / 3.3, "a", 0)
