"""``serval ensemble``: several models that vote."""

from __future__ import annotations

import argparse
import dataclasses

from orchestration.commands.summary import Summary

HELP = "let several models vote: on what they predicted, or as one registered model"
EXAMPLE = "serval ensemble vote run-a run-b run-c --output run-abc --vote hard"
TAKES_BEAM_OPTIONS = True

_RUN_HELP = "folder of `serval score`, or predictions of any other tool (.parquet, .csv, .jsonl)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_vote(actions.add_parser("vote", help="runs of the members to a run of their vote"))
    for action in actions.choices.values():
        # Also behind the action, where people write it; cli.py declares it in front.
        action.add_argument(
            "--json",
            action="store_true",
            default=argparse.SUPPRESS,
            help="print the summary as one JSON object",
        )


def run(args: argparse.Namespace) -> Summary:
    """Do what the action says."""
    return _ACTIONS[args.action](args)


def _add_vote(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", help=_RUN_HELP)
    parser.add_argument("--output", required=True, metavar="RUN", help="folder to write")
    _add_vote_option(parser)


def _add_vote_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vote",
        choices=("hard", "soft", "mean"),
        help="hard: most votes win; soft: the highest mean probability; mean: of dimensions "
        "(default: hard for emotions, mean for dimensions)",
    )


def _vote(args: argparse.Namespace) -> Summary:
    from orchestration.ensembling import vote_on_runs

    summary = vote_on_runs(args.runs, args.output, vote=args.vote, beam_options=args.beam_options)
    members = summary.num_rejected_by_member
    lines = [
        f"{summary.vote} vote of {len(members)} members on {summary.num_segments} segments: "
        f"{summary.num_predictions} predictions, {summary.num_rejections} rejected",
        *(f"  {name}: {number} rejected" for name, number in members.items()),
        f"next: serval audit {summary.run} --metadata M --output AUDIT",
    ]
    return Summary(text="\n".join(lines), data=dataclasses.asdict(summary))


_ACTIONS = {"vote": _vote}
