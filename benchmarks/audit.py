"""How long an audit takes, beside the usual ways, at several sizes.

    python benchmarks/audit.py [--rows 100000 1000000 10000000] [--json] [--save FILE]

Predictions and metadata are Parquet files in different orders (see audit_data.py); all ways join
them by segment_id and compute CCC, PCC, MSE, MAE and bias of three dimensions, for all segments, by
sex, by accent, by both, and for each speaker.

    rowwise_beam        an element a row: CoGroupByKey and CombinePerKey
    tfma_like           the same with 20 replicates of rows, a branch each; up to 100,000 rows
    duckdb              DuckDB and numpy, without Beam; with JSD, recall and precision per quarter
    serval              `serval audit` without intervals (one replicate), on one core as by default
    serval_two          the same with `--direct_running_mode=multi_processing`, on two
    serval_bootstrap    `serval audit` with 1000 replicates of speakers, on one core

Serval does all that the command does: gaps with tests and verdicts, residuals, densities, speakers'
summaries, the join ledger. Each way runs in a process of its own; its time is that of the wall from
start to end, imports included, its memory the most that was resident. Needs pip install
'serval[bench]'.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from audit_data import SEGMENTS_PER_SPEAKER, Corpus, write_corpus
from machine import machine
from reporting import add_options, report

MAX_ROWS = {"rowwise_beam": 1_000_000, "tfma_like": 100_000}
"""Ways that would take an hour or more beyond this many rows."""

WAYS = ("rowwise_beam", "tfma_like", "duckdb", "serval", "serval_two", "serval_bootstrap")

TWO_PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")

SLICES = (("sex",), ("accent",), ("sex", "accent"))


def run_way(way: str, corpus: Corpus, folder: str) -> None:
    """Run one way, in this process."""
    if way == "duckdb":
        from audit_duckdb import audit_with_duckdb

        audit_with_duckdb(corpus)
    elif way in ("rowwise_beam", "tfma_like"):
        from audit_rowwise import audit_rowwise

        num_replicates = 20 if way == "tfma_like" else 0
        audit_rowwise(corpus, f"{folder}/metrics", num_replicates=num_replicates)
    else:
        from orchestration.auditing import audit_runs

        num_replicates = 1000 if way == "serval_bootstrap" else 1
        audit_runs(
            [str(corpus.predictions)],
            str(corpus.metadata),
            f"{folder}/audit",
            slices=SLICES,
            num_replicates=num_replicates,
            beam_options=TWO_PROCESSES if way == "serval_two" else (),
        )


def measure(way: str, corpus: Corpus) -> dict[str, float]:
    """Return seconds of wall and CPU, and MiB at most, of a way in a process of its own."""
    files = [str(corpus.predictions), str(corpus.metadata), str(corpus.num_rows)]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--way", way, folder, *files]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603  this script
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main() -> None:
    """Measure all ways at all sizes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--way", nargs=5, help=argparse.SUPPRESS)
    add_options(parser)
    arguments = parser.parse_args()
    if arguments.way:
        way, folder, predictions, metadata, num_rows = arguments.way
        files = {"predictions": Path(predictions), "metadata": Path(metadata)}
        _run_measured(way, Corpus(**files, num_rows=int(num_rows)), folder)
        return
    found: dict[int, dict[str, dict[str, float]]] = {}
    for num_rows in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            corpus = write_corpus(Path(folder), num_rows)
            ways = [way for way in WAYS if num_rows <= MAX_ROWS.get(way, num_rows)]
            found[num_rows] = {way: measure(way, corpus) for way in ways}
    on = machine("cpu")
    report(_table(found, on), {**on, "sizes": _sizes(found)}, arguments)


def _run_measured(way: str, corpus: Corpus, folder: str) -> None:
    before = os.times().elapsed
    run_way(way, corpus, folder)
    own = resource.getrusage(resource.RUSAGE_SELF)
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    num_others = 2 if way == "serval_two" else 0
    measured = {
        "wall_s": os.times().elapsed - before,
        "cpu_s": own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime,
        "peak_mib": (own.ru_maxrss + num_others * others.ru_maxrss) / 1024,
    }
    print(json.dumps(measured))


def _sizes(found: dict[int, dict[str, dict[str, float]]]) -> list[dict[str, object]]:
    """The keys that others rely on, and all else by way."""
    return [
        {
            "rows": num_rows,
            **{f"{way}_s": ways[way]["wall_s"] for way in WAYS if way in ways},
            "peak_mib": ways["serval_bootstrap"]["peak_mib"],
            "ways": ways,
        }
        for num_rows, ways in found.items()
    ]


def _table(found: dict[int, dict[str, dict[str, float]]], on: dict[str, object]) -> str:
    lines = [
        f"{on['date']}, {on['cpus']} x {on['cpu']}, load before {on['load_average_1min']}; "
        f"{SEGMENTS_PER_SPEAKER} segments a speaker",
        "",
        "| rows | way | wall s | CPU s | MiB | times DuckDB |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    for num_rows, ways in found.items():
        for way, measured in ways.items():
            ratio = measured["wall_s"] / ways["duckdb"]["wall_s"]
            lines.append(
                f"| {num_rows:,} | {way} | {measured['wall_s']:.1f} | {measured['cpu_s']:.1f} | "
                f"{measured['peak_mib']:.0f} | {ratio:.1f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
