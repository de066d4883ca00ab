"""What each robustness condition costs, in times real time on one core, beside other libraries.

    python benchmarks/augment.py [--noise FOLDER] [--rounds 5] [--json] [--save FILE]

Segments of 2, 5 and 10 s that swell as speech does. A speed is seconds of audio in a second of CPU
time, of all threads together; the ways take turns, and each counts its median round. Without a
noise folder one is made: sounds of 5 s at 44.1 kHz, as in ESC-50, eight of each kind.

    serval                  `Condition.apply`, random numbers, checks and all
    audiomentations         its counterpart with the nearest parameters, one segment at a time
    torch_audiomentations   likewise, on one thread

A rival that cannot be imported is left out. audiomentations 0.43 asks for soxr below 1.0, so it is
not in an extra; beside the pins of Serval it runs all the same:

    pip install 'serval[bench]'
    pip install --no-deps audiomentations numpy-minmax numpy-rms python-stretch fast-mp3-augment \
        loudness

torch-audiomentations needs a torchaudio that fits torch; there is none for torch 2.13.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile as sf
import torch
from machine import machine
from reporting import add_options, report

from ser_model.augment import NoiseFolder, conditions, known_names
from ser_model.augment.noise_layout import KINDS

RATE_HZ = 16_000
LENGTHS_S = (2, 5, 10)
SOUND_RATE_HZ = 44_100
SOUND_S = 5
SOUNDS_PER_KIND = 8

Waveform = npt.NDArray[np.float32]
Way = Callable[[Waveform, int], object]
"""Augments a segment; the number tells segments apart."""


def segments() -> list[Waveform]:
    """Return noise that swells as speech does."""
    rng = np.random.default_rng(0)
    waveforms = []
    for length_s in LENGTHS_S:
        time_s = np.arange(length_s * RATE_HZ) / RATE_HZ
        swelling = 0.1 + 0.1 * np.sin(2 * np.pi * 3 * time_s)
        waveforms.append((swelling * rng.standard_normal(len(time_s))).astype(np.float32))
    return waveforms


@contextmanager
def noise_folder(named: str | None) -> Iterator[str]:
    """Yield the folder that was named, or one that is made."""
    if named:
        yield named
        return
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(1)
        for kind in KINDS:
            (Path(folder) / kind).mkdir()
            for number in range(SOUNDS_PER_KIND):
                sound = 0.1 * rng.standard_normal(SOUND_S * SOUND_RATE_HZ)
                sf.write(Path(folder) / kind / f"{number}.wav", sound, SOUND_RATE_HZ)
        yield folder


def serval_ways(folder: str) -> dict[str, Way]:
    """Return every condition."""
    ways: dict[str, Way] = {}
    for condition in conditions(known_names(), NoiseFolder.open(folder)):
        ways[condition.name] = lambda waveform, number, condition=condition: condition.apply(
            waveform, str(number), 0
        )
    return ways


def audiomentations_ways(folder: str) -> dict[str, Way]:
    """Return the counterparts that audiomentations has."""
    import audiomentations as a

    def sounds(kind: str, snr_db: float) -> Any:  # noqa: ANN401  a library without types
        return a.AddBackgroundNoise(
            str(Path(folder) / kind), min_snr_db=snr_db, max_snr_db=snr_db, p=1.0
        )

    transforms = {
        "natural-10db": sounds("natural", 10),
        "music-20db": sounds("music", 20),
        "coughing-10db": a.AddShortNoises(
            str(Path(folder) / "cough"), min_snr_db=10, max_snr_db=10, p=1.0
        ),
        "white-noise-20db": a.AddGaussianSNR(min_snr_db=20, max_snr_db=20, p=1.0),
        "small-gain": a.Gain(min_gain_db=-2, max_gain_db=2, p=1.0),
        "small-high-pass": a.HighPassFilter(
            min_cutoff_freq=100, max_cutoff_freq=100, min_rolloff=12, max_rolloff=12, p=1.0
        ),
        "small-low-pass": a.LowPassFilter(
            min_cutoff_freq=7000, max_cutoff_freq=7000, min_rolloff=12, max_rolloff=12, p=1.0
        ),
        "clipping-5pct": a.ClippingDistortion(
            min_percentile_threshold=5, max_percentile_threshold=5, p=1.0
        ),
        "loudness-minus-23lufs": a.LoudnessNormalization(min_lufs=-23, max_lufs=-23, p=1.0),
        "playback-1.25x": a.TimeStretch(
            min_rate=1.25, max_rate=1.25, leave_length_unchanged=False, p=1.0
        ),
        "mp3-64kbps": a.Mp3Compression(min_bitrate=64, max_bitrate=64, p=1.0),
    }
    return {
        name: lambda waveform, _, transform=transform: transform(waveform, RATE_HZ)
        for name, transform in transforms.items()
    }


def torch_audiomentations_ways(folder: str) -> dict[str, Way]:
    """Return the counterparts that torch-audiomentations has."""
    import torch_audiomentations as t

    options = {"p": 1.0, "sample_rate": RATE_HZ, "output_type": "dict"}
    noise = t.AddBackgroundNoise(
        str(Path(folder) / "natural"), min_snr_in_db=10, max_snr_in_db=10, **options
    )
    white = t.AddColoredNoise(
        min_snr_in_db=20, max_snr_in_db=20, min_f_decay=0, max_f_decay=0, **options
    )
    transforms = {
        "natural-10db": noise,
        "white-noise-20db": white,
        "small-gain": t.Gain(min_gain_in_db=-2, max_gain_in_db=2, **options),
        "small-high-pass": t.HighPassFilter(min_cutoff_freq=100, max_cutoff_freq=100, **options),
        "small-low-pass": t.LowPassFilter(min_cutoff_freq=7000, max_cutoff_freq=7000, **options),
    }
    return {
        name: lambda waveform, _, transform=transform: transform(
            samples=torch.from_numpy(waveform)[None, None]
        )
        for name, transform in transforms.items()
    }


def all_ways(folder: str) -> dict[str, Mapping[str, Way]]:
    """Return the ways by library, without those that cannot be imported."""
    found: dict[str, Mapping[str, Way]] = {"serval": serval_ways(folder)}
    rivals = {
        "audiomentations": audiomentations_ways,
        "torch_audiomentations": torch_audiomentations_ways,
    }
    for name, make in rivals.items():
        try:
            found[name] = make(folder)
        except (ImportError, OSError) as error:
            print(f"without {name}: {str(error).splitlines()[0]}")
    return found


def measure(ways: Mapping[str, Mapping[str, Way]], rounds: int) -> list[dict[str, object]]:
    """Return a row for each condition: seconds of audio per second of CPU time, by library."""
    waveforms = segments()
    audio_s = sum(LENGTHS_S)
    rows: list[dict[str, object]] = []
    for condition in ways["serval"]:
        beside = {name: of[condition] for name, of in ways.items() if condition in of}
        speeds: dict[str, list[float]] = {name: [] for name in beside}
        for turn in range(rounds + 1):
            for name, way in beside.items():
                begin = time.process_time()
                for number, waveform in enumerate(waveforms):
                    way(waveform, 100 * turn + number)
                spent_s = max(time.process_time() - begin, 1e-6)
                if turn > 0:  # the first one imports, compiles and reads sounds
                    speeds[name].append(audio_s / spent_s)
        row: dict[str, object] = {"condition": condition}
        rows.append(row | {name: round(statistics.median(s)) for name, s in speeds.items()})
    return rows


def table(rows: list[dict[str, object]], libraries: list[str], facts: Mapping[str, object]) -> str:
    """Return the table for people."""
    lines = [
        f"Times real time per core; {facts['cpu']}, load {facts['load_average_1min']}, "
        f"{facts['date']}",
        "",
        f"| condition | {' | '.join(libraries)} |",
        f"| --- |{' ---: |' * len(libraries)}",
    ]
    for row in rows:
        shown = [f"{row[name]:,}" if name in row else "" for name in libraries]
        lines.append(f"| {row['condition']} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="The cost of each robustness condition.")
    parser.add_argument("--noise", metavar="FOLDER", help="with a subfolder for each kind of noise")
    parser.add_argument("--rounds", type=int, default=5)
    add_options(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the rivals', of each segment
    with noise_folder(arguments.noise) as folder:
        ways = all_ways(folder)
        rows = measure(ways, arguments.rounds)
    facts = machine("cpu")
    record = {"machine": facts, "segments_s": LENGTHS_S, "real_time_per_core": rows}
    report(table(rows, list(ways), facts), record, arguments)


if __name__ == "__main__":
    main()
