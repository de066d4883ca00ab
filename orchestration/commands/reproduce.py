"""`serval reproduce`: a table of a paper, with our numbers beside the published ones."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from orchestration.commands.summary import Summary

if TYPE_CHECKING:
    from orchestration.reproduce.changes import Changes

HELP = "make a table of a paper anew: train, score, vote, audit; our numbers beside its own"
EXAMPLE = "serval reproduce gavali/table4 --corpus ravdess=/data/ravdess --output reproduction"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("table", nargs="?", metavar="TABLE", help="one of --list")
    parser.add_argument("--list", action="store_true", help="print the tables, one a line")
    parser.add_argument(
        "--corpus",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="corpus that you have, as it is on disk, or its manifest; esc50 is the noise",
    )
    parser.add_argument(
        "--output",
        default="reproduction",
        metavar="DIR",
        help="folder of all steps, which tables share (default: %(default)s)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would be done and about how long it takes; needs no corpora",
    )
    parser.add_argument(
        "--tflops",
        type=float,
        default=None,
        metavar="X",
        help="of --dry-run: what a device sustains, in 1e12 operations a second (default: 30)",
    )
    parser.add_argument(
        "--price-per-hour", type=float, metavar="X", help="of --dry-run: of a device"
    )
    parser.add_argument(
        "--devices",
        default="auto",
        choices=("auto", "cpu", "cuda"),
        help="what to train and score on (default: a GPU where there is one)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that train together, or score (default: %(default)s)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="[RECIPES:]KEY=VALUE",
        dest="overrides",
        help="override a field of all recipes, or of those with such names ('wagner/*:'); "
        "the table says so",
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="trainings of each network (default: the paper's)"
    )


def run(args: argparse.Namespace) -> Summary:
    """Make the table, or tell of tables."""
    from ser_model.schema import ConfigError

    if args.list:
        return _list()
    if args.table is None:
        raise ConfigError("serval reproduce needs a TABLE; serval reproduce --list prints them")
    if args.dry_run:
        return _dry_run(args)
    from orchestration.reproduce.corpora import Corpora, parse_corpora
    from orchestration.reproduce.reproducing import reproduce
    from orchestration.reproduce.result_text import as_text
    from orchestration.reproduce.steps.base import Context

    context = Context(
        work=args.output,
        corpora=Corpora(parse_corpora(args.corpus)),
        devices=args.devices,
        num_workers=args.workers,
    )
    result = reproduce(args.table, context, _changes(args))
    return Summary(text=as_text(result), data=dataclasses.asdict(result))


def _changes(args: argparse.Namespace) -> Changes:
    from orchestration.reproduce.changes import Changes, parse_overrides
    from ser_model.schema import ConfigError

    if args.seeds is not None and args.seeds < 1:
        raise ConfigError(f"--seeds {args.seeds}: at least one is needed")
    return Changes(overrides=parse_overrides(args.overrides), num_seeds=args.seeds)


def _list() -> Summary:
    from orchestration.reproduce.published import list_published, read_published

    tables = [read_published(name) for name in list_published()]
    width = max(len(table.table) for table in tables)
    needs = max(len(", ".join(table.needs)) for table in tables)
    lines = [f"{t.table:<{width}}  {', '.join(t.needs):<{needs}}  {t.title}" for t in tables]
    data = [{"table": t.table, "needs": list(t.needs), "title": t.title} for t in tables]
    return Summary(text="\n".join(lines), data={"tables": data})


def _dry_run(args: argparse.Namespace) -> Summary:
    from orchestration.reproduce.corpora import Corpora, parse_corpora
    from orchestration.reproduce.estimate import DEFAULT_TFLOPS, estimate, estimate_text
    from orchestration.reproduce.reproducing import plan_table
    from orchestration.reproduce.run import is_done
    from ser_model.schema import ConfigError

    tflops = DEFAULT_TFLOPS if args.tflops is None else args.tflops
    if not tflops > 0:
        raise ConfigError(f"--tflops {tflops:g} is not positive")
    corpora = Corpora(parse_corpora(args.corpus))
    plan = plan_table(args.table, corpora, _changes(args))
    done = [is_done(step, args.output) for step in plan.steps]
    works = estimate(plan.steps, done, tflops=tflops, price_per_hour=args.price_per_hour)
    absent = [name for name in plan.table.needs if name not in corpora.given]
    lines = [
        f"{plan.table.table}: {plan.table.title}",
        estimate_text(works),
        f"at {tflops:g} TFLOP/s sustained, which is assumed (--tflops); reading, augmenting and "
        "auditing are not counted",
        *([f"sizes as the papers print them: {', '.join(absent)}"] if absent else []),
        *corpora.mismatches(),
    ]
    data = {
        "table": plan.table.table,
        "steps": [step.title for step in plan.steps],
        "work": [dataclasses.asdict(work) for work in works],
        "tflops": tflops,
        "absent_corpora": absent,
    }
    return Summary(text="\n".join(lines), data=data)
