"""`serval manifest`: a corpus on disk to a manifest."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from orchestration.commands.summary import Summary
from orchestration.readers import READER_NAMES

if TYPE_CHECKING:
    import pyarrow as pa

HELP = "turn a corpus on disk into a manifest"
EXAMPLE = "serval manifest recordings/ --output manifest.csv --split 70:15:15"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder of audio, with a table or RTTM file where there is one; or that table",
    )
    parser.add_argument(
        "--output", required=True, metavar="M", help="manifest (.parquet, .csv, .tsv, .jsonl)"
    )
    parser.add_argument("--reader", choices=READER_NAMES, help="default: the one that fits")
    parser.add_argument(
        "--split",
        metavar="TRAIN:DEV:TEST",
        help="give every speaker one split, in these shares, balanced over sex: 70:15:15",
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, another split")
    parser.add_argument(
        "--truth-range",
        metavar="LOW:HIGH",
        help="scale of arousal, dominance, valence in SOURCE; 0:1 in M (default: the one that the "
        "reader knows, else 0:1)",
    )
    parser.add_argument(
        "--window",
        type=float,
        metavar="SECONDS",
        help="cut long recordings into segments of this length; they carry no truth",
    )
    parser.add_argument(
        "--hop", type=float, metavar="SECONDS", help="from window to window (default: the window)"
    )
    parser.add_argument(
        "--vad", action="store_true", help="keep speech only (needs pip install 'serval[vad]')"
    )


def run(args: argparse.Namespace) -> Summary:
    """Read the corpus, write the manifest, and say what is in it."""
    from orchestration.readers.catalogue import read_corpus
    from ser_model import manifest, splits
    from ser_model.schema import SPLITS, ConfigError

    truth_range = None
    if args.truth_range is not None:
        truth_range = manifest.parse_truth_range(args.truth_range)
    shares = splits.parse_shares(args.split) if args.split is not None else None
    corpus = read_corpus(args.source, reader=args.reader, truth_range=truth_range)
    table = corpus.manifest
    if shares is not None:
        table = splits.assign_splits(table, shares, seed=args.seed)
    lines = [f"read {args.source} with the reader {corpus.reader}", *corpus.mismatches]
    cut: dict[str, object] = {}
    has_recordings = "recording" in table.column_names
    if args.window is not None or args.hop is not None or args.vad:
        if not has_recordings:
            raise ConfigError(f"{args.source} names no recordings that --window or --vad could cut")
        from orchestration.segmenting import segment_manifest

        segmented = segment_manifest(table, window_s=args.window, hop_s=args.hop, vad=args.vad)
        table = segmented.table
        lines.append(segmented.summary)
        cut = segmented.facts
    if has_recordings:
        manifest.write_manifest(args.output, manifest.relative_to(table, args.output))
    else:
        manifest.write_manifest(args.output, table)
        lines.append("metadata alone: score the Parquet files themselves, and audit with these")

    facts = _facts(table)
    lines.append(", ".join(f"{fact} {name.removeprefix('num_')}" for name, fact in facts.items()))
    if "split" in table.column_names:
        counts = Counter(table["split"].to_pylist())
        facts["num_segments_by_split"] = {split: counts[split] for split in SPLITS}
        lines.append(f"segments by split: {', '.join(f'{s} {counts[s]}' for s in SPLITS)}")
    lines.append(f"manifest: {args.output}")
    data = {"output": args.output, "reader": corpus.reader, **facts, **cut}
    data["mismatches"] = list(corpus.mismatches)
    return Summary(text="\n".join(lines), data=data)


def _facts(table: pa.Table) -> dict[str, object]:
    """Count what the manifest holds; hours only where every segment's duration is known."""
    import pyarrow.compute as pc

    facts: dict[str, object] = {"num_segments": len(table)}
    if "recording" in table.column_names:
        facts["num_recordings"] = pc.count_distinct(table["recording"]).as_py()
    if "speaker_id" in table.column_names:
        facts["num_speakers"] = pc.count_distinct(table["speaker_id"], mode="only_valid").as_py()
    duration_s = None
    if "duration_s" in table.column_names:
        duration_s = table["duration_s"]
    elif "end_s" in table.column_names:
        duration_s = pc.subtract(table["end_s"], pc.fill_null(table["start_s"], 0.0))
    if duration_s is not None and duration_s.null_count == 0:
        facts["hours"] = round(pc.sum(duration_s).as_py() / 3600, 2)
    return facts
