"""`serval pack`: recordings to shards."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict

from orchestration.commands.summary import Summary
from ser_model.schema import MAX_SEGMENT_S

HELP = "decode and resample recordings once, into shards of 16 kHz mono FLAC"
EXAMPLE = "serval pack manifest.csv --output s3://bucket/shards -- --direct_num_workers=4"
TAKES_BEAM_OPTIONS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("manifest", metavar="M", help="manifest (.parquet, .csv, .tsv, .jsonl)")
    parser.add_argument("--output", required=True, metavar="SHARDS", help="folder for the shards")
    parser.add_argument("--split", metavar="NAME", help="pack only this split, for example test")
    parser.add_argument(
        "--segments-per-shard",
        type=int,
        default=256,
        metavar="N",
        help="a shard ends behind the recording that reaches N segments (default %(default)s)",
    )
    parser.add_argument(
        "--max-segment",
        type=float,
        default=MAX_SEGMENT_S,
        metavar="SECONDS",
        help="reject longer segments (default %(default)g); `serval manifest --window` cuts them",
    )


def run(args: argparse.Namespace) -> Summary:
    """Pack, and say what was packed and why segments were rejected."""
    from orchestration.packing import pack_manifest, rejection_reasons
    from ser_model.schema import ConfigError

    if args.segments_per_shard < 1:
        raise ConfigError("--segments-per-shard must be at least 1")
    if not args.max_segment > 0:
        raise ConfigError("--max-segment must be a positive number of seconds")
    packed = pack_manifest(
        args.manifest,
        args.output,
        split=args.split,
        segments_per_shard=args.segments_per_shard,
        max_segment_s=args.max_segment,
        beam_options=args.beam_options,
    )
    reasons: Counter[str] = rejection_reasons(args.output) if packed.num_rejected else Counter()
    text = (
        f"packed {packed.num_packed} of {packed.num_segments} segments "
        f"into {packed.num_shards} shards: {args.output}"
    )
    if reasons:
        counts = ", ".join(f"{reason} {number}" for reason, number in reasons.most_common())
        text += f"\nrejected {packed.num_rejected}: {counts}"
    data = {"output": args.output, **asdict(packed), "rejections": dict(reasons)}
    return Summary(text=text, data=data)
