"""What scoring under conditions costs beside the model and the conditions themselves.

    python benchmarks/conditions.py [--model URI] [--segments N] [--rounds N] [--json] [--save FILE]

A corpus of noise in FLAC with a podcast's mix of lengths is scored by one worker, clean and under
the eleven conditions of `wagner`. Three things take turns; each counts its seconds of CPU, of all
threads together, so that what else the machine does matters little:

    model       the predictor on decoded clean waveforms, once
    augmenting  the eleven conditions on these waveforms, sounds read anew
    run         the worker of `serval score`: read, decode, augment, score, write, commit

Goal: a run under 12 conditions takes at most 1.15 times 12 models plus the augmenting. Beside it
stands a clean run, which decodes as often.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import torch
from augment import noise_folder
from core import serval_core
from machine import machine
from planning import write_corpus
from reporting import add_options, report

from orchestration.augmentation import Augmentation, resolve_augmentation
from orchestration.hardware import choose_hardware
from orchestration.model_uris import ResolvedModel, resolve_model
from orchestration.scoring_workers import identify, start_workers
from orchestration.shard_plan import ShardPlan, ShardTask
from orchestration.shards import plan_shards
from ser_model.predict import Predictor
from ser_model.schema import CLEAN, SegmentError

GOAL = 1.15


def cpu_s(work: Callable[[], object]) -> float:
    """Return the seconds of CPU that some work takes, in all threads of this process."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def run_s(plan: ShardPlan, model: ResolvedModel, runs: list[Augmentation]) -> float:
    """Return the seconds of CPU of a worker that has loaded the model, for some runs of a plan."""
    hardware = choose_hardware("cpu", None, "float32", local=True)
    total_s = 0.0
    for augmentation in runs:
        identity = identify(model, plan, hardware)
        tasks = [
            ShardTask(number=number, conditions=augmentation.names)
            for number in range(plan.num_shards)
        ]
        with start_workers(
            model,
            f"memory://conditions-{uuid.uuid4().hex}",
            identity,
            hardware,
            num_shards=plan.num_shards,
            augmentation=augmentation,
        ) as workers:
            total_s += cpu_s(lambda: list(workers.score(plan, tasks)))  # noqa: B023  called here
    return total_s


def measure(source: str, noise: str, model_uri: str, rounds: int) -> dict[str, object]:
    """Take the turns, and return medians of seconds and of ratios."""
    plan, model = plan_shards(source), resolve_model(model_uri)
    augmentation = resolve_augmentation(["wagner"], noise_uri=noise)
    decoded = [item for n in range(plan.num_shards) for item in plan.shard(n).read()]
    waveforms = {i: audio for i, audio in decoded if not isinstance(audio, SegmentError)}
    predictor = Predictor(model.load())

    def augment() -> None:
        conditions = augmentation.load()
        for name in augmentation.names:
            for segment_id, waveform in waveforms.items():
                conditions[name].apply(waveform, segment_id, 0)

    num = len(augmentation.names)
    turns: dict[str, list[float]] = {"model_s": [], "augmenting_s": [], "run_s": [], "clean_s": []}
    serval_core(predictor, list(waveforms.values())[:2])
    for _ in range(rounds):
        turns["model_s"].append(cpu_s(lambda: serval_core(predictor, list(waveforms.values()))))
        turns["augmenting_s"].append(cpu_s(augment))
        turns["run_s"].append(run_s(plan, model, [augmentation]))
        turns["clean_s"].append(run_s(plan, model, [Augmentation(names=(CLEAN,))]))
    ratios = [
        run / (num * alone + augmenting)
        for run, alone, augmenting in zip(
            turns["run_s"], turns["model_s"], turns["augmenting_s"], strict=True
        )
    ]
    return {
        "model": model_uri,
        "conditions": num,
        "audio_s": sum(map(len, waveforms.values())) / 16_000,
        **{name: round(statistics.median(seconds), 3) for name, seconds in turns.items()},
        "ratio": round(statistics.median(ratios), 4),
        "goal": GOAL,
    }


def table(row: dict[str, object], facts: dict[str, object]) -> str:
    """Return the table for people."""
    return "\n".join(
        [
            f"Seconds of CPU for {row['audio_s']:.0f} s of audio under {row['conditions']} "
            f"conditions, {row['model']}; {facts['cpu']}, load {facts['load_average_1min']}, "
            f"{facts['date']}",
            "",
            "| what | CPU s |",
            "| --- | ---: |",
            f"| the model on clean waveforms, once | {row['model_s']} |",
            f"| augmenting, all conditions | {row['augmenting_s']} |",
            f"| a clean run | {row['clean_s']} |",
            f"| a run under all conditions | {row['run_s']} |",
            "",
            f"run / ({row['conditions']} x model + augmenting) = {row['ratio']} "
            f"(goal: at most {row['goal']})",
        ]
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="The cost of scoring under conditions.")
    parser.add_argument("--model", default="random:wagner/w2v2-b?seed=0")
    parser.add_argument("--segments", type=int, default=32)
    parser.add_argument("--noise", metavar="FOLDER", help="with a subfolder for each kind of noise")
    parser.add_argument("--rounds", type=int, default=2)
    add_options(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, noise_folder(arguments.noise) as noise:
        source = Path(folder) / "segments.parquet"
        write_corpus(source, arguments.segments)
        row = measure(str(source), noise, arguments.model, arguments.rounds)
    facts = machine("cpu")
    report(table(row, facts), {"machine": facts, **row}, arguments)


if __name__ == "__main__":
    main()
