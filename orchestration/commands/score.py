"""``serval score``: every segment of a source through one model, exactly once."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from orchestration.commands.scoring_options import (
    add_condition_options,
    add_run_options,
    add_scoring_options,
    add_transcripts_option,
    segmenting_of,
)
from orchestration.commands.summary import Summary

if TYPE_CHECKING:
    from orchestration.score_summary import ScoreSummary

HELP = "score segments with a model, on CPUs or GPUs; run again to resume"
EXAMPLE = "serval score shards --model models:/demo@champion --split test --output run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_scoring_options(parser)
    add_run_options(parser)
    add_condition_options(parser)
    add_transcripts_option(parser)
    parser.add_argument("--embeddings", action="store_true", help="keep the model's embeddings")


def run(args: argparse.Namespace) -> Summary:
    """Score, and tell how much and how fast."""
    from orchestration.scoring import score

    summary = score(
        args.source,
        model_uri=args.model,
        output=args.output,
        devices=args.devices,
        num_workers=args.workers,
        num_decoders=args.decoders,
        dtype=args.dtype,
        embeddings=args.embeddings,
        local=args.local,
        max_rejected=args.max_rejected,
        split=args.split,
        max_segment_s=args.max_segment,
        segmenting=segmenting_of(args),
        transcripts_uri=args.transcripts,
        conditions=args.condition,
        noise_uri=args.noise,
        seed=args.seed,
    )
    data = {
        **dataclasses.asdict(summary),
        "times_real_time": summary.times_real_time,
        "limited_by": summary.limited_by,
    }
    return Summary(text=_text(summary), data=data)


def _text(summary: ScoreSummary) -> str:
    from orchestration.score_summary import tell_speed

    by_condition = summary.counts_by_condition
    under = f" under {len(by_condition)} conditions" if len(by_condition) > 1 else ""
    lines = [
        f"{summary.num_predictions} segments ({summary.audio_s / 3600:.2f} h of audio) scored with "
        f"{summary.model_uri}{under}, {summary.num_rejections} rejected"
    ]
    lines += [f"  {number} {reason}" for reason, number in summary.num_rejections_by_reason.items()]
    if under:
        lines += [
            f"  {name}: {counts['num_predictions']} scored, {counts['num_rejections']} rejected"
            for name, counts in by_condition.items()
        ]
    return "\n".join([*lines, *tell_speed(summary, "score"), f"run: {summary.run}"])
