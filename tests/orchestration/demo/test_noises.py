import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from orchestration.demo.noises import make_noises
from ser_model.audio import SAMPLING_RATE_HZ
from ser_model.augment import SETS, NoiseFolder, conditions

MOST_BYTES = 2_000_000


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noise")
    make_noises(str(folder), seed=3)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes(noise: Path, tmp_path: Path) -> None:
    made = make_noises(str(tmp_path), seed=3)
    assert hashes(tmp_path) == hashes(noise)
    flacs = list(noise.rglob("*.flac"))
    assert made == {
        "num_sounds": len(flacs),
        "num_bytes": sum(path.stat().st_size for path in flacs),
    }
    assert sum(path.stat().st_size for path in flacs) < MOST_BYTES


def test_another_seed_gives_other_sounds(noise: Path, tmp_path: Path) -> None:
    make_noises(str(tmp_path), seed=4)
    assert hashes(tmp_path).keys() == hashes(noise).keys()
    assert not set(hashes(tmp_path).values()) & set(hashes(noise).values())


def test_no_two_sounds_are_the_same(noise: Path) -> None:
    assert len(set(hashes(noise).values())) == len(hashes(noise))


def test_every_sound_can_be_mixed_in_and_none_is_clipped(noise: Path) -> None:
    for path in noise.rglob("*.flac"):
        waveform, sampling_rate_hz = sf.read(path, dtype="float32")
        assert sampling_rate_hz == SAMPLING_RATE_HZ
        assert 0.01 < np.abs(waveform).max() < 0.9


def test_the_folder_serves_every_condition_that_needs_noise(noise: Path) -> None:
    folder = NoiseFolder.open(str(noise))
    chosen = [one for one in conditions(list(SETS), folder) if one.needs_noise]
    speech = np.random.default_rng(0).standard_normal(SAMPLING_RATE_HZ, dtype=np.float32) * 0.1
    for condition in chosen:
        for segment_id in ("a", "b", "c"):
            augmented = condition.apply(speech, segment_id=segment_id, seed=0)
            assert len(augmented) == len(speech)
            assert not np.array_equal(augmented, speech)
    assert folder.skipped == {}


def test_bands_hold_what_their_classes_promise(noise: Path) -> None:
    def share_below(noise_class: str, frequency_hz: float) -> float:
        waveform, _ = sf.read(noise / noise_class / "0.flac", dtype="float32")
        power = np.abs(np.fft.rfft(waveform)) ** 2
        below = np.fft.rfftfreq(len(waveform), 1 / SAMPLING_RATE_HZ) < frequency_hz
        return float(power[below].sum() / power.sum())

    assert share_below("wind", 700) > 0.95
    assert share_below("rain", 400) < 0.05
    assert share_below("clock_tick", 1_500) < 0.05


def test_the_page_says_that_nothing_was_recorded(noise: Path) -> None:
    page = (noise / "README.md").read_text()
    assert "Nobody recorded these sounds" in page
    assert "--condition wagner --condition podcast --noise noise" in page
    for folder in noise.iterdir():
        if folder.is_dir():
            assert folder.name in page
