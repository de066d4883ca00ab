"""`serval nightly`: score, audit, gate and report, and promote who may be, every night."""

from __future__ import annotations

import argparse

from orchestration.commands.summary import Summary

HELP = "score, audit, gate and report candidate and champion; promote, and tell who must know"
EXAMPLE = "serval nightly nightly.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("config", nargs="?", metavar="CONFIG.yaml", help="what is done every night")
    what.add_argument(
        "--init", action="store_true", help="print a configuration with comments, to begin with"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="tell what would happen, and do none of it"
    )
    parser.add_argument(
        "--night",
        metavar="NAME",
        help="finish or repeat that night (default: the date, in UTC, as 2026-11-21)",
    )


def run(args: argparse.Namespace) -> Summary:
    """Run a night; end with 1 where the candidate is refused or an alarm is raised."""
    from orchestration.nights.config import example, read_nightly_config
    from orchestration.nights.plan import night_name

    if args.init:
        text = example()
        return Summary(text=text.rstrip("\n"), data={"example": text})
    config = read_nightly_config(args.config)
    name = night_name(args.night)
    if args.dry_run:
        from orchestration.nights.dry_run import forecast

        found = forecast(config, name)
        return Summary(text=found.text, data=found.data)
    from orchestration.nightly import run_night
    from orchestration.nights.night_text import night_text

    night = run_night(config, name)
    return Summary(
        text=night_text(night, config.output), data=night.to_json(), exit_code=night.exit_code
    )
