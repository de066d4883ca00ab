"""Which conditions a run has, and what it holds its workers and its resumptions to."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from orchestration.augmentation import Augmentation, in_order, recorded, resolve_augmentation
from ser_model import storage
from ser_model.augment import SETS, known_names
from ser_model.schema import CLEAN, ConfigError, RunError


def write_sound(folder: Path, kind: str, number: int = 0) -> None:
    (folder / kind).mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(number).standard_normal(16_000)
    sf.write(folder / kind / f"{number}.wav", samples, 16_000)


@pytest.fixture
def noise(tmp_path: Path) -> str:
    for kind in ("natural", "human", "interior", "music"):
        write_sound(tmp_path / "noise", kind)
    return str(tmp_path / "noise")


def test_clean_is_always_among_the_conditions_and_their_order_is_the_catalogues() -> None:
    assert resolve_augmentation([]).names == (CLEAN,)
    assert resolve_augmentation(["severity", "fade", "clean"]).names == (
        CLEAN,
        "fade",
        *(name for name in known_names() if name in SETS["severity"]),
    )
    one = resolve_augmentation(["fade", "clipping-1pct"])
    assert one == resolve_augmentation(["clipping-1pct", "fade", "fade"])
    assert in_order(known_names()[::-1]) == known_names()


def test_the_noise_folder_is_opened_only_where_it_is_needed(noise: str) -> None:
    assert resolve_augmentation(["fade"], noise_uri="absent").noise_uri is None
    needed = resolve_augmentation(["wagner"], noise_uri=noise)
    assert needed.noise_uri == noise
    assert len(needed.noise_sha256 or "") == 64


@pytest.mark.parametrize(
    ("names", "message"),
    [(["fad"], "no condition 'fad'"), (["music-20db"], "which music-20db need")],
)
def test_what_cannot_be_done_is_refused_before_anything_is(names: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_augmentation(names)


def test_sounds_of_a_kind_that_is_not_there_are_missed_at_once(noise: str) -> None:
    with pytest.raises(ConfigError, match="speech"):
        resolve_augmentation(["cross-talk-5db"], noise_uri=noise)


def test_a_worker_makes_the_same_conditions(noise: str) -> None:
    augmentation = resolve_augmentation(["music-20db", "fade"], noise_uri=noise, seed=3)
    here = augmentation.load()
    there = pickle.loads(pickle.dumps(augmentation)).load()
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, 8_000).astype(np.float32)
    assert list(here) == [CLEAN, "fade", "music-20db"]
    for name in here:
        assert np.array_equal(
            here[name].apply(waveform, "a", 3), there[name].apply(waveform, "a", 3)
        )
    assert len(pickle.dumps(augmentation)) < 1000


def test_a_worker_that_sees_other_sounds_says_so(noise: str) -> None:
    augmentation = resolve_augmentation(["music-20db"], noise_uri=noise)
    write_sound(Path(noise), "music", 1)
    with pytest.raises(ConfigError, match="other sounds here"):
        augmentation.load()


def test_a_run_keeps_its_seed_and_gets_a_noise_folder_when_it_first_needs_one(
    folder: str, noise: str
) -> None:
    run = storage.join(folder, "run")
    Augmentation().record(run)
    assert recorded(run) == {}
    resolve_augmentation(["fade"], seed=7).record(run)
    resolve_augmentation(["severity"], seed=7).record(run)
    assert recorded(run) == {"seed": 7}
    first = resolve_augmentation(["music-20db"], seed=7, noise_uri=noise)
    first.record(run)
    resolve_augmentation(["wagner"], seed=7, noise_uri=noise).record(run)
    expected = {"seed": 7, "noise": {"uri": noise, "sha256": first.noise_sha256}}
    assert recorded(run) == expected
    with pytest.raises(RunError, match=r"another seed \(there 7, now 8\).*another --output"):
        resolve_augmentation(["fade"], seed=8).record(run)
    Augmentation(seed=8).record(run)  # clean draws nothing
    assert recorded(run) == expected


def test_the_same_sounds_elsewhere_are_the_same_and_others_are_refused(
    tmp_path: Path, noise: str
) -> None:
    run = str(tmp_path / "run")
    resolve_augmentation(["music-20db"], noise_uri=noise).record(run)
    moved = str(Path(noise).rename(tmp_path / "moved"))
    resolve_augmentation(["music-20db"], noise_uri=moved).record(run)
    write_sound(Path(moved), "music", 1)
    with pytest.raises(RunError, match=r"another noise folder \(there .*noise.*now .*moved"):
        resolve_augmentation(["music-20db"], noise_uri=moved).record(run)
