"""A segment that is like speech, and folders of noise as ESC-50 and MUSAN have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from ser_model.augment import Condition, NoiseFolder, conditions
from ser_model.augment.noise_layout import KINDS

WriteSound = Callable[..., Path]


def one(name: str, noise: NoiseFolder | None = None) -> Condition:
    """The condition of a name."""
    (condition,) = conditions([name], noise)
    return condition


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """Three seconds: a gliding voice with harmonics, in syllables, over a little noise."""
    rng = np.random.default_rng(7)
    time_s = np.arange(48_000) / 16_000
    turns = np.cumsum(140 + 40 * np.sin(2 * np.pi * 0.7 * time_s)) / 16_000
    voice = sum(np.sin(2 * np.pi * k * turns) / k for k in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * time_s), 0, 1)
    return (0.05 * voice * syllables + 0.001 * rng.standard_normal(48_000)).astype(np.float32)


@pytest.fixture
def write_sound(tmp_path: Path) -> WriteSound:
    """Writes a file of noise below `tmp_path / "noise"`."""

    def write(
        path: str,
        samples: np.ndarray | None = None,
        *,
        duration_s: float = 1.0,
        rate_hz: int = 16_000,
        seed: int = 0,
    ) -> Path:
        if samples is None:
            rng = np.random.default_rng(seed)
            samples = 0.1 * rng.standard_normal(round(duration_s * rate_hz))
        file = tmp_path / "noise" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        sf.write(file, samples.astype(np.float32), rate_hz, subtype="FLOAT")
        return file

    return write


@pytest.fixture
def noise(tmp_path: Path, write_sound: WriteSound) -> NoiseFolder:
    """Two sounds of every kind, in subfolders named by class: one shorter than `speech`."""
    for number, kind in enumerate(sorted(KINDS)):
        write_sound(f"{kind}/short.wav", duration_s=0.8, seed=2 * number)
        write_sound(f"{kind}/long.wav", duration_s=4.5, seed=2 * number + 1, rate_hz=22_050)
    return NoiseFolder.open(str(tmp_path / "noise"))
