"""`serval audit`: predictions and truth to statistics."""

from __future__ import annotations

import argparse

from orchestration.commands.summary import Summary

HELP = "compare predictions with the truth: CCC, UAR ..., by group and speaker, with intervals"
EXAMPLE = "serval audit run --metadata manifest.csv --output audit --slice sex --slice sex,accent"
TAKES_BEAM_OPTIONS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        help="folder of `serval score`, or predictions of any other tool (.parquet, .csv, .jsonl)",
    )
    parser.add_argument(
        "--metadata", required=True, metavar="M", help="manifest, or table with segment_id"
    )
    parser.add_argument("--output", required=True, metavar="AUDIT", help="folder to write")
    parser.add_argument(
        "--slice",
        action="append",
        metavar="COL|COL,COL",
        help="metadata columns to compare groups by (default: sex and accent where they exist)",
    )
    parser.add_argument(
        "--stratum",
        action="append",
        default=[],
        metavar="COL|COL,COL",
        help="metadata columns to break every metric and the residuals down by, without comparing",
    )
    parser.add_argument(
        "--margin",
        action="append",
        default=[],
        metavar="METRIC=VALUE",
        help="largest gap in a metric that passes, or none to test against 0; judges that metric "
        "too (default: concordance_cc=.075 and unweighted_average_recall=.075)",
    )
    parser.add_argument(
        "--margins",
        choices=("given", "permutation"),
        default="given",
        help="permutation: a gap fails where speakers with shuffled groups rarely show one so "
        "large (default: %(default)s)",
    )
    parser.add_argument(
        "--min-segments",
        type=int,
        default=20,
        metavar="N",
        help="groups with fewer are not shown (default: %(default)s)",
    )
    parser.add_argument(
        "--min-speakers",
        type=int,
        default=3,
        metavar="N",
        help="groups with fewer are not shown (default: %(default)s)",
    )
    parser.add_argument(
        "--speaker-draws",
        action="store_true",
        help="the mean CCC of 1000 draws of 200 segments, of each speaker who has so many",
    )
    parser.add_argument(
        "--suite",
        choices=("ser-tests",),
        help="published tests with their thresholds: correctness, fairness, robustness",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    parser.add_argument(
        "--truth-range", default="0:1", metavar="LOW:HIGH", help="scale of the truth (default: 0:1)"
    )
    parser.add_argument(
        "--prediction-range",
        default="0:1",
        metavar="LOW:HIGH",
        help="scale of the predictions; --prediction-range=-3:3 where it begins below 0 (default: "
        "0:1)",
    )
    parser.add_argument(
        "--cross-corpus",
        action="store_true",
        help="the truth is of another corpus than the models were trained on: PCC is judged and "
        "shown in the place of CCC",
    )
    parser.add_argument(
        "--system",
        action="append",
        default=[],
        metavar="NAME=VERSION,VERSION",
        help="model versions that are runs of one system with other seeds: means, standard "
        "deviations, and t-tests between systems",
    )
    parser.add_argument(
        "--training",
        metavar="M",
        help="manifest that the models were trained on: counts the segments of its speakers (of "
        "the split train, where it has splits)",
    )
    parser.add_argument(
        "--keep-dimension-order",
        action="store_true",
        help="audit predictions whose dimensions seem to stand in another order all the same",
    )
    parser.add_argument(
        "--replicates",
        type=int,
        default=1000,
        metavar="N",
        help="of the bootstrap, and of permutations (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> Summary:
    """Audit, and tell what was found."""
    from orchestration.audit_options import parse_prediction_range, parse_systems
    from orchestration.audit_text import audit_data, audit_text
    from orchestration.auditing import audit_runs, parse_margins, parse_slice
    from pipelines.audit_config import Minimums
    from ser_model.manifest import parse_truth_range

    summary = audit_runs(
        args.runs,
        args.metadata,
        args.output,
        slices=None if args.slice is None else [parse_slice(text) for text in args.slice],
        strata=[parse_slice(text) for text in args.stratum],
        seed=args.seed,
        truth_range=parse_truth_range(args.truth_range),
        prediction_range=parse_prediction_range(args.prediction_range),
        cross_corpus=args.cross_corpus,
        num_replicates=args.replicates,
        margins=parse_margins(args.margin, cross_corpus=args.cross_corpus),
        margins_from=args.margins,
        minimums=Minimums(segments=args.min_segments, speakers=args.min_speakers),
        speaker_draws=args.speaker_draws,
        suite=args.suite,
        systems=parse_systems(args.system),
        training=args.training,
        keep_dimension_order=args.keep_dimension_order,
        beam_options=args.beam_options,
    )
    return Summary(text=audit_text(summary), data=audit_data(summary))
