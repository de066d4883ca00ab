"""Speech is found where it is, with silero-vad's own probabilities, in little memory."""

from __future__ import annotations

import importlib.util
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
import torch

from orchestration.voices import ESPEAK_SAMPLING_RATE_HZ, Voice
from ser_model.schema import ConfigError
from ser_model.voice_activity import FRAME_S, VoiceActivityModel, speech_stretches


@pytest.fixture(scope="module")
def model() -> VoiceActivityModel:
    return VoiceActivityModel()


@pytest.fixture(scope="module")
def sentence() -> np.ndarray:
    """A spoken sentence of some seconds at 16 kHz."""
    with Voice("gmw/en+f1") as voice:
        spoken = voice.speak(
            "The ferry to the island leaves at noon, and takes about an hour.",
            rate_wpm=170,
            pitch=50,
            pitch_range=50,
        )
    spoken = spoken[np.flatnonzero(np.abs(spoken) > 0.01)[0] :]
    spoken = spoken[: np.flatnonzero(np.abs(spoken) > 0.01)[-1]]
    return soxr.resample(spoken, ESPEAK_SAMPLING_RATE_HZ, 16_000)


def test_probabilities_are_those_of_the_published_model(
    model: VoiceActivityModel, sentence: np.ndarray
) -> None:
    spec = importlib.util.find_spec("silero_vad")
    path = Path(spec.submodule_search_locations[0]) / "data" / "silero_vad.jit"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        published = torch.jit.load(path)
    waveform = np.concatenate([np.zeros(9_999, np.float32), sentence])
    expected = published.audio_forward(torch.from_numpy(waveform)[None], 16_000)[0].numpy()
    assert expected.max() > 0.9
    for num_pieces in (1, 7, 300):  # of some thousand samples, and of less than a frame
        found = model.probabilities(np.array_split(waveform, num_pieces))
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_speech_is_found_between_silences(model: VoiceActivityModel, sentence: np.ndarray) -> None:
    length_s = len(sentence) / 16_000
    silence = 1e-4 * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    waveform = np.concatenate([silence, sentence, silence, sentence, silence])
    found = speech_stretches(model.probabilities([waveform]))
    expected = [(2.0, 2.0 + length_s), (4.0 + length_s, 4.0 + 2 * length_s)]
    np.testing.assert_allclose(found, expected, atol=0.25)


def test_silence_and_nothing_hold_no_speech(model: VoiceActivityModel) -> None:
    assert speech_stretches(model.probabilities([np.zeros(80_000, np.float32)])) == []
    assert speech_stretches(model.probabilities([])) == []


def test_memory_does_not_grow_with_the_recording(model: VoiceActivityModel) -> None:
    block = np.zeros(64_000, np.float32)
    tracemalloc.start()
    probabilities = model.probabilities(block for _ in range(100))  # 26 MB in all
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(probabilities) == 12_500
    assert peak_bytes < 3_000_000


def frames(*runs: tuple[float, float]) -> np.ndarray:
    """Probabilities for each 32 ms from (probability, seconds)."""
    return np.concatenate([np.full(round(seconds / FRAME_S), p, np.float32) for p, seconds in runs])


@pytest.mark.parametrize(
    ("runs", "num_stretches"),
    [
        ([(0.9, 1.0), (0.0, 0.4), (0.9, 1.0)], 1),  # a short pause
        ([(0.9, 1.0), (0.0, 0.6), (0.9, 1.0)], 2),
        ([(0.9, 1.0), (0.4, 2.0), (0.9, 1.0)], 1),  # it goes on
        ([(0.4, 5.0)], 0),  # it never begins
        ([(0.0, 1.0), (0.9, 0.2), (0.0, 1.0)], 0),  # a click
        ([(0.9, 3.0)], 1),
        ([(0.0, 3.0)], 0),
    ],
)
def test_stretches(runs: list[tuple[float, float]], num_stretches: int) -> None:
    stretches = speech_stretches(frames(*runs))
    assert len(stretches) == num_stretches
    flat = [time for stretch in stretches for time in stretch]
    assert flat == sorted(flat)


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"serval\[vad\]"):
        VoiceActivityModel()


@pytest.mark.real_data
def test_speech_of_real_meetings_is_where_people_marked_it(
    model: VoiceActivityModel, real_data: Path
) -> None:
    marked: dict[str, list[tuple[float, float]]] = {}
    for line in (real_data / "meetings" / "turns.rttm").read_text().splitlines():
        fields = line.split()
        start = float(fields[3])
        marked.setdefault(fields[1], []).append((start, start + float(fields[4])))
    agreed = total = 0
    for path in sorted((real_data / "meetings").glob("*.flac")):
        waveform, _ = sf.read(path, dtype="float32")
        ours, theirs = np.zeros(len(waveform), bool), np.zeros(len(waveform), bool)
        for mask, stretches in (
            (ours, speech_stretches(model.probabilities([waveform]))),
            (theirs, marked.get(path.stem, [])),
        ):
            for start, end in stretches:
                mask[round(start * 16_000) : round(end * 16_000)] = True
        agreed += (ours == theirs).sum()
        total += len(waveform)
    assert agreed / total > 0.8
