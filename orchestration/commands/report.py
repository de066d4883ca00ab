"""`serval report`: the audit as one HTML file."""

from __future__ import annotations

import argparse

from orchestration.commands.summary import Summary

HELP = "write an audit as one self-contained HTML file"
EXAMPLE = "serval report audit --output report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("audit", metavar="AUDIT", help="folder that `serval audit` wrote")
    parser.add_argument(
        "--output", metavar="FILE", help="the HTML file (default: report.html inside AUDIT)"
    )


def run(args: argparse.Namespace) -> Summary:
    """Write the report."""
    from orchestration.report.render import render_report
    from ser_model import storage

    output = args.output or storage.join(args.audit, "report.html")
    report = render_report(args.audit, output)
    sentences = [f"{title}: {verdict.sentence}" for title, verdict in report.verdicts.items()]
    return Summary(
        text="\n".join([*sentences, f"report: {report.output}"]),
        data={
            "report": report.output,
            "num_bytes": report.num_bytes,
            "verdicts": {
                title: {"status": verdict.status.value, "sentence": verdict.sentence}
                for title, verdict in report.verdicts.items()
            },
        },
    )
