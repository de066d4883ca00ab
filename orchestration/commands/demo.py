"""``serval demo``: the whole line on a corpus that it makes itself."""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.commands.summary import Summary
from ser_model.schema import ConfigError

if TYPE_CHECKING:
    from orchestration.demo.steps import Record
    from orchestration.demo.text_findings import TextFindings

HELP = "make a corpus, train, register, pack, score, audit, report"
EXAMPLE = "serval demo --dir serval-demo"

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--dir", default="serval-demo", help="folder for all of it (default: %(default)s)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a corpus too small for good scores: under a minute"
    )
    parser.add_argument(
        "--with-text",
        action="store_true",
        help="train a text model and a fusion of text and audio too, and audit them beside the CNN",
    )
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")


def run(args: argparse.Namespace) -> Summary:
    """Run the steps that are not done yet, and say what the audit found."""
    from orchestration.demo.findings import read_findings
    from orchestration.demo.line import TRACKING_VARIABLE, DemoConfig, run_demo, tracking_uri
    from orchestration.demo.robustness_findings import read_robustness
    from orchestration.demo.text_line import REPORT as TEXT_REPORT
    from ser_model import storage

    started = time.monotonic()
    folder = storage.local_path(args.dir)
    if folder is None:
        raise ConfigError(f"--dir {args.dir} is not local: the demo's MLflow store must be")
    # A server's URI may hold a password: it is not printed.
    elsewhere = TRACKING_VARIABLE in os.environ
    mlflow_ui = f"mlflow ui --backend-store-uri {tracking_uri(folder)}"
    config = DemoConfig(seed=args.seed, quick=args.quick, with_text=args.with_text)
    outcomes = run_demo(folder, config, say=lambda line: logger.info("%s", line))
    corpus, scored = outcomes["corpus"], outcomes["score"]
    findings = read_findings(str(folder / "audit"), corpus["planted"]["gap"])
    robustness = read_robustness(str(folder / "audit"))
    text_findings = _read_text_findings(folder, outcomes) if args.with_text else None
    wall_s = time.monotonic() - started
    lines = [
        f"synthetic corpus: {corpus['num_segments']} segments of {corpus['num_speakers']} speakers "
        f"in {corpus['num_recordings']} recordings",
        f"scored with {scored['model_uri']}: {scored['num_clean_predictions']} test segments, "
        f"{_under(scored)}, {scored['num_rejections']} rejected",
        findings.as_text(),
        f"({corpus['planted']['what']})",
        robustness.as_text(),
        *([] if text_findings is None else [text_findings.as_text()]),
        f"done in {wall_s:.0f} s; where to look next:",
        f"  {folder / 'report.html'}",
        *([] if text_findings is None else [f"  {folder / TEXT_REPORT}"]),
        f"  {folder / 'corpus' / 'README.md'}",
        f"  {folder / 'noise' / 'README.md'}",
        f"  {f'MLflow as in {TRACKING_VARIABLE}' if elsewhere else mlflow_ui}",
    ]
    if args.quick:
        lines.insert(0, "--quick: too small a corpus for good scores; without it they are good")
    data = {
        "dir": str(folder),
        "num_segments": corpus["num_segments"],
        "model_uri": scored["model_uri"],
        "num_conditions": scored["num_conditions"],
        "num_predictions": scored["num_predictions"],
        "num_rejections": scored["num_rejections"],
        "content_sha256": scored["content_sha256"],
        "report": str(folder / "report.html"),
        "mlflow_tracking_uri": None if elsewhere else tracking_uri(folder),
        "wall_s": round(wall_s, 1),
        **findings.as_data(),
        "robustness": robustness.as_data(),
    }
    if text_findings is not None:
        data["with_text"] = {"report": str(folder / TEXT_REPORT), **text_findings.as_data()}
    return Summary(text="\n".join(lines), data=data)


def _under(scored: Record) -> str:
    return f"clean and under {scored['num_conditions'] - 1} levels of white noise"


def _read_text_findings(folder: Path, outcomes: Mapping[str, Record]) -> TextFindings:
    from orchestration.demo.text_findings import read_text_findings
    from orchestration.demo.text_line import AUDIT, MODELS

    model_uris = {
        "audio": outcomes["score"]["model_uri"],
        **{model: outcomes["score-text"][model]["model_uri"] for model in MODELS},
    }
    return read_text_findings(str(folder / AUDIT), model_uris, outcomes["audit-text"]["gains"])
