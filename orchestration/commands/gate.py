"""`serval gate`: may a candidate take the champion's place?"""

from __future__ import annotations

import argparse

from orchestration.commands.summary import Summary

HELP = "hold a candidate's audit against the champion's: refuse what is not shown to be no worse"
EXAMPLE = "serval gate --candidate audits/new --champion audits/current --config gate.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--candidate", required=True, metavar="AUDIT", help="folder of `serval audit`"
    )
    parser.add_argument(
        "--champion",
        required=True,
        metavar="AUDIT",
        help="likewise, with the same metadata and options",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="YAML: statistics, gaps, margins, and what becomes of inconclusive ones (default: CCC "
        "and UAR may not be worse by .02, gaps in them not wider by .05; docs/gate.md)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="the decision as JSON (default: gate.json in the candidate)",
    )


def run(args: argparse.Namespace) -> Summary:
    """Decide, write the decision, and end with 1 where the candidate is refused."""
    from orchestration.gate import decide
    from orchestration.gate_config import read_config
    from orchestration.gate_decision import DECISION_FILE
    from orchestration.gate_text import gate_text
    from ser_model import storage

    config = None if args.config is None else read_config(args.config)
    decision = decide(args.candidate, args.champion, config)
    output = args.output or storage.join(args.candidate, DECISION_FILE)
    content = decision.to_json()
    storage.write_json(output, content)
    return Summary(
        text=gate_text(decision, output),
        data={**content, "output": output},
        exit_code=0 if decision.is_accepted else 1,
    )
