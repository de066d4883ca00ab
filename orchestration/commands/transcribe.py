"""``serval transcribe``: what was said in every segment, exactly once."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from orchestration.commands.scoring_options import (
    add_run_options,
    add_scoring_options,
    segmenting_of,
)
from orchestration.commands.summary import Summary

if TYPE_CHECKING:
    from orchestration.score_summary import TranscribeSummary
    from ser_model.metrics.word_errors import WordErrors

HELP = "transcribe segments that have no transcript; run again to resume"
EXAMPLE = "serval transcribe shards --model hf:openai/whisper-base --output transcripts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_scoring_options(parser)
    add_run_options(parser)
    parser.add_argument(
        "--replace",
        action="store_true",
        help="transcribe also what has a transcript, and report the word error rate against it",
    )


def run(args: argparse.Namespace) -> Summary:
    """Transcribe, and tell how much, by whom, how fast and how right."""
    from orchestration.transcribing import transcribe

    summary = transcribe(
        args.source,
        model_uri=args.model,
        output=args.output,
        replace=args.replace,
        devices=args.devices,
        num_workers=args.workers,
        num_decoders=args.decoders,
        dtype=args.dtype,
        local=args.local,
        max_rejected=args.max_rejected,
        split=args.split,
        max_segment_s=args.max_segment,
        segmenting=segmenting_of(args),
    )
    return Summary(text=_text(summary), data=_data(summary))


def _data(summary: TranscribeSummary) -> dict[str, Any]:
    from ser_model.metrics.word_errors import NORMALISATION

    word_errors = None
    if summary.word_errors is not None:
        word_errors = {
            transcriber: {
                **dataclasses.asdict(errors),
                "word_error_rate": errors.word_error_rate if errors.num_words else None,
                "normalisation": NORMALISATION,
            }
            for transcriber, errors in summary.word_errors.items()
        }
    return {
        **dataclasses.asdict(summary),
        "times_real_time": summary.times_real_time,
        "limited_by": summary.limited_by,
        "word_errors": word_errors,
    }


def _text(summary: TranscribeSummary) -> str:
    from orchestration.score_summary import tell_speed

    lines = [
        f"{summary.num_transcripts} transcripts ({summary.audio_s / 3600:.2f} h of audio), "
        f"{summary.num_rejections} segments rejected"
    ]
    lines += [f"  {number} by {name}" for name, number in summary.num_by_transcriber.items()]
    lines += [f"  {number} {reason}" for reason, number in summary.num_rejections_by_reason.items()]
    lines += tell_speed(summary, "transcribe")
    for transcriber, errors in (summary.word_errors or {}).items():
        lines += _error_lines(transcriber, errors)
    return "\n".join([*lines, f"run: {summary.run}"])


def _error_lines(transcriber: str, errors: WordErrors) -> list[str]:
    from ser_model.metrics.word_errors import NORMALISATION

    return [
        f"word error rate of {transcriber}: {errors.word_error_rate:.1%} ({NORMALISATION})",
        f"  {errors.num_words} words in {errors.num_texts} transcripts of the manifest: "
        f"{errors.num_substitutions} substituted, {errors.num_deletions} deleted, "
        f"{errors.num_insertions} inserted",
    ]
