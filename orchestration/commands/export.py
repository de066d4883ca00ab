"""``serval export``: the rows of a run that count, in one file for any other tool."""

from __future__ import annotations

import argparse

from orchestration.commands.summary import Summary

HELP = "write what a run made (or rejected) into one Parquet, CSV or JSONL file"
EXAMPLE = "serval export run predictions.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "run_uri", metavar="RUN", help="folder that `serval score` or `serval transcribe` wrote"
    )
    parser.add_argument("file", metavar="OUT", help="file.parquet, file.csv or file.jsonl")
    parser.add_argument("--rejections", action="store_true", help="what could not be scored")


def run(args: argparse.Namespace) -> Summary:
    """Export, and tell how many rows."""
    from orchestration.committed import committed_files
    from orchestration.exporting import export

    product = committed_files(args.run_uri, product=None).product
    num_rows = export(args.run_uri, args.file, rejections=args.rejections)
    kind = "rejections" if args.rejections else product
    return Summary(
        text=f"{num_rows} {kind} written to {args.file}",
        data={"file": args.file, "kind": kind, "num_rows": num_rows},
    )
