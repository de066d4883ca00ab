"""The options that ``score``, ``transcribe`` and ``plan`` share: what is scored, and on what."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ser_model.schema import CLEAN, MAX_SEGMENT_S

if TYPE_CHECKING:
    from orchestration.segmenting import Segmenting


def add_scoring_options(parser: argparse.ArgumentParser) -> None:
    """Add source, model and hardware."""
    parser.add_argument(
        "source",
        metavar="M",
        help="manifest, folder of `serval pack`, Parquet file with an audio column, or .tar file",
    )
    parser.add_argument("--model", required=True, metavar="URI", help="models:/NAME/VERSION ...")
    parser.add_argument("--split", choices=("train", "dev", "test"), help="this split alone")
    parser.add_argument(
        "--devices", choices=("auto", "cpu", "cuda"), default="auto", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--workers",
        metavar="N|MIN:MAX",
        help="a range where the Ray cluster grows: begin with MIN (default: one a core or GPU)",
    )
    parser.add_argument(
        "--decoders",
        type=int,
        default=0,
        metavar="N",
        help="let CPUs of the Ray cluster read and decode, N parts of a shard at a time "
        "(default: each worker reads its own)",
    )
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of the arithmetic; auto is bfloat16 on GPUs and float32 on CPUs",
    )
    parser.add_argument("--local", action="store_true", help="one worker in this process, no Ray")
    parser.add_argument(
        "--max-segment",
        type=float,
        default=MAX_SEGMENT_S,
        metavar="SECONDS",
        help="reject longer segments, which bounds memory (default: %(default)g)",
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add what only those need that write a run: its folder, its limits, how recordings are cut."""
    parser.add_argument("--output", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--window",
        type=float,
        metavar="SECONDS",
        help="cut recordings into such segments",
    )
    parser.add_argument(
        "--hop", type=float, metavar="SECONDS", help="from window to window (default: the window)"
    )
    parser.add_argument(
        "--vad", action="store_true", help="keep speech only (needs pip install 'serval[vad]')"
    )
    parser.add_argument(
        "--max-rejected",
        type=float,
        default=0.05,
        metavar="PART",
        help="exit with 3 if more than this part is rejected (default: %(default)s)",
    )


def add_condition_options(parser: argparse.ArgumentParser) -> None:
    """Add the conditions that segments are scored under beside clean."""
    parser.add_argument(
        "--condition",
        action="append",
        default=[],
        metavar="NAME",
        help="score under this condition too, or under each of this set; repeatable",
    )
    parser.add_argument(
        "--noise", metavar="FOLDER", help="sounds for the conditions that mix some in"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of all that is random in conditions (default: %(default)s)",
    )
    parser.add_argument(
        "--list-conditions", action=_ListConditions, help="print sets and conditions, and end"
    )


class _ListConditions(argparse.Action):
    """Prints what `--condition` takes, whatever else is given or missing."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002  argparse calls it so
        values: object,  # noqa: ARG002
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        from ser_model.augment import SETS, named

        lines: list[str] = []
        for name in (CLEAN, *SETS):
            lines += [f"{name}:"] if name in SETS else []
            for condition in named([name]):
                needs = [*condition.packages, *(["--noise"] if condition.needs_noise else [])]
                told = f" (needs {', '.join(needs)})" if needs else ""
                lines.append(f"  {condition.name:<23} {condition.description}{told}")
        lines.append(
            "packages come with pip install 'serval[augment]'; --noise FOLDER holds sounds, as "
            "docs/conditions.md says"
        )
        sys.stdout.write("\n".join(lines) + "\n")
        parser.exit()


def add_transcripts_option(parser: argparse.ArgumentParser) -> None:
    """Add where a model that reads takes its text from; training has it too."""
    parser.add_argument(
        "--transcripts",
        metavar="RUN|TABLE",
        help="transcripts of a run of `serval transcribe`, or of a table with segment_id and "
        "transcript (default: the column transcript of M)",
    )


def segmenting_of(args: argparse.Namespace) -> Segmenting | None:
    """Return how recordings are to be cut; None for the manifest's own segments."""
    from orchestration.segmenting import Segmenting

    if args.window is None and args.hop is None and not args.vad:
        return None
    return Segmenting(window_s=args.window, hop_s=args.hop, vad=args.vad)
