"""``serval plan``: what a run would take, before it is started."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from orchestration.commands.scoring_options import add_condition_options, add_scoring_options
from orchestration.commands.summary import Summary

if TYPE_CHECKING:
    from orchestration.planning import RunPlan

HELP = "hours of audio, time and cost of scoring, from headers and a short probe"
EXAMPLE = "serval plan manifest.csv --model models:/demo@champion --workers 4 --price-per-hour 2.5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_scoring_options(parser)
    add_condition_options(parser)
    parser.add_argument(
        "--price-per-hour", type=float, metavar="X", help="of one device: a GPU, or a core"
    )
    parser.add_argument(
        "--sample-s",
        type=float,
        default=15.0,
        metavar="S",
        help="about how long to score, to measure the speed (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> Summary:
    """Plan, and tell what a run would take."""
    from orchestration.planning import plan_run

    plan = plan_run(
        args.source,
        model_uri=args.model,
        split=args.split,
        devices=args.devices,
        num_workers=args.workers,
        num_decoders=args.decoders,
        dtype=args.dtype,
        local=args.local,
        price_per_hour=args.price_per_hour,
        sample_s=args.sample_s,
        max_segment_s=args.max_segment,
        conditions=args.condition,
        noise_uri=args.noise,
        seed=args.seed,
    )
    return Summary(text=_text(plan, args.price_per_hour), data=dataclasses.asdict(plan))


def _text(plan: RunPlan, price_per_hour: float | None) -> str:
    error = f" ± {plan.audio_error_h:.2f}" if plan.audio_error_h else ""
    fewest, median, most = plan.segments_per_shard
    under = f", under each of {len(plan.conditions)} conditions" if len(plan.conditions) > 1 else ""
    lines = [
        f"audio    {plan.audio_h:.2f}{error} h in {plan.num_segments} segments "
        f"({plan.num_headers} headers read){under}",
        f"shards   {plan.num_shards} of {fewest} to {most} segments, median {median:g}",
        f"speed    {plan.times_real_time:.1f} x real time a worker (± {plan.relative_error:.0%}), "
        f"{plan.device}, {plan.dtype}; limited by {plan.limited_by}",
        f"time     {_duration(plan.wall_h)} with {plan.num_workers} workers, "
        f"of which {plan.startup_s:.0f} s to start; {plan.device_h:.2f} device hours",
    ]
    if plan.cost is not None:
        lines.append(f"cost     {plan.cost:.2f} at {price_per_hour:g} a device hour")
    return "\n".join([*lines, *_warnings(plan), "nothing was scored or written"])


def _warnings(plan: RunPlan) -> list[str]:
    lines = []
    if plan.num_unreadable:
        lines.append(f"{plan.num_unreadable} segments have no readable audio: they are rejected")
    if plan.num_too_long:
        lines.append(
            f"{plan.num_too_long} segments are too long and are rejected; "
            "`serval manifest --window 8 --hop 4` cuts recordings into segments"
        )
    if plan.num_rejections_by_reason:
        reasons = ", ".join(f"{n} {reason}" for reason, n in plan.num_rejections_by_reason.items())
        lines.append(
            f"of {plan.num_sampled} segments scored on trial some were rejected: {reasons}"
        )
    if plan.num_workers_measured < plan.num_workers:
        lines.append(
            f"measured with {plan.num_workers_measured} of {plan.num_workers} workers: "
            "the others are taken to be as fast"
        )
    return lines


def _duration(hours: float) -> str:
    """Return hours in the unit that reads best.

    >>> _duration(0.002), _duration(0.25), _duration(30.0)
    ('7 s', '15.0 min', '30.0 h')
    """
    if hours < 1 / 30:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.1f} min" if hours < 1 else f"{hours:.1f} h"
