"""``serval probe``: what a model listens to."""

from __future__ import annotations

import argparse

from orchestration.commands.summary import Summary

HELP = "find out what a model listens to: the words, or how they are said"
EXAMPLE = "serval probe text run --metadata manifest.csv --output probe"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's probes."""
    probes = parser.add_subparsers(dest="probe", metavar="PROBE", required=True)
    text = probes.add_parser(
        "text",
        help="score the transcripts as neutral synthetic speech, and compare with the original",
        description="Speak each transcript with one neutral voice, score that with the same model, "
        "and compare valence with that on the original speech; needs pip install 'serval[probe]'.",
    )
    text.add_argument(
        "run_uri",
        metavar="RUN",
        help="folder of `serval score`, or predictions of any other tool (.parquet, .csv, .jsonl)",
    )
    text.add_argument(
        "--metadata",
        required=True,
        metavar="M",
        help="manifest, or table with segment_id; with transcript, truth and speaker_id",
    )
    text.add_argument("--output", required=True, metavar="DIR", help="folder to write")
    text.add_argument("--model", metavar="URI", help="(default: the run's own)")
    text.add_argument(
        "--voice", default="en-us", metavar="NAME", help="of espeak-ng (default: %(default)s)"
    )
    text.add_argument(
        "--sentiment",
        metavar="COLUMN|RUN",
        help="of the words: a numeric column of M, or the run of a text model, whose valence "
        "counts (default: the lexicon VADER, for English)",
    )
    text.add_argument(
        "--truth-range", default="0:1", metavar="LOW:HIGH", help="scale of the truth (default: 0:1)"
    )
    text.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    text.add_argument(
        "--replicates",
        type=int,
        default=1000,
        metavar="N",
        help="of the bootstrap (default: %(default)s)",
    )
    text.add_argument(
        "--devices", choices=("auto", "cpu", "cuda"), default="auto", help="(default: %(default)s)"
    )
    text.add_argument(
        "--workers", metavar="N|MIN:MAX", help="that score (default: one a core or GPU)"
    )
    text.add_argument("--local", action="store_true", help="score in this process, no Ray")
    # Also behind the probe, where people write it; cli.py declares it in front.
    text.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print the summary as one JSON object",
    )


def run(args: argparse.Namespace) -> Summary:
    """Probe, and tell what was found."""
    from orchestration.text_probe.probing import ProbeConfig, probe_text
    from orchestration.text_probe.synthesis import NeutralVoice
    from orchestration.text_probe.wording import probe_text_lines
    from ser_model import storage
    from ser_model.manifest import parse_truth_range

    config = ProbeConfig(
        voice=NeutralVoice(name=args.voice),
        sentiment=args.sentiment,
        truth_range=parse_truth_range(args.truth_range),
        seed=args.seed,
        num_replicates=args.replicates,
    )
    probe = probe_text(
        args.run_uri,
        args.metadata,
        args.output,
        config=config,
        model_uri=args.model,
        devices=args.devices,
        num_workers=args.workers,
        local=args.local,
    )
    lines = [*probe_text_lines(probe), f"probe: {storage.join(args.output, 'probe.json')}"]
    return Summary(text="\n".join(lines), data={"output": args.output, **probe})
