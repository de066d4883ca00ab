"""Does `serval plan` tell the truth? It plans a run, makes it, and compares.

    python benchmarks/planning.py [--source SHARDS] [--workers N] [--sample-s S] [--json]

On a synthetic corpus (noise in FLAC, log-normal lengths, in Parquet shards) or on a source of your
own, with the demo's CNN and with a small transformer, both untrained. Goal: the predicted wall time
is within 15 % of the actual one. What else the machine does meanwhile is part of the error: run it
on a quiet one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from machine import machine
from reporting import add_options, report

from ser_model.audio import SAMPLING_RATE_HZ, encode_flac
from ser_model.models.base import ModelConfig, build_model
from ser_model.models.head import HeadConfig
from ser_model.models.speech_transformer_config import SpeechTransformerConfig
from ser_model.models.storage import save_model
from ser_model.schema import DIMENSIONS, SHARD

GOAL = 0.15
SEGMENTS_PER_SHARD = 64

SMALL_TRANSFORMER = ModelConfig(
    task="dimensions",
    targets=DIMENSIONS,
    backbone=SpeechTransformerConfig(
        family="wav2vec2",
        do_normalize=True,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        conv_bias=True,
        conv_dim=(64,) * 7,
    ),
    pooling="mean",
    head=HeadConfig(num_hidden=64, activation="tanh", dropout=0.1),
)


def write_corpus(path: Path, num_segments: int) -> None:
    """Write a Parquet file with audio, whose row groups are the shards."""
    generator = np.random.default_rng(0)
    seconds = generator.lognormal(np.log(5.0), 0.65, num_segments).clip(1.0, 30.0)
    with pq.ParquetWriter(path, SHARD) as writer:
        for first in range(0, num_segments, SEGMENTS_PER_SHARD):
            rows = []
            for number in range(first, min(first + SEGMENTS_PER_SHARD, num_segments)):
                num_samples = int(seconds[number] * SAMPLING_RATE_HZ)
                waveform = 0.1 * generator.standard_normal(num_samples, dtype=np.float32)
                rows.append(
                    {
                        "segment_id": f"{number:06d}",
                        "audio": {"bytes": encode_flac(waveform), "path": None},
                        "sampling_rate_hz": SAMPLING_RATE_HZ,
                        "num_samples": num_samples,
                    }
                )
            writer.write_table(pa.Table.from_pylist(rows, schema=SHARD))


def run_serval(*words: str) -> dict[str, Any]:
    """Run a command as a user does, and return its summary."""
    command = [sys.executable, "-m", "orchestration.cli", *words, "--json"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603  our own
    return dict(json.loads(ended.stdout))


def compare(source: str, model: str, options: list[str], sample_s: float) -> dict[str, object]:
    """Plan a run, make it, and return both."""
    with tempfile.TemporaryDirectory() as run:
        plan = run_serval("plan", source, "--model", model, "--sample-s", str(sample_s), *options)
        done = run_serval("score", source, "--model", model, "--output", f"{run}/run", *options)
    predicted_s, actual_s = 3600 * plan["wall_h"], done["wall_s"]
    actual_speed = done["audio_s"] / done["scoring_s"] / done["num_workers"]
    return {
        "predicted_audio_h": plan["audio_h"],
        "actual_audio_h": done["audio_s"] / 3600,
        "predicted_times_real_time": plan["times_real_time"],
        "actual_times_real_time": actual_speed,
        "predicted_wall_s": predicted_s,
        "actual_wall_s": actual_s,
        "error": predicted_s / actual_s - 1,
        "limited_by": plan["limited_by"],
    }


def main() -> None:
    """Compare for both models and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", help="what `serval score` takes; default: synthetic")
    parser.add_argument("--segments", type=int, default=3000, help="of the synthetic corpus")
    parser.add_argument("--workers", help="as of `serval score`")
    parser.add_argument("--local", action="store_true", help="without Ray")
    parser.add_argument("--sample-s", type=float, default=15.0, help="of `serval plan`")
    add_options(parser)
    arguments = parser.parse_args()
    options = ["--local"] if arguments.local else []
    options += ["--workers", arguments.workers] if arguments.workers else []
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.source or f"{folder}/corpus.parquet"
        if arguments.source is None:
            write_corpus(Path(source), arguments.segments)
        save_model(build_model(SMALL_TRANSFORMER, seed=0), f"{folder}/transformer")
        models = {"demo CNN": "random:demo?seed=0", "transformer": f"{folder}/transformer"}
        for name, model in models.items():
            results[name] = compare(source, model, options, arguments.sample_s)
    where = machine("cpu")
    lines = [
        f"{where['cpu']}, load {where['load_average_1min']}, {where['date']}; goal {GOAL:.0%}",
        "",
        "| model | x real time: predicted | actual | wall s: predicted | actual | error |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, result in results.items():
        lines.append(
            f"| {name} | {result['predicted_times_real_time']:.1f} "
            f"| {result['actual_times_real_time']:.1f} | {result['predicted_wall_s']:.0f} "
            f"| {result['actual_wall_s']:.0f} | {result['error']:+.1%} |"
        )
    report("\n".join(lines), {**results, "machine": where}, arguments)


if __name__ == "__main__":
    main()
