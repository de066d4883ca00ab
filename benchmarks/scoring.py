"""How fast w2v2-L-robust-12 scores: the published ways, Serval's, and the machine's own ceiling.

    python benchmarks/scoring.py [--device cuda] [--dtype bfloat16] [--local] [--json]

Side by side in one run, random weights, noise for audio (what is computed does not depend on it):

    howto_loop           the loop of the model card: transformers, float32, one file at a time
    padded_bf16          transformers, padded batches of 8 with an attention mask, bfloat16
    ray_data             the same model in a Ray Data map_batches job
    serval_core          ser_model.predict.Predictor, on 10 s segments
    serval_core_mix      the same on a podcast-like length mix: log-normal, 1 to 30 s
    serval_end_to_end    `serval score` from FLAC shards to committed predictions
    ceiling              the machine's own matrix product in Serval's dtype, in model FLOPs

The ways take turns for several rounds, each turn between two of matrix products (rounds.py); the
table has the medians, of whole jobs (ray_data, serval_end_to_end) one turn. A way's speed is audio
seconds per second; its part of the ceiling compares the operations that the model has by its
definition, whether or not they are done (Serval's positional convolution does fewer).

    distilhubert, fusion  what it costs that a model reads too: speed and peak memory (fusion.py)

With --local nothing but torch, transformers, numpy and pyarrow is needed, and soundfile for
serval_end_to_end, which scores in this process then; from a checkout that is
not installed, set PYTHONPATH to its root.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import fusion
import torch
from core import serval_core
from corpora import equal_lengths, noise, podcast_lengths
from flops import gflop_per_audio_s
from machine import machine, multiplies_bfloat16
from reporting import add_options, report
from rounds import Rounds
from scoring_jobs import ray_data, serval_end_to_end
from scoring_rivals import Scores, Transformers, Waveforms

from ser_model.models.base import ModelConfig, build_model
from ser_model.models.head import HeadConfig
from ser_model.models.logmel import SAMPLING_RATE_HZ
from ser_model.models.speech_transformer_config import SpeechTransformerConfig
from ser_model.models.storage import save_model
from ser_model.predict import Predictor
from ser_model.schema import DIMENSIONS

W2V2_L_ROBUST_12 = ModelConfig(
    task="dimensions",
    targets=DIMENSIONS,
    backbone=SpeechTransformerConfig(
        family="wav2vec2",
        do_normalize=True,
        hidden_size=1024,
        num_hidden_layers=12,
        num_attention_heads=16,
        intermediate_size=4096,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        conv_bias=True,
    ),
    pooling="mean",
    head=HeadConfig(num_hidden=1024, activation="tanh", dropout=0.1),
)


WAYS = (
    "howto_loop",
    "padded_bf16",
    "ray_data",
    "serval_core",
    "serval_core_mix",
    "serval_end_to_end",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many segments a way scores in one go: of 10 s, of a mix of lengths, in a whole job."""

    equal: int
    mixed: int
    job: int


# A GPU wants long batches; a CPU works through them in parts of 30 s anyway.
GPU_SIZES = Sizes(equal=512, mixed=2048, job=16_384)
CPU_SIZES = Sizes(equal=3, mixed=16, job=48)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What was measured of one way.

    Attributes:
        audio_s_per_s: audio seconds scored in a second; None where it was not measured.
        dtype: of the arithmetic.
        part_of_ceiling: of the ceiling in the same dtype, in model FLOPs.
        reason: why there is no measurement.
    """

    audio_s_per_s: float | None = None
    dtype: str | None = None
    part_of_ceiling: float | None = None
    reason: str | None = None


def largest_difference(core: Callable[[Waveforms], Scores], howto: Transformers) -> float:
    """Return by how much Serval's scores differ from the library's at most: it is the same work."""
    waveforms = noise(podcast_lengths(4))
    pairs = zip(core(waveforms), howto.score_one_by_one(waveforms), strict=True)
    return max(abs(a - b) for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True))


def measure(arguments: argparse.Namespace) -> tuple[dict[str, Speed], float, float]:
    """Return each way's speed, the ceiling in GFLOP/s and the largest difference of scores."""
    device, dtype = arguments.device, arguments.dtype
    # What the rivals run in; bfloat16 without instructions for it would be no contest.
    has_bfloat16 = multiplies_bfloat16(device) or arguments.bf16
    sizes = GPU_SIZES if device.startswith("cuda") else CPU_SIZES
    equal, mixed = noise(equal_lengths(sizes.equal)), noise(podcast_lengths(sizes.mixed))
    rounds = Rounds(device, arguments.seconds)
    reasons = take_jobs(arguments, rounds, sizes, "bfloat16" if has_bfloat16 else "float32")
    model = build_model(W2V2_L_ROBUST_12, seed=0)
    predictor = Predictor(model, device=device, dtype=dtype, batch_seconds=arguments.batch_seconds)
    howto = Transformers(build_model(W2V2_L_ROBUST_12, seed=0), device, torch.float32)
    padded = Transformers(build_model(W2V2_L_ROBUST_12, seed=0), device, torch.bfloat16)
    core = functools.partial(serval_core, predictor)
    difference = largest_difference(core, howto)
    ways: list[tuple[str, str, Callable[[Waveforms], object], Waveforms]] = [
        ("serval_core", dtype, core, equal),
        ("serval_core_mix", dtype, core, mixed),
        ("howto_loop", "float32", howto.score_one_by_one, equal[:1]),
    ]
    if has_bfloat16:
        ways.append(("padded_bf16", "bfloat16", padded.score_padded, noise(equal_lengths(8))))
    else:
        reasons["padded_bf16"] = "this CPU has no bfloat16 products: add --bf16 to wait for them"
    for _ in range(arguments.rounds):
        for name, way_dtype, score, waveforms in ways:
            audio_s = sum(len(waveform) for waveform in waveforms) / SAMPLING_RATE_HZ
            rounds.take_turn(
                name, getattr(torch, way_dtype), audio_s, functools.partial(score, waveforms)
            )
    dtypes = {name: way_dtype for name, way_dtype, _, _ in ways} | {
        "padded_bf16": "bfloat16",
        "ray_data": "bfloat16" if has_bfloat16 else "float32",
        "serval_end_to_end": dtype,
    }
    speeds = {
        name: speed_of(name, dtypes[name], rounds, reasons, cost_of(name, equal, mixed))
        for name in WAYS
    }
    ceiling = rounds.ceiling_gflops("serval_core")
    of_ceiling = ceiling / cost_of("ceiling", equal, mixed)
    speeds["ceiling"] = Speed(audio_s_per_s=round(of_ceiling, 2), dtype=dtype, part_of_ceiling=1.0)
    return speeds, ceiling, difference


def take_jobs(
    arguments: argparse.Namespace, rounds: Rounds, sizes: Sizes, rival_dtype: str
) -> dict[str, str]:
    """Run the whole jobs; return why those that could not be run were not."""
    few = noise(equal_lengths(min(64, sizes.job)))
    waveforms = [few[number % len(few)] for number in range(sizes.job)]
    reasons = {}
    with tempfile.TemporaryDirectory() as folder:
        save_model(build_model(W2V2_L_ROBUST_12, seed=0), folder)
        if arguments.local:
            reasons["ray_data"] = "needs Ray, which --local does without"
        else:
            rounds.take_job(
                "ray_data",
                getattr(torch, rival_dtype),
                lambda: ray_data(waveforms, folder, device=arguments.device, dtype=rival_dtype),
            )
        try:
            rounds.take_job(
                "serval_end_to_end",
                getattr(torch, arguments.dtype),
                lambda: serval_end_to_end(
                    waveforms,
                    folder,
                    device=arguments.device,
                    dtype=arguments.dtype,
                    local=arguments.local,
                ),
            )
        except ImportError as error:
            reasons["serval_end_to_end"] = f"needs {error.name}, which is not installed"
    return reasons


def cost_of(name: str, equal: Waveforms, mixed: Waveforms) -> float:
    """Return the model's operations for a second of the audio that a way scores, in GFLOP."""
    config = W2V2_L_ROBUST_12.backbone
    assert isinstance(config, SpeechTransformerConfig)
    waveforms = mixed if name == "serval_core_mix" else equal
    return gflop_per_audio_s([len(waveform) for waveform in waveforms], config)


def speed_of(
    name: str, dtype: str, rounds: Rounds, reasons: Mapping[str, str], cost: float
) -> Speed:
    """Return what was measured of a way, or why nothing was."""
    if name in reasons:
        return Speed(dtype=dtype, reason=reasons[name])
    return Speed(
        audio_s_per_s=round(rounds.audio_s_per_s(name), 2),
        dtype=dtype,
        part_of_ceiling=round(rounds.part_of_ceiling(name, cost), 3),
    )


def table(speeds: dict[str, Speed], where: dict[str, object], ceiling: float) -> str:
    """Return the table for people."""
    howto = speeds["howto_loop"].audio_s_per_s
    lines = [
        f"w2v2-L-robust-12, random weights, 10 s segments; {where['device']} ({where['cpu']}, "
        f"{where['threads']} threads), load {where['load_average_1min']}, {where['date']}",
        f"ceiling {ceiling:,.0f} GFLOP/s; {where['versions']}",
        "",
        "| way | dtype | audio s per s | times howto | of the ceiling |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for name, speed in speeds.items():
        if speed.audio_s_per_s is None:
            lines.append(f"| {name} | {speed.dtype or ''} | {speed.reason} | | |")
            continue
        times = f"{speed.audio_s_per_s / howto:.2f}" if howto else ""
        lines.append(
            f"| {name} | {speed.dtype} | {speed.audio_s_per_s:,.2f} | {times} | "
            f"{speed.part_of_ceiling:.0%} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the result beside this script where that was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="Serval's; by the device")
    parser.add_argument("--threads", type=int, help="of a CPU, for all ways alike; default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one turn")
    parser.add_argument("--batch-seconds", type=float, default=120.0, help="Serval's budget")
    parser.add_argument("--bf16", action="store_true", help="padded_bf16 also on a CPU without it")
    parser.add_argument("--local", action="store_true", help="without Ray")
    add_options(parser)
    arguments = parser.parse_args()
    if arguments.dtype is None:
        arguments.dtype = "bfloat16" if arguments.device.startswith("cuda") else "float32"
    torch.set_num_threads(arguments.threads or len(os.sched_getaffinity(0)))
    where = machine(arguments.device)
    costs = fusion.measure(arguments)
    speeds, ceiling, difference = measure(arguments)
    text = f"{table(speeds, where, ceiling)}\n\n{fusion.table(costs)}"
    text += f"\n\nLargest difference between Serval's and the loop's scores: {difference:.1e}"
    record = {
        **{name: asdict(measured) for name, measured in (speeds | costs).items()},
        "largest_difference": difference,
        "machine": where,
    }
    report(text, record, arguments)


if __name__ == "__main__":
    main()
