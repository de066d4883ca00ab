"""How many hours of audio a core packs in an hour, beside the usual ways.

    python benchmarks/pack.py [--minutes 20] [--rounds 3] [--json] [--save FILE]

Recordings of 5 minutes, stereo at 44.1 kHz, as MP3 and as WAV, each cut into segments of 10 s; the
job is the same for all ways: every segment as 16 kHz mono FLAC in memory or in a shard.

    serval_pack         `serval pack`'s own path: Beam, shards, manifest, everything
    serval_shard        one shard of it, without Beam
    soundfile_soxr      soundfile.read and soxr.resample by hand, a whole recording in memory
    librosa_whole       librosa.load of a whole recording, cut in memory
    librosa_segments    librosa.load with offset and duration for each segment, as most loaders do

A way's speed is hours of audio in an hour of CPU time, of all its threads together. The ways take
turns, and each counts its best. Without librosa (pip install 'serval[bench]') two are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import soundfile as sf
import soxr
from machine import machine
from reporting import add_options, report

from pipelines.pack import PackShardFn, pack, plan_shards
from ser_model.audio import SAMPLING_RATE_HZ, encode_flac
from ser_model.manifest import check_manifest, segments
from ser_model.schema import MAX_SEGMENT_S

RECORDING_S = 300
SEGMENT_S = 10
RATE_HZ = 44_100
FORMATS = {"mp3": "MPEG_LAYER_III", "wav": "PCM_16"}

Way = Callable[[pa.Table], int]
"""Packs a manifest; returns the number of segments."""


def write_recordings(folder: Path, extension: str, num_recordings: int) -> pa.Table:
    """Write recordings of noise that swells as speech does, and return their manifest."""
    rows = []
    for number in range(num_recordings):
        generator = np.random.default_rng(number)
        time_s = np.arange(RECORDING_S * RATE_HZ, dtype=np.float32) / RATE_HZ
        swelling = 0.1 + 0.1 * np.sin(2 * np.pi * 3 * time_s)[:, None]
        noise = generator.standard_normal((len(time_s), 2), dtype=np.float32)
        smooth = (noise + np.roll(noise, 1, axis=0) + np.roll(noise, 2, axis=0)) / 3
        path = folder / f"{number}.{extension}"
        sf.write(path, swelling * smooth, RATE_HZ, subtype=FORMATS[extension])
        rows += [
            {"recording": str(path), "start_s": float(start), "end_s": float(start + SEGMENT_S)}
            for start in range(0, RECORDING_S, SEGMENT_S)
        ]
    return check_manifest(pa.Table.from_pylist(rows), uri="benchmark", folder=str(folder))


def serval_pack(manifest: pa.Table) -> int:
    """Pack as the command does."""
    with tempfile.TemporaryDirectory() as folder:
        return pack(manifest, folder).num_packed


def serval_shard(manifest: pa.Table) -> int:
    """Pack without Beam."""
    with tempfile.TemporaryDirectory() as folder:
        write = PackShardFn(folder, MAX_SEGMENT_S)
        plans = plan_shards(segments(manifest), 256)
        return sum(num_packed for plan in plans for num_packed in write.process(plan))


def soundfile_soxr(manifest: pa.Table) -> int:
    """Pack with the libraries that Serval uses too, by hand."""

    def load(path: str) -> npt.NDArray[np.float32]:
        frames, rate = sf.read(path, dtype="float32", always_2d=True)
        return soxr.resample(frames.mean(axis=1), rate, SAMPLING_RATE_HZ)

    return encode_cuts(manifest, load)


def librosa_whole(manifest: pa.Table) -> int:
    """Pack with librosa, a recording at a time."""
    import librosa

    return encode_cuts(manifest, lambda path: librosa.load(path, sr=SAMPLING_RATE_HZ)[0])


def librosa_segments(manifest: pa.Table) -> int:
    """Pack with librosa, a segment at a time."""
    import librosa

    for path, start_s, end_s in times(manifest):
        duration_s = end_s - start_s
        waveform, _ = librosa.load(path, sr=SAMPLING_RATE_HZ, offset=start_s, duration=duration_s)
        encode_flac(waveform)
    return len(manifest)


def encode_cuts(manifest: pa.Table, load: Callable[[str], npt.NDArray[np.float32]]) -> int:
    """Encode the segments of recordings that are loaded whole."""
    loaded, waveform = "", np.empty(0, np.float32)
    for path, start_s, end_s in times(manifest):
        if path != loaded:
            loaded, waveform = path, load(path)
        cut = waveform[round(start_s * SAMPLING_RATE_HZ) : round(end_s * SAMPLING_RATE_HZ)]
        encode_flac(cut)
    return len(manifest)


def times(manifest: pa.Table) -> Iterator[tuple[str, float, float]]:
    """Yield the segments."""
    columns = (manifest[name].to_pylist() for name in ("recording", "start_s", "end_s"))
    yield from zip(*columns, strict=True)


def measure(minutes: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return each way's hours of audio per core-hour, by format."""
    ways: dict[str, Way] = {
        "serval_pack": serval_pack,
        "serval_shard": serval_shard,
        "soundfile_soxr": soundfile_soxr,
    }
    if importlib.util.find_spec("librosa") is not None:
        ways |= {"librosa_whole": librosa_whole, "librosa_segments": librosa_segments}
    num_recordings = max(1, minutes * 60 // RECORDING_S)
    best: dict[str, dict[str, float]] = {name: {} for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        for extension in FORMATS:
            manifest = write_recordings(Path(folder), extension, num_recordings)
            audio_s = num_recordings * RECORDING_S
            for way in ways.values():
                way(manifest.slice(0, 1))  # imports and compilation are not measured
            for _ in range(rounds):
                for name, way in ways.items():
                    begin = time.process_time()
                    num_packed = way(manifest)
                    speed = audio_s / (time.process_time() - begin)
                    assert num_packed == len(manifest)
                    best[name][extension] = max(best[name].get(extension, 0.0), round(speed, 1))
    return best


def table(speeds: dict[str, dict[str, float]], where: dict[str, object], minutes: int) -> str:
    """Return the table for people."""
    lines = [
        f"{minutes} min of stereo at 44.1 kHz in segments of {SEGMENT_S} s; {where['cpu']}, "
        f"load {where['load_average_1min']}, {where['date']}",
        "",
        "| way | hours of MP3 per core-hour | hours of WAV per core-hour |",
        "| --- | ---: | ---: |",
    ]
    lines += [f"| {name} | {s['mp3']:,.0f} | {s['wav']:,.0f} |" for name, s in speeds.items()]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the result beside this script where that was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=int, default=20, help="of audio in each format")
    parser.add_argument("--rounds", type=int, default=3)
    add_options(parser)
    arguments = parser.parse_args()
    where = machine("cpu")
    speeds = measure(arguments.minutes, arguments.rounds)
    text = table(speeds, where, arguments.minutes)
    record = {"hours_per_core_hour": speeds, "machine": where}
    report(text, record, arguments)


if __name__ == "__main__":
    main()
