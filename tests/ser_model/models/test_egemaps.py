"""The functionals of openSMILE as a backbone."""

import importlib.util

import numpy as np
import pytest
import torch

from ser_model.models import egemaps
from ser_model.models.egemaps import (
    LARGEST,
    MIN_SAMPLES,
    NUM_FEATURES,
    Egemaps,
    EgemapsConfig,
    check_opensmile,
    feature_names,
    functionals,
)
from ser_model.schema import ConfigError

needs_opensmile = pytest.mark.skipif(
    importlib.util.find_spec("opensmile") is None,
    reason="opensmile is not installed (pip install 'serval[egemaps]')",
)


def tone(pitch_hz: float, num_samples: int = 16_000, amplitude: float = 0.3) -> np.ndarray:
    """A buzz with harmonics: openSMILE finds a pitch in it."""
    time_s = np.arange(num_samples) / 16_000
    buzz = sum(np.sin(2 * np.pi * pitch_hz * n * time_s) / n for n in range(1, 8))
    return (amplitude * buzz / np.abs(buzz).max()).astype(np.float32)


@needs_opensmile
def test_the_features_are_those_that_their_names_say() -> None:
    names = feature_names()
    assert len(names) == NUM_FEATURES
    low, high = (
        functionals(tone(pitch_hz))[names.index("F0semitoneFrom27.5Hz_sma3nz_amean")]
        for pitch_hz in (110.0, 220.0)
    )
    assert low == pytest.approx(24.0, abs=0.2), "110 Hz are two octaves above 27.5 Hz"
    assert high - low == pytest.approx(12.0, abs=0.2)


@needs_opensmile
def test_a_row_of_a_batch_has_the_features_of_the_segment_alone() -> None:
    backbone = Egemaps(EgemapsConfig())
    lengths = (16_000, 7_000, MIN_SAMPLES)
    batch_BN = torch.full((3, 16_000), 0.9)  # padding that would be heard
    for row_N, length in zip(batch_BN, lengths, strict=True):
        row_N[:length] = torch.from_numpy(tone(150.0, length))
    hidden_BTD, num_frames_B = backbone(*backbone.prepare(batch_BN, torch.tensor(lengths)))
    assert hidden_BTD.shape == (3, 1, NUM_FEATURES)
    assert num_frames_B.tolist() == [1, 1, 1]
    for row, length in enumerate(lengths):
        alone = functionals(tone(150.0, length))
        assert np.isfinite(alone).all()
        assert np.array_equal(hidden_BTD[row, 0].numpy(), alone)


@needs_opensmile
def test_what_is_too_short_for_one_window_is_refused() -> None:
    with pytest.raises(ValueError, match="959 samples; the functionals need 960"):
        functionals(tone(150.0, MIN_SAMPLES - 1))


@needs_opensmile
def test_samples_beyond_full_scale_are_clipped_and_do_not_wrap_around() -> None:
    loud = tone(150.0, amplitude=1.2)
    assert np.array_equal(functionals(loud), functionals(np.clip(loud, -1.0, LARGEST)))
    wrapped = ((loud * 32768).astype(np.int32).astype(np.int16) / 32768).astype(np.float32)
    assert not np.allclose(functionals(loud), functionals(wrapped))


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egemaps, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'serval\[egemaps\]'"):
        check_opensmile()
    with pytest.raises(ConfigError, match="not for commercial use"):
        Egemaps(EgemapsConfig())
