"""Makes a small noise folder, so that the demo's corpus can be scored under every condition.

Nothing was recorded: espeak-ng speaks, and all else is noise, tones and their envelopes. Every
random number comes from the seed, the class and the number of the sound, so the same seed gives the
same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from orchestration.demo import rule
from orchestration.demo.episodes import record_episode
from orchestration.demo.sound import apply_gain
from orchestration.demo.speakers import make_speakers
from orchestration.demo.telephone import Telephone
from orchestration.level import set_level
from ser_model import storage
from ser_model.audio import SAMPLING_RATE_HZ, Waveform, encode_flac

LAST_WRITTEN = "README.md"
SOUND_S = 4.0
LEVEL_DBFS = -36.0
"""Low, as quiet noise makes small files. Conditions set their own level."""
NUM_SOUNDS = 2
"""Of each class but speech."""
NUM_SENTENCES = 2
"""Of each voice."""

_EDGE = 0.1
"""Part of a frequency over which a band fades out."""
_CHORDS_SEMITONES = ((0, 4, 7), (-3, 0, 4), (-7, -3, 0), (-5, -1, 2))
_PAGE = """\
# Made noises

Nobody recorded these sounds: `serval demo` (seed {seed}) makes them, so that conditions which mix
in noise can be tried on its corpus. Noise, tones and envelopes stand in for what the folders are
called, and espeak-ng for speakers; to audit a real model take real noise.

    serval score shards --model models:/serval-demo@champion --output run \\
        --condition wagner --condition podcast --noise noise

in the demo's folder adds these conditions to its run. {num_sounds} sounds of the classes
{classes}. `speech` holds single voices; conditions with babble mix several of them.
"""

Make = Callable[[np.random.Generator], Waveform]


def make_noises(folder: str, seed: int) -> dict[str, object]:
    """Write the sounds, in a subfolder for each class, and last README.md into a folder.

    Args:
        folder: path or URI.
        seed: of all random numbers.

    Returns:
        The number of sounds and their bytes.

    Raises:
        ConfigError: espeak-ng is not installed.
    """
    num_sounds, num_bytes = 0, 0
    classes = {noise_class: [make] * NUM_SOUNDS for noise_class, make in _MAKE.items()}
    classes["speech"] = _voices(seed)
    for class_number, (noise_class, makers) in enumerate(classes.items()):
        for number, make in enumerate(makers):
            sound = make(np.random.default_rng([seed, 3, class_number, number]))
            flac = encode_flac(set_level(sound, LEVEL_DBFS))
            storage.write_atomic(storage.join(folder, noise_class, f"{number}.flac"), flac)
            num_sounds, num_bytes = num_sounds + 1, num_bytes + len(flac)
    page = _PAGE.format(seed=seed, num_sounds=num_sounds, classes=", ".join(sorted(classes)))
    storage.write_atomic(storage.join(folder, LAST_WRITTEN), page.encode())
    return {"num_sounds": num_sounds, "num_bytes": num_bytes}


def _voices(seed: int) -> list[Make]:
    """Return what speaks for each sex and accent; these are speakers of the train split."""

    def speak(rng: np.random.Generator, speaker_number: int) -> Waveform:
        episode, _ = record_episode(
            speakers[speaker_number],
            num_segments=NUM_SENTENCES,
            rater_biases=rule.draw_rater_biases(rng),
            telephone=Telephone(splits=()),
            rng=rng,
        )
        return episode

    speakers = make_speakers({"train": 1, "dev": 0, "test": 0}, seed)
    return [partial(speak, speaker_number=number) for number in range(len(speakers))]


def _time_s(duration_s: float = SOUND_S) -> NDArray[np.float64]:
    return np.arange(int(duration_s * SAMPLING_RATE_HZ)) / SAMPLING_RATE_HZ


def _band(
    rng: np.random.Generator, low_hz: float, high_hz: float, duration_s: float = SOUND_S
) -> Waveform:
    """Draw noise between two frequencies: [num_samples]."""

    def gain_at(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
        above = (frequency_hz / low_hz - 1) / _EDGE + 1
        below = (1 - frequency_hz / high_hz) / _EDGE + 1
        return np.clip(np.minimum(above, below), 0, 1)

    white = rng.standard_normal(len(_time_s(duration_s)), dtype=np.float32)
    return apply_gain(white, gain_at)


def _swelling(
    rng: np.random.Generator, low_hz: float, high_hz: float, times_a_second: float, depth: float
) -> Waveform:
    """Draw noise that comes and goes; a depth of 1 leaves silence between."""
    phase = 2 * np.pi * (times_a_second * _time_s() + rng.uniform())
    swell = 1 - depth * (0.5 + 0.5 * np.sin(phase))
    return (_band(rng, low_hz, high_hz) * swell).astype(np.float32)


def _bursts(
    rng: np.random.Generator,
    low_hz: float,
    high_hz: float,
    decay_s: float,
    every_s: float,
    duration_s: float = SOUND_S,
) -> Waveform:
    """Draw noise that begins about every so many seconds and dies away at once."""
    since_s = (_time_s(duration_s) / (every_s * rng.uniform(0.9, 1.1)) % 1) * every_s
    return (_band(rng, low_hz, high_hz, duration_s) * np.exp(-since_s / decay_s)).astype(np.float32)


def _motor(rng: np.random.Generator) -> Waveform:
    """Draw noise with a hum of 90 to 130 Hz and its overtones."""
    turns = rng.uniform(90, 130) * _time_s()
    hum = sum(np.sin(2 * np.pi * (number * turns + rng.uniform())) / number for number in (1, 2, 3))
    return (_band(rng, 100, 6_000) + 0.5 * hum).astype(np.float32)


def _chords(rng: np.random.Generator) -> Waveform:
    """Draw a chord a second in a key of its own, each note with four overtones, dying away."""
    key_hz = 220 * 2 ** (rng.integers(-5, 7) / 12)
    time_s = _time_s(1.0)
    bars = []
    for chord in _CHORDS_SEMITONES:
        notes = [
            np.sin(2 * np.pi * (overtone * key_hz * 2 ** (semitones / 12) * time_s + rng.uniform()))
            / overtone**1.5
            for semitones in chord
            for overtone in range(1, 6)
        ]
        bars.append(np.sum(notes, axis=0) * np.exp(-1.5 * time_s) * np.minimum(1, time_s / 0.02))
    return np.concatenate(bars).astype(np.float32)


_MAKE: Mapping[str, Make] = {
    # Classes of what wagner and ser-tests take for natural, human and interior sounds.
    "rain": partial(_band, low_hz=500, high_hz=7_000),
    "wind": partial(_swelling, low_hz=60, high_hz=600, times_a_second=0.5, depth=0.8),
    "clapping": partial(_bursts, low_hz=600, high_hz=4_000, decay_s=0.03, every_s=0.35),
    "breathing": partial(_swelling, low_hz=300, high_hz=2_500, times_a_second=0.6, depth=1.0),
    "clock_tick": partial(_bursts, low_hz=2_000, high_hz=7_000, decay_s=0.01, every_s=0.5),
    "vacuum_cleaner": _motor,
    "coughing": partial(
        _bursts, low_hz=300, high_hz=4_000, decay_s=0.08, every_s=0.4, duration_s=0.8
    ),
    "sneezing": partial(
        _bursts, low_hz=1_000, high_hz=7_000, decay_s=0.15, every_s=0.8, duration_s=0.7
    ),
    "music": _chords,
}
