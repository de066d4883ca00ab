"""How every benchmark ends: a table for people, JSON for machines, a file to keep."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all benchmarks have."""
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--save", metavar="FILE", help="under benchmarks/results: keep the result")


def report(text: str, record: Mapping[str, object], arguments: argparse.Namespace) -> None:
    """Print the table, keep it where that was asked for, and print the record with --json."""
    print(text)
    if arguments.save:
        content = f"{text}\n\n```json\n{json.dumps(record, indent=1)}\n```\n"
        (RESULTS / arguments.save).write_text(content, encoding="utf-8")
    if arguments.json:
        print(json.dumps(record))
