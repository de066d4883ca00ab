"""Filters pass what they should: measured by sines, and beside scipy's analogue formulas."""

from __future__ import annotations

import numpy as np
import pytest

from ser_model.augment import conditions
from ser_model.augment.filters import Pass, butterworth, pink_noise


def gain_db(filtered_sine: np.ndarray, sine: np.ndarray) -> float:
    """Of the last half, where the filter has settled."""
    half = len(sine) // 2
    ratio = np.mean(filtered_sine[half:].astype(float) ** 2) / np.mean(
        sine[half:].astype(float) ** 2
    )
    return 10 * np.log10(ratio)


def sine(frequency_hz: float, num_samples: int = 64_000) -> np.ndarray:
    turns = frequency_hz * np.arange(num_samples) / 16_000
    return (0.5 * np.sin(2 * np.pi * turns)).astype(np.float32)


def bilinear_hz(frequency_hz: float) -> float:
    """Where the analogue filter has what the digital one has at a frequency."""
    return np.tan(np.pi * frequency_hz / 16_000)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    ("kind", "cutoff_hz"),
    [
        ("highpass", 50),
        ("highpass", 100),
        ("highpass", 150),
        ("highpass", 3000),
        ("lowpass", 7500),
        ("lowpass", 7000),
        ("lowpass", 6500),
    ],
)
def test_butterworth_is_3_db_down_at_the_cutoff_and_falls_by_its_order(
    kind: str, cutoff_hz: float, order: int
) -> None:
    for frequency_hz in (cutoff_hz, 40.0, 500.0, 2_000.0, 7_200.0):
        heard = sine(frequency_hz)
        found = gain_db(butterworth(heard, kind, cutoff_hz=cutoff_hz, order=order), heard)
        ratio = bilinear_hz(frequency_hz) / bilinear_hz(cutoff_hz)
        ratio = ratio if kind == "lowpass" else 1 / ratio
        expected = -10 * np.log10(1 + ratio ** (2 * order))
        assert found == pytest.approx(expected, abs=0.05)
        if frequency_hz == cutoff_hz:
            assert found == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize(
    ("name", "cutoffs_hz"),
    [("small-high-pass", (50, 100, 150)), ("small-low-pass", (6500, 7000, 7500))],
)
def test_the_small_filters_draw_one_of_three_cutoffs(
    name: str, cutoffs_hz: tuple[float, ...], speech: np.ndarray
) -> None:
    (condition,) = conditions([name], None)
    transform = condition.transform
    assert isinstance(transform, Pass)
    candidates = {
        cutoff: butterworth(speech, transform.kind, cutoff_hz=cutoff, order=1).tobytes()
        for cutoff in cutoffs_hz
    }
    found = {condition.apply(speech, str(number), 0).tobytes() for number in range(30)}
    assert found == set(candidates.values())


@pytest.mark.parametrize(("name", "rise_db"), [("tilt-up", 12), ("tilt-down", -12)])
def test_the_tilt_is_a_straight_line_over_the_spectrum(name: str, rise_db: float) -> None:
    (condition,) = conditions([name], None)
    noise = np.random.default_rng(0).standard_normal(160_000).astype(np.float32)
    tilted = condition.apply(noise, "a", 0)
    spectra = [np.abs(np.fft.rfft(x)) ** 2 for x in (noise, tilted)]
    middles = np.arange(500, 8_000, 500)
    change_db = [
        10 * np.log10(spectra[1][f - 200 : f + 200].sum() / spectra[0][f - 200 : f + 200].sum())
        for f in (middles * 10).tolist()
    ]
    slope, _ = np.polyfit(middles, change_db, 1)
    residuals = change_db - np.polyval(np.polyfit(middles, change_db, 1), middles)
    assert slope * 8_000 == pytest.approx(rise_db, abs=0.1)
    assert np.abs(residuals).max() < 0.05


@pytest.mark.parametrize(
    "name",
    [
        "tilt-up",
        "tilt-down",
        "microphone-mobile",
        "microphone-boundary",
        "position-1m",
        "position-3m",
        "room-booth",
        "room-office",
        "room-lecture",
        "phone",
    ],
)
def test_power_and_length_stay(name: str, speech: np.ndarray) -> None:
    (condition,) = conditions([name], None)
    for segment in (speech, speech * np.float32(0.01), speech[:777]):
        augmented = condition.apply(segment, "a", 0)
        assert len(augmented) == len(segment)
        powers = [float(np.square(x, dtype=float).mean()) for x in (augmented, segment)]
        assert powers[0] == pytest.approx(powers[1], rel=1e-3)


def test_a_tilt_does_not_smear_over_the_ends() -> None:
    click = np.zeros(4_000, np.float32)
    click[3_900] = 1
    (condition,) = conditions(["tilt-up"], None)
    tilted = condition.apply(click, "a", 0)
    assert np.abs(tilted[:3_000]).max() < 1e-3


def test_the_mobile_microphone_has_a_band_and_hisses() -> None:
    (condition,) = conditions(["microphone-mobile"], None)
    loud = condition.apply(sine(1_000), "a", 0)
    spectrum = np.abs(np.fft.rfft(loud[32_000:])) ** 2  # where the filters have settled
    at_tone = spectrum[2_000]
    hiss_snr_db = 10 * np.log10(at_tone / (spectrum.sum() - at_tone))
    assert hiss_snr_db == pytest.approx(35, abs=0.2)
    both = condition.apply(sine(60) + sine(1_000), "a", 0)
    spectrum = np.abs(np.fft.rfft(both))
    # Order 2 at 200 Hz: 60 Hz is 10 log10(1 + (200 / 60)^4) = 21 dB down.
    assert 20 * np.log10(spectrum[4_000] / spectrum[240]) == pytest.approx(20.9, abs=0.5)


def test_pink_noise_falls_by_3_db_an_octave() -> None:
    noise = pink_noise(320_000, np.random.default_rng(0))
    assert np.mean(noise.astype(float) ** 2) == pytest.approx(1, rel=1e-3)
    power = np.abs(np.fft.rfft(noise)) ** 2
    octaves = [power[2_000 * 2**k : 2_000 * 2 ** (k + 1)].sum() for k in range(6)]
    # Equal energy in each octave.
    np.testing.assert_allclose(octaves / np.mean(octaves), 1, atol=0.05)
    assert len(pink_noise(1, np.random.default_rng(0))) == 1
