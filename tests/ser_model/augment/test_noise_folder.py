"""Sounds as they are drawn from a folder: cut, looped, resampled, and passed over where bad."""

from __future__ import annotations

import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pytest

from ser_model.augment import NoiseFolder, conditions, noise_folder
from ser_model.schema import ConfigError, Reason, SegmentError, Stage


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_an_object_store_holds_the_same_noise(write_sound, tmp_path: Path, speech) -> None:
    for number in range(3):
        file = write_sound(f"rain/{number}.wav", seed=number)
        with fsspec.open(f"memory://noise-tests/rain/{number}.wav", "wb") as copy:
            copy.write(file.read_bytes())
    heard = []
    for uri in (str(tmp_path / "noise"), "memory://noise-tests"):
        folder = NoiseFolder.open(uri)
        (condition,) = conditions(["natural-0db"], folder)
        heard.append((folder.sha256, condition.apply(speech, "a", 0).tobytes()))
    assert heard[0] == heard[1]


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 44_100, 48_000])
def test_sounds_of_any_rate_keep_pitch_and_level(write_sound, tmp_path: Path, rate_hz: int) -> None:
    time_s = np.arange(2 * rate_hz) / rate_hz
    write_sound("rain/a.wav", 0.3 * np.sin(2 * np.pi * 440 * time_s), rate_hz=rate_hz)
    folder = NoiseFolder.open(str(tmp_path / "noise"))
    drawn = folder.draw("natural", 16_000, generator())
    assert np.argmax(np.abs(np.fft.rfft(drawn))) == 440
    assert np.sqrt(2 * np.mean(drawn.astype(float) ** 2)) == pytest.approx(0.3, rel=0.01)


def test_channels_are_averaged(write_sound, tmp_path: Path) -> None:
    left = 0.1 * generator().standard_normal(16_000)
    write_sound("rain/a.wav", np.stack([left, 3 * left], axis=1))
    drawn = NoiseFolder.open(str(tmp_path / "noise")).draw("natural", 500, generator())
    position = np.correlate((2 * left).astype(np.float32), drawn, "valid").argmax()
    np.testing.assert_allclose(drawn, 2 * left[position : position + 500], atol=1e-6)


def test_a_longer_sound_is_cut_anywhere_and_a_shorter_one_looped(
    write_sound, tmp_path: Path
) -> None:
    ramp = np.linspace(0.1, 0.9, 8_000).astype(np.float32)
    write_sound("rain/a.wav", ramp)
    folder = NoiseFolder.open(str(tmp_path / "noise"))
    rng = generator()
    starts = []
    for _ in range(50):
        cut = folder.draw("natural", 1_000, rng)
        start = int(np.searchsorted(ramp, cut[0]))
        np.testing.assert_array_equal(cut, ramp[start : start + 1_000])
        starts.append(start)
    assert min(starts) < 1_000
    assert max(starts) > 6_000
    looped = folder.draw("natural", 20_000, rng)
    start = int(np.searchsorted(ramp, looped[0]))
    expected = [ramp[(start + number) % len(ramp)] for number in range(20_000)]
    np.testing.assert_array_equal(looped, expected)


BAD = {
    "silent": (np.zeros(16_000), "it is silent"),
    "almost_silent": (np.full(16_000, 1e-6), "it is silent"),
    "not_a_number": (np.r_[np.ones(1000), np.nan, np.ones(1000)], "samples are NaN or infinite"),
    "infinite": (np.r_[np.ones(1000), np.inf, np.ones(1000)], "samples are NaN or infinite"),
    "one_sample": (np.ones(1), "1 samples are heard"),
    "a_click": (np.r_[np.zeros(9_000), np.ones(3), np.zeros(9_000)], "3 samples are heard"),
    "no_samples": (np.empty(0), "has no samples"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_sounds_are_skipped_with_a_note(
    name: str, write_sound, tmp_path: Path, speech, caplog: pytest.LogCaptureFixture
) -> None:
    samples, why = BAD[name]
    write_sound("rain/good.wav")
    write_sound("rain/bad.wav", samples)
    folder = NoiseFolder.open(str(tmp_path / "noise"))
    (condition,) = conditions(["natural-0db"], folder)
    with caplog.at_level(logging.WARNING):
        for number in range(12):
            assert np.isfinite(condition.apply(speech, str(number), 0)).all()
    assert list(folder.skipped) == ["rain/bad.wav"]
    assert why in folder.skipped["rain/bad.wav"]
    (record,) = caplog.records
    assert "bad.wav is left out as noise" in record.getMessage()


def test_what_is_no_audio_is_skipped_too(write_sound, tmp_path: Path) -> None:
    write_sound("rain/good.wav")
    (tmp_path / "noise/rain/page.wav").write_text("<html>moved</html>")
    folder = NoiseFolder.open(str(tmp_path / "noise"))
    rng = generator()
    for _ in range(12):
        folder.draw("natural", 100, rng)
    assert "is a web page" in folder.skipped["rain/page.wav"]


def test_a_sound_that_is_not_there_any_more_stops_the_job(
    write_sound, tmp_path: Path, speech
) -> None:
    """Passed over, it would let this machine hear something else than another one."""
    for number in range(2):
        write_sound(f"rain/{number}.wav")
    (condition,) = conditions(["natural-0db"], NoiseFolder.open(str(tmp_path / "noise")))
    (tmp_path / "noise/rain/1.wav").unlink()
    with pytest.raises(ConfigError, match=r"rain/1\.wav.*every machine that scores"):
        for number in range(12):
            condition.apply(speech, str(number), 0)


def test_threads_share_a_folder(
    write_sound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        write_sound(f"rain/{number}.wav", seed=number, duration_s=0.2)
    monkeypatch.setattr(noise_folder, "CACHE_BYTES", 30_000)  # two sounds of 12,800 bytes
    folder = NoiseFolder.open(str(tmp_path / "noise"))

    def draw(seed: int) -> bytes:
        return folder.draw("natural", 1_000, generator(seed)).tobytes()

    expected = [draw(seed) for seed in range(200)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(draw, range(200))) == expected


def test_what_was_skipped_before_does_not_change_what_is_drawn(
    write_sound, tmp_path: Path, speech
) -> None:
    for number in range(4):
        write_sound(f"rain/{number}.wav", seed=number)
        write_sound(f"rain/bad{number}.wav", np.zeros(1_000))
    used, fresh = (NoiseFolder.open(str(tmp_path / "noise")) for _ in range(2))
    (condition,) = conditions(["natural-0db"], used)
    for number in range(20):
        condition.apply(speech, str(number), 1)
    assert len(used.skipped) == 4
    (anew,) = conditions(["natural-0db"], fresh)
    for segment_id in "abcdef":
        heard = [c.apply(speech, segment_id, 0) for c in (condition, anew)]
        np.testing.assert_array_equal(*heard)


def test_a_folder_of_bad_sounds_rejects_segments(write_sound, tmp_path: Path, speech) -> None:
    write_sound("rain/bad.wav", np.zeros(16_000))
    write_sound("cough/bad.wav", np.zeros(16_000))
    folder = NoiseFolder.open(str(tmp_path / "noise"))
    for condition in conditions(["natural-0db", "coughing-10db"], folder):
        with pytest.raises(SegmentError) as caught:
            condition.apply(speech, "a", 0)
        expected = (Stage.AUGMENT, Reason.NO_USABLE_NOISE)
        assert (caught.value.stage, caught.value.reason) == expected


def test_pauses_of_a_sound_are_not_drawn(write_sound, tmp_path: Path) -> None:
    burst = generator().standard_normal(1_600)
    write_sound("rain/a.wav", np.r_[burst, np.zeros(160_000), burst])
    folder = NoiseFolder.open(str(tmp_path / "noise"))
    rng = generator()
    heard = num_rejected = 0
    for _ in range(40):
        try:
            heard += np.any(folder.draw("natural", 4_000, rng) != 0)
        except SegmentError:  # twenty pauses in a row
            num_rejected += 1
    assert heard == 40 - num_rejected > 10


def test_memory_is_bounded_and_what_is_kept_does_not_matter(
    write_sound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        write_sound(f"rain/{number}.wav", seed=number)
    expected = [
        NoiseFolder.open(str(tmp_path / "noise")).draw("natural", 9_000, generator(seed))
        for seed in range(20)
    ]
    monkeypatch.setattr(noise_folder, "CACHE_BYTES", 150_000)  # two sounds of 64,000 bytes
    folder = NoiseFolder.open(str(tmp_path / "noise"))
    for seed in range(20):
        np.testing.assert_array_equal(
            folder.draw("natural", 9_000, generator(seed)), expected[seed]
        )
        assert sum(kept.nbytes for kept in folder._kept.values()) <= 150_000
    assert len(folder._kept) == 2


def test_of_a_long_sound_the_first_minute_is_used(
    write_sound, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise_folder, "MAX_SOUND_S", 2.0)
    ramp = np.linspace(0.1, 0.9, 10 * 16_000).astype(np.float32)
    write_sound("rain/a.wav", ramp)
    looped = NoiseFolder.open(str(tmp_path / "noise")).draw("natural", 64_000, generator())
    assert looped.max() == ramp[31_999]
    assert looped.min() == ramp[0]


def test_it_pickles_without_what_it_keeps(write_sound, tmp_path: Path) -> None:
    write_sound("rain/a.wav", duration_s=5)
    folder = NoiseFolder.open(str(tmp_path / "noise"))
    folder.draw("natural", 100, generator())
    data = pickle.dumps(folder)
    assert len(data) < 1_000
    copy = pickle.loads(data)
    assert copy == folder
    np.testing.assert_array_equal(
        copy.draw("natural", 100, generator()), folder.draw("natural", 100, generator())
    )


@pytest.mark.real_data
def test_real_noise_is_mixed_at_its_snr(real_data: Path, tmp_path: Path) -> None:
    (tmp_path / "environmental").mkdir()
    for file in (real_data / "noise").glob("*.flac"):
        (tmp_path / "environmental" / file.name).symlink_to(file)
    folder = NoiseFolder.open(str(tmp_path))
    assert len(folder.sounds) == 100
    (condition,) = conditions(["environmental-20db"], folder)
    segment = 0.1 * generator().standard_normal(50_000).astype(np.float32)
    for number in range(200):
        added = condition.apply(segment, str(number), 0).astype(float) - segment
        snr_db = 10 * np.log10(np.mean(segment.astype(float) ** 2) / np.mean(added**2))
        assert snr_db == pytest.approx(20, abs=0.05)
    assert not folder.skipped
