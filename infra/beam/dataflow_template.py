"""What a Dataflow Flex template runs: its parameters as the words of `serval audit`.

Dataflow hands over parameters as `--name=value`, those of dataflow-template.json and Beam's own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def audit_words(words: Sequence[str]) -> list[str]:
    """Return the words behind `serval`; what is no parameter of the template goes to Beam.

    >>> audit_words(["--runs=gs://r/a", "--metadata=gs://m", "--audit=gs://a", "--region=r"])
    ['audit', 'gs://r/a', '--metadata', 'gs://m', '--output', 'gs://a', '--', '--region=r']
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--runs", required=True)
    parser.add_argument("--metadata", required=True)
    parser.add_argument("--audit", required=True)
    parser.add_argument("--slices")
    args, beam_options = parser.parse_known_args(words)
    slices = [word for name in (args.slices or "").split() for word in ("--slice", name)]
    runs = args.runs.split()
    audit = ["audit", *runs, "--metadata", args.metadata, "--output", args.audit, *slices]
    return [*audit, "--", *beam_options]


if __name__ == "__main__":
    from orchestration.cli import main

    sys.exit(main(audit_words(sys.argv[1:])))
