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
    _add_search(actions.add_parser("search", help="which members vote best together"))
    _add_register(actions.add_parser("register", help="models to one model that votes"))
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


def _add_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", help=_RUN_HELP)
    parser.add_argument(
        "--metadata", required=True, metavar="M", help="manifest, or table with segment_id"
    )
    parser.add_argument(
        "--size",
        default="3,5",
        metavar="N,N",
        help="how many members an ensemble may have (default: %(default)s)",
    )
    parser.add_argument(
        "--split",
        choices=("dev", "test"),
        default="dev",
        help="what to choose on; a choice on test is biased, and says so (default: %(default)s)",
    )
    _add_vote_option(parser)
    parser.add_argument(
        "--truth-range", default="0:1", metavar="LOW:HIGH", help="scale of the truth (default: 0:1)"
    )
    parser.add_argument(
        "--replicates",
        type=int,
        default=1000,
        metavar="N",
        help="of the bootstrap (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")


def _add_register(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "uris", metavar="URI", nargs="+", help="models:/NAME/VERSION, hf:ORG/NAME, onnx:FILE ..."
    )
    parser.add_argument("--name", required=True, metavar="N", help="registered model")
    _add_vote_option(parser)


def _add_vote_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vote",
        choices=("hard", "soft", "mean"),
        help="hard: most votes win; soft: the highest mean probability; mean: of dimensions "
        "(default: hard for emotions, mean for dimensions)",
    )


def _vote(args: argparse.Namespace) -> Summary:
    from orchestration.ensembles.voting import vote_on_runs

    summary = vote_on_runs(args.runs, args.output, vote=args.vote, beam_options=args.beam_options)
    members = summary.num_rejected_by_member
    lines = [
        f"{summary.vote} vote of {len(members)} members on {summary.num_segments} segments: "
        f"{summary.num_predictions} predictions, {summary.num_rejections} rejected",
        *(f"  {name}: {number} rejected" for name, number in members.items()),
        f"next: serval audit {summary.run} --metadata M --output AUDIT",
    ]
    return Summary(text="\n".join(lines), data=dataclasses.asdict(summary))


def _search(args: argparse.Namespace) -> Summary:
    from orchestration.ensembles.choice import search_ensembles
    from orchestration.ensembles.search_text import search_data, search_text
    from ser_model.manifest import parse_truth_range

    result = search_ensembles(
        args.runs,
        args.metadata,
        sizes=_sizes(args.size),
        split=args.split,
        vote=args.vote,
        truth_range=parse_truth_range(args.truth_range),
        num_replicates=args.replicates,
        seed=args.seed,
    )
    return Summary(text=search_text(result), data=search_data(result))


def _sizes(text: str) -> list[int]:
    from ser_model.schema import ConfigError

    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ConfigError(f"--size {text!r} is not N or N,N")
    return [int(part) for part in parts]


def _register(args: argparse.Namespace) -> Summary:
    from orchestration.ensembles.registration import register_ensemble

    registered = register_ensemble(args.uris, name=args.name, vote=args.vote)
    lines = [
        f"registered: {registered.uri}, a {registered.vote} vote of {len(registered.members)}",
        *(f"  {uri}" for uri in registered.members),
        f"next: serval score M --model {registered.uri} --output RUN",
    ]
    return Summary(text="\n".join(lines), data=dataclasses.asdict(registered))


_ACTIONS = {"vote": _vote, "search": _search, "register": _register}
