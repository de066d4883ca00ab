"""Codecs: in time with the segment, at their bit rate, and the better the more bits."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from scipy import signal

from ser_model.audio import decode_audio
from ser_model.augment import codecs, conditions, ffmpeg, phone
from ser_model.augment.catalogue import KBPS

NAMES = [f"{codec}-{kbps}kbps" for codec in ("mp3", "aac", "opus") for kbps in KBPS]


def apply(name: str, waveform: np.ndarray) -> np.ndarray:
    (condition,) = conditions([name], None)
    return condition.apply(waveform, "a", 0)


def lag(original: np.ndarray, coded: np.ndarray) -> int:
    """By how many samples `coded` is late, from the peak of the correlation."""
    size = 1 << (2 * len(original)).bit_length()
    spectra = [np.fft.rfft(x.astype(float), size) for x in (original, coded)]
    correlation = np.fft.irfft(spectra[0].conj() * spectra[1])
    peak = int(np.argmax(correlation))
    return peak if peak < size // 2 else peak - size


def snr_db(original: np.ndarray, coded: np.ndarray) -> float:
    error = coded.astype(float) - original
    return 10 * np.log10(np.mean(original.astype(float) ** 2) / np.mean(error**2))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_samples", [48_000, 20_001, 5_000])
def test_the_codecs_delay_is_taken_back(name: str, num_samples: int, speech: np.ndarray) -> None:
    coded = apply(name, speech[:num_samples])
    assert len(coded) == num_samples
    assert lag(speech[:num_samples], coded) == 0


def test_the_phones_delay_is_taken_back() -> None:
    """AMR takes a voice for a later period of itself: this one has no two of the same length."""
    rng = np.random.default_rng(0)
    pulses = np.zeros(48_000)
    pulses[np.cumsum(rng.integers(60, 260, 290))] = 1.0
    voice = signal.lfilter([1], [1, -1.75 * np.cos(2 * np.pi * 600 / 16_000), 0.9], pulses)
    segment = (0.1 * voice).astype(np.float32)
    assert abs(lag(segment, apply("phone", segment))) <= 4


@pytest.mark.real_data
def test_the_phones_delay_is_taken_back_of_real_speech(real_data: Path) -> None:
    files = sorted((real_data / "ravdess").rglob("*.flac"))[5::200]
    lags = [lag(speech, apply("phone", speech)) for speech in map(decode_file, files)]
    # In some segments the peak is a period of the voice away.
    assert float(np.median(np.abs(lags))) <= 2


def decode_file(path: Path) -> np.ndarray:
    return decode_audio(path.read_bytes())


@pytest.mark.parametrize("codec", ["mp3", "aac", "opus"])
def test_more_bits_are_nearer_to_the_segment(codec: str, speech: np.ndarray) -> None:
    found = [snr_db(speech, apply(f"{codec}-{kbps}kbps", speech)) for kbps in KBPS]
    # With many bits, what is lost is above the codec's band: it does not get less.
    assert 10 < found[0] < min(found[1:]) - 2
    assert max(found) > 20


def test_the_bit_rates_are_those_of_the_names(
    speech: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured from the coded bytes of 12 s, on which a container weighs little."""
    coded: list[io.BytesIO] = []

    class Kept(io.BytesIO):
        def __init__(self) -> None:
            super().__init__()
            coded.append(self)

    for module in (codecs, ffmpeg):
        monkeypatch.setattr(module.io, "BytesIO", Kept)
    twelve_s = np.tile(speech, 4)
    for name in NAMES:
        apply(name, twelve_s)
        wanted = int(name.split("-")[1].removesuffix("kbps"))
        found = len(coded[-1].getvalue()) * 8 / 12 / 1000
        # Opus and AAC spend less on pauses; Opus's variable rate may also go over.
        assert 0.6 * wanted < found < 1.2 * wanted, name
        if name.startswith("mp3"):
            assert found == pytest.approx(wanted, rel=0.02)


def test_mp3_is_what_libsndfile_makes_of_a_file(speech: np.ndarray, tmp_path) -> None:
    """The same codec by way of a file on disk: no state is carried from segment to segment."""
    apply("mp3-64kbps", speech[::-1].copy())
    file = tmp_path / "a.mp3"
    level = (160 - 64) / (160 - 8)
    sf.write(file, speech, 16_000, compression_level=level, bitrate_mode="CONSTANT")
    expected, _ = sf.read(file, dtype="float32")
    np.testing.assert_array_equal(apply("mp3-64kbps", speech), expected[: len(speech)])


def test_the_phone_hears_nothing_above_4_khz_but_hiss(speech: np.ndarray) -> None:
    coded = apply("phone", speech)
    power = np.abs(np.fft.rfft(coded)) ** 2
    low, high = power[: 3 * 3_700].sum(), power[3 * 4_200 :].sum()
    # Pink noise, 25 dB below full scale before the high-pass, beside speech with a peak of 1.
    speech_power = np.abs(np.fft.rfft(speech)) ** 2
    clean_high = speech_power[3 * 4_200 :].sum() / speech_power[: 3 * 3_700].sum()
    assert 1e-4 < high / low < 1
    assert high / low != pytest.approx(clean_high, rel=0.2)
    again = apply("phone", speech)
    np.testing.assert_array_equal(coded, again)


def test_the_phones_compressor_lets_levels_rise_by_four_fifths_above_its_threshold() -> None:
    turns = 500 * np.arange(16_000) / 16_000
    sine = np.sqrt(2) * np.sin(2 * np.pi * turns)  # with an RMS of 0 dB

    def level_out_db(level_db: float) -> float:
        heard = (sine * 10 ** (level_db / 20)).astype(np.float32)
        compressed = ffmpeg.run_filter(heard, "acompressor", phone.COMPRESSOR)[8_000:]
        return 10 * np.log10(np.mean(compressed.astype(float) ** 2))

    assert level_out_db(-40) == pytest.approx(-40, abs=0.01)
    assert level_out_db(-30) == pytest.approx(-30, abs=0.05)
    assert level_out_db(-4) - level_out_db(-9) == pytest.approx(0.8 * 5, abs=0.1)
