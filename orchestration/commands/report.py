"""`serval report`: the audit as one HTML file, and as a model card."""

from __future__ import annotations

import argparse

from orchestration.commands.summary import Summary

HELP = "write an audit as one self-contained HTML file, and a model card"
EXAMPLE = "serval report audit --output report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("audit", metavar="AUDIT", help="folder that `serval audit` wrote")
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="the HTML file (default: report.html inside AUDIT); model_card.md is put beside it",
    )
    parser.add_argument(
        "--gate",
        metavar="FILE",
        help="show what `serval gate` decided about this audit (default: gate.json inside AUDIT, "
        "where there is one)",
    )
    parser.add_argument(
        "--pseudonymise",
        metavar="KEY_FILE",
        help="show speakers under pseudonyms made with the key in this file, of 16 bytes or more",
    )
    parser.add_argument(
        "--with-audio",
        type=int,
        metavar="N",
        help="let the page play the N segments (at most 20) with the largest residuals of each "
        "group and dimension; voices are personal data, so none without this",
    )


def run(args: argparse.Namespace) -> Summary:
    """Write the report."""
    from orchestration.report.render import render_report
    from ser_model import storage

    output = args.output or storage.join(args.audit, "report.html")
    report = render_report(
        args.audit,
        output,
        key_uri=args.pseudonymise,
        num_audio=args.with_audio,
        decision_uri=args.gate,
    )
    sentences = [f"{title}: {verdict.sentence}" for title, verdict in report.verdicts.items()]
    return Summary(
        text="\n".join(
            [*sentences, f"model card: {report.model_card}", f"report: {report.output}"]
        ),
        data={
            "report": report.output,
            "model_card": report.model_card,
            "num_bytes": report.num_bytes,
            "verdicts": {
                title: {"status": verdict.status.value, "sentence": verdict.sentence}
                for title, verdict in report.verdicts.items()
            },
        },
    )
