"""How fast a model scores by torch and, exported, by onnxruntime: the same Predictor, one thread.

    python benchmarks/onnx_files.py [--models cnn14 distilhubert w2v2-L-robust-12] [--json]

Random weights, noise for audio; segments of 10 s, and a podcast-like mix of 1 to 30 s, of which
torch leaves the padding out for transformers and computes it for CNN14; onnxruntime scores rows of
equal length together. The two take turns (rounds.py); the table has the medians. One thread each,
as a worker of `serval score` has.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping

import torch
from core import serval_core
from corpora import equal_lengths, noise, podcast_lengths
from machine import machine
from reporting import add_options, report
from rounds import Rounds
from scoring import W2V2_L_ROBUST_12

from ser_model.models.base import ModelConfig, Scorer, build_model
from ser_model.models.logmel import SAMPLING_RATE_HZ
from ser_model.models.onnx_export import export_onnx
from ser_model.models.onnx_model import OnnxModel
from ser_model.predict import Predictor
from ser_model.schema import DIMENSIONS
from ser_model.training.recipe import Recipe, load_recipe

MODELS = ("cnn14", "distilhubert", "w2v2-L-robust-12")
RECIPES = {"cnn14": "triantafyllopoulos/cnn14", "distilhubert": "deoliveira/distilhubert"}
LENGTHS = {"equal": equal_lengths(4), "mix": podcast_lengths(12)}


def config_of(name: str) -> ModelConfig:
    """Return a model's configuration, without weights from the hub."""
    if name not in RECIPES:
        return W2V2_L_ROBUST_12
    recipe = load_recipe(RECIPES[name], ["backbone.pretrained=null"] if name != "cnn14" else [])
    assert isinstance(recipe, Recipe)
    return recipe.model_config(DIMENSIONS)


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Mapping[str, float]]:
    """Return audio seconds per second by lengths, then by way."""
    model = build_model(config_of(name), seed=0).eval()
    scorers: dict[str, Scorer] = {
        "torch": model,
        "onnxruntime": OnnxModel(export_onnx(model), source=name),
    }
    rounds = Rounds("cpu", arguments.seconds)
    for _ in range(arguments.rounds):
        for lengths, num_samples in LENGTHS.items():
            waveforms = noise(num_samples)
            audio_s = sum(num_samples) / SAMPLING_RATE_HZ
            for way, scorer in scorers.items():
                core = functools.partial(serval_core, Predictor(scorer), waveforms)
                rounds.take_turn(f"{lengths} {way}", torch.float32, audio_s, core)
    return {
        lengths: {way: rounds.audio_s_per_s(f"{lengths} {way}") for way in scorers}
        for lengths in LENGTHS
    }


def table(speeds: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Return the table for people."""
    lines = [
        "| model | lengths | torch, audio s per s | onnxruntime | times torch |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for name, by_lengths in speeds.items():
        for lengths, ways in by_lengths.items():
            ratio = ways["onnxruntime"] / ways["torch"]
            lines.append(
                f"| {name} | {lengths} | {ways['torch']:.1f} | {ways['onnxruntime']:.1f} "
                f"| {ratio:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a turn, at least")
    add_options(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine("cpu")
    speeds = {name: measure(name, arguments) for name in arguments.models}
    heading = (
        f"torch and onnxruntime, one thread; {facts['cpu']}, load {facts['load_average_1min']}, "
        f"{facts['date']}\n"
    )
    report(f"{heading}\n{table(speeds)}", {"speeds": speeds, "machine": facts}, arguments)


if __name__ == "__main__":
    main()
