"""What it costs that a model reads too: DistilHuBERT alone, and joined by TinyBERT.

    python benchmarks/fusion.py [--device cuda] [--dtype bfloat16] [--json]

    distilhubert   deoliveira/distilhubert: audio alone
    fusion         deoliveira/distilhubert-tinybert: pooled text beside pooled audio

Random weights; noise for audio, of a podcast's mix of lengths, and texts of three tokens a second,
about what people say in one. The two take turns, each turn a process of its own: what it held at
most is the memory of a worker, Python and libraries in it. benchmarks/scoring.py has both too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from core import serval_core
from corpora import noise, podcast_lengths
from machine import machine
from reporting import add_options, report

from ser_model.models.base import build_model
from ser_model.models.logmel import SAMPLING_RATE_HZ
from ser_model.models.pretrained import untrained
from ser_model.predict import Predictor
from ser_model.schema import DIMENSIONS
from ser_model.training.recipe import Recipe, load_recipe

RECIPES = {
    "distilhubert": "deoliveira/distilhubert",
    "fusion": "deoliveira/distilhubert-tinybert",
}
TOKENS_PER_S = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What was measured of a model.

    Attributes:
        audio_s_per_s: audio seconds scored in a second, the median of the turns.
        dtype: of the arithmetic.
        peak_mib: memory that the process held at most; None where /proc does not tell.
        peak_device_mib: memory of the GPU that tensors held at most; None on a CPU.
    """

    audio_s_per_s: float
    dtype: str
    peak_mib: float | None
    peak_device_mib: float | None


def measure(arguments: argparse.Namespace) -> dict[str, Cost]:
    """Return what each model costs; `arguments` are those of `scoring.py`, or of this script."""
    turns: dict[str, list[Cost]] = {name: [] for name in RECIPES}
    for _ in range(arguments.rounds):
        for name, costs in turns.items():
            costs.append(_turn_of_its_own(name, arguments))
    return {name: _together(costs) for name, costs in turns.items()}


def table(costs: Mapping[str, Cost]) -> str:
    """Return the table for people."""
    alone = costs["distilhubert"].audio_s_per_s
    lines = [
        "| model | dtype | audio s per s | times distilhubert | peak MiB | on the GPU |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, cost in costs.items():
        peaks = [
            "" if peak is None else f"{peak:,.0f}" for peak in (cost.peak_mib, cost.peak_device_mib)
        ]
        lines.append(
            f"| {name} | {cost.dtype} | {cost.audio_s_per_s:,.2f} | "
            f"{cost.audio_s_per_s / alone:.2f} | {peaks[0]} | {peaks[1]} |"
        )
    return "\n".join(lines)


def _turn_of_its_own(name: str, arguments: argparse.Namespace) -> Cost:
    command = [sys.executable, __file__, "--turn", name, "--device", arguments.device]
    command += ["--dtype", arguments.dtype, "--seconds", str(arguments.seconds)]
    command += ["--batch-seconds", str(arguments.batch_seconds)]
    command += ["--threads", str(torch.get_num_threads())]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603  this script
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def _together(turns: list[Cost]) -> Cost:
    def highest(peaks: list[float | None]) -> float | None:
        return max((peak for peak in peaks if peak is not None), default=None)

    return Cost(
        audio_s_per_s=round(statistics.median(turn.audio_s_per_s for turn in turns), 2),
        dtype=turns[0].dtype,
        peak_mib=highest([turn.peak_mib for turn in turns]),
        peak_device_mib=highest([turn.peak_device_mib for turn in turns]),
    )


def _take_turn(name: str, arguments: argparse.Namespace) -> Cost:
    """Score again and again until the turn's seconds are over, after a first time to warm up."""
    on_gpu = arguments.device.startswith("cuda")
    lengths = podcast_lengths(2048 if on_gpu else 16)
    waveforms = noise(lengths)
    audio_s = sum(lengths) / SAMPLING_RATE_HZ
    recipe = load_recipe(RECIPES[name])
    assert isinstance(recipe, Recipe)
    config = untrained(recipe.model_config(DIMENSIONS))
    transcripts = None if config.text is None else [_text(length) for length in lengths]
    predictor = Predictor(
        build_model(config, seed=0),
        device=arguments.device,
        dtype=arguments.dtype,
        batch_seconds=arguments.batch_seconds,
    )
    serval_core(predictor, waveforms, transcripts)
    begin, num_done = time.perf_counter(), 0
    while num_done == 0 or time.perf_counter() - begin < arguments.seconds:
        serval_core(predictor, waveforms, transcripts)  # scores are read: no GPU runs behind
        num_done += 1
    return Cost(
        audio_s_per_s=audio_s * num_done / (time.perf_counter() - begin),
        dtype=arguments.dtype,
        peak_mib=_peak_mib(),
        peak_device_mib=torch.cuda.max_memory_allocated() / 2**20 if on_gpu else None,
    )


def _text(num_samples: int) -> str:
    """Return a text of as many tokens as somebody says: each letter is one, [CLS] and [SEP] two."""
    return " ".join(["a"] * max(1, TOKENS_PER_S * num_samples // SAMPLING_RATE_HZ - 2))


def _peak_mib() -> float | None:
    """Return what this process held at most; ru_maxrss would count what its parent held too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return round(int(peak.split()[1]) / 1024, 1)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="by the device")
    parser.add_argument("--threads", type=int, help="of a CPU; default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one turn")
    parser.add_argument("--batch-seconds", type=float, default=120.0, help="Serval's budget")
    parser.add_argument("--turn", choices=RECIPES, help="of one model, in this process")
    add_options(parser)
    arguments = parser.parse_args()
    if arguments.dtype is None:
        arguments.dtype = "bfloat16" if arguments.device.startswith("cuda") else "float32"
    torch.set_num_threads(arguments.threads or len(os.sched_getaffinity(0)))
    if arguments.turn:
        print(json.dumps(asdict(_take_turn(arguments.turn, arguments))))
        return
    where = machine(arguments.device)
    costs = measure(arguments)
    heading = (
        f"random weights; {where['device']} ({where['cpu']}, {where['threads']} threads), "
        f"load {where['load_average_1min']}, {where['date']}\n"
    )
    record = {**{name: asdict(cost) for name, cost in costs.items()}, "machine": where}
    report(f"{heading}\n{table(costs)}", record, arguments)


if __name__ == "__main__":
    main()
