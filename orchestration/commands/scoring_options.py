"""The options that ``serval score`` and ``serval plan`` share: what is scored, and on what."""

from __future__ import annotations

import argparse

from ser_model.schema import MAX_SEGMENT_S


def add_scoring_options(parser: argparse.ArgumentParser) -> None:
    """Add source, model and hardware."""
    parser.add_argument(
        "source",
        metavar="M",
        help="manifest, folder of `serval pack`, Parquet file with an audio column, or .tar file",
    )
    parser.add_argument("--model", required=True, metavar="URI", help="models:/NAME/VERSION ...")
    parser.add_argument("--split", choices=("train", "dev", "test"), help="this split alone")
    parser.add_argument(
        "--devices", choices=("auto", "cpu", "cuda"), default="auto", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--workers",
        metavar="N|MIN:MAX",
        help="a range where the Ray cluster grows: begin with MIN (default: one a core or GPU)",
    )
    parser.add_argument(
        "--decoders",
        type=int,
        default=0,
        metavar="N",
        help="let CPUs of the Ray cluster read and decode, N parts of a shard at a time "
        "(default: each worker reads its own)",
    )
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of the arithmetic; auto is bfloat16 on GPUs and float32 on CPUs",
    )
    parser.add_argument("--local", action="store_true", help="one worker in this process, no Ray")
    parser.add_argument(
        "--max-segment",
        type=float,
        default=MAX_SEGMENT_S,
        metavar="SECONDS",
        help="reject longer segments, which bounds memory (default: %(default)g)",
    )
