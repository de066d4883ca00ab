"""``serval score``: every segment of a source through one model, exactly once."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from orchestration.commands.scoring_options import add_scoring_options
from orchestration.commands.summary import Summary

if TYPE_CHECKING:
    from orchestration.score_summary import ScoreSummary

HELP = "score segments with a model, on CPUs or GPUs; run again to resume"
EXAMPLE = "serval score shards --model models:/demo@champion --split test --output run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_scoring_options(parser)
    parser.add_argument("--output", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--embeddings", action="store_true", help="keep the model's embeddings")
    parser.add_argument(
        "--window",
        type=float,
        metavar="SECONDS",
        help="cut recordings into such segments",
    )
    parser.add_argument(
        "--hop", type=float, metavar="SECONDS", help="from window to window (default: the window)"
    )
    parser.add_argument(
        "--vad", action="store_true", help="score speech only (needs pip install 'serval[vad]')"
    )
    parser.add_argument(
        "--max-rejected",
        type=float,
        default=0.05,
        metavar="PART",
        help="exit with 3 if more than this part is rejected (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> Summary:
    """Score, and tell how much and how fast."""
    from orchestration.scoring import score
    from orchestration.segmenting import Segmenting

    segmenting = None
    if args.window is not None or args.hop is not None or args.vad:
        segmenting = Segmenting(window_s=args.window, hop_s=args.hop, vad=args.vad)
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
        segmenting=segmenting,
    )
    data = {
        **dataclasses.asdict(summary),
        "times_real_time": summary.times_real_time,
        "limited_by": summary.limited_by,
    }
    return Summary(text=_text(summary), data=data)


def _text(summary: ScoreSummary) -> str:
    lines = [
        f"{summary.num_predictions} segments ({summary.audio_s / 3600:.2f} h of audio) scored with "
        f"{summary.model_uri}, {summary.num_rejections} rejected"
    ]
    lines += [f"  {number} {reason}" for reason, number in summary.num_rejections_by_reason.items()]
    if summary.num_scored_now:
        lines.append(
            f"{summary.num_scored_now} of them now, in {summary.wall_s:.0f} s: "
            f"{summary.times_real_time:.0f} x real time, {summary.padding_waste:.1%} padding"
        )
        times = summary.times
        lines.append(
            f"seconds of {summary.num_workers} workers: model {times.score_s:.0f}, reading "
            f"{times.read_s:.0f} (waited for: {times.starved_s:.0f}), writing {times.write_s:.0f}; "
            f"limited by {summary.limited_by}"
        )
    else:
        lines.append("nothing was left to score: the run was complete")
    return "\n".join([*lines, f"run: {summary.run}"])
