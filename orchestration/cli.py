"""The command ``serval``: runs one command, prints its summary, returns its exit code.

Each command is a module of `orchestration.commands`. Those import what is heavy (torch, Ray, Beam,
MLflow) only when they run, so that ``serval --help`` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType

from orchestration.commands.summary import Summary
from orchestration.logs import FORMATS, LEVELS, LogConfig, configure_logging
from ser_model.redaction import redact

COMMANDS = (
    "demo",
    "manifest",
    "pack",
    "plan",
    "transcribe",
    "score",
    "export",
    "audit",
    "ensemble",
    "probe",
    "report",
    "gate",
    "nightly",
    "train",
    "models",
    "reproduce",
)

EPILOG = """\
exit codes: 0 done; 1 done, and the answer is no; 2 wrong usage or input; 3 more segments rejected
than --max-rejected; 4 could not finish: run the same command again to resume
"""

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: the words behind ``serval``; those of the process where None. What stands behind
            a lone ``--`` are options for the Beam runner, in `args.beam_options`.
    """
    words, beam_options = _split_at_dashes(list(sys.argv[1:] if argv is None else argv))
    args = build_parser().parse_args(words)
    args.beam_options = beam_options
    if beam_options and not args.takes_beam_options:
        return _fail(f"{args.command} takes no options behind --", exit_code=2)
    configure_logging(LogConfig(format=args.log_format, level=args.log_level))
    # Read when torch is loaded: its threads, waiting for each other, would else spin and take the
    # cores from whoever has work (on a busy machine, training is five times slower for it).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Not above: it loads pyarrow, which takes longer than all the rest of `serval --help`.
    from ser_model.schema import ServalError, UnfinishedError

    try:
        summary: Summary = args.run(args)
    except ServalError as error:
        return _fail(str(error), error.exit_code, args.log_format)
    except SystemExit as error:
        if error.code != signal.SIGTERM:
            raise
        # Ray ends the process so while it starts, when its own handler is in place.
        message = "stopped by SIGTERM: run the same command again to resume"
        return _fail(message, UnfinishedError.exit_code, args.log_format)
    except KeyboardInterrupt:
        message = "interrupted: run the same command again to resume"
        return _fail(message, UnfinishedError.exit_code, args.log_format)
    except Exception:  # a defect must not end with 1, which means "the answer is no"
        logger.exception("serval %s failed unexpectedly; please report this", args.command)
        return UnfinishedError.exit_code
    _print(json.dumps(summary.data, sort_keys=True) if args.json else summary.text)
    return summary.exit_code


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="serval",
        description="Score speech corpora for emotion at any size and audit the scores.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_log_options(parser, defaults=True)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"orchestration.commands.{name}")
        _add_command(commands, name, module)
    return parser


def _add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, module: ModuleType
) -> None:
    parser = commands.add_parser(
        name,
        help=module.HELP,
        description=module.HELP,
        epilog=f"example:\n  {module.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    _add_log_options(parser, defaults=False)
    parser.set_defaults(
        run=module.run, takes_beam_options=getattr(module, "TAKES_BEAM_OPTIONS", False)
    )


def _split_at_dashes(words: list[str]) -> tuple[list[str], tuple[str, ...]]:
    if "--" not in words:
        return words, ()
    at = words.index("--")
    return words[:at], tuple(words[at + 1 :])


def _add_log_options(parser: argparse.ArgumentParser, *, defaults: bool) -> None:
    """Add them in front of the command, with their defaults, and behind it, where people look."""
    group = parser.add_argument_group("log lines on stderr")
    group.add_argument(
        "--log-format",
        choices=FORMATS,
        default="text" if defaults else argparse.SUPPRESS,
        help="json: one object a line, for machines (default: text)",
    )
    group.add_argument(
        "--log-level",
        choices=LEVELS,
        default="info" if defaults else argparse.SUPPRESS,
        help="(default: info)",
    )


def _print(text: str) -> None:
    """Print on stdout, also where nobody reads to the end (`serval ... | head`)."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # What is left in the buffer would raise again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, exit_code: int, log_format: str = "text") -> int:
    line = " ".join(message.split())
    if log_format == "json":
        logger.error("%s", line)
    else:
        print(f"serval: error: {redact(line)}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
