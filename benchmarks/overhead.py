"""What scoring costs beside the model: per segment, as a run grows, and when a run is resumed.

    python benchmarks/overhead.py [--segments 1000,10000,100000] [--shards 100000] [--json]

The model does nothing, and a segment is 30 ms of noise in FLAC, so that everything but the model is
measured: planning, reading, decoding, batching, writing, committing, handing out.

    growth     `serval score` of more and more segments: microseconds of wall time per segment while
               the workers were at work, and what planning and starting Ray took beside it
    resume     requests to the folder of a run of so many shards, of which 99 % are committed, and
               bytes read from it: to find what is done, to score the rest and complete the run, and
               to find its files afterwards, as `serval audit` and `serval export` do. Committed
               shards are synthetic: their records and roll-ups are there, as a run leaves them that
               dies between two roll-ups; their data files, which a resume never reads, are not.

The folder of the resumed run is a local one that is read through a filesystem that counts; on S3 a
listing is a request for each thousand names.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from counting import NAMES_PER_PAGE, counted
from machine import machine
from reporting import add_options, report

from orchestration import scoring
from orchestration.commits import Commit, commit_uri, commits_folder, shard_name
from orchestration.committed import committed_files
from orchestration.hardware import Hardware
from orchestration.ledger import Ledger
from orchestration.rollups import COMMITS_PER_ROLL_UP, RollUps
from orchestration.score_summary import ScoreSummary
from orchestration.scoring_workers import identify
from orchestration.shard_plan import ShardPlan
from orchestration.shards import plan_shards
from ser_model import storage
from ser_model.audio import encode_flac
from ser_model.models.base import ModelOutput
from ser_model.schema import CLEAN, DIMENSIONS, SHARD

SEGMENTS_PER_RECORDING = 16
SEGMENTS_PER_SHARD = 256
NUM_SAMPLES = 480
PART_DONE = 0.99
HARDWARE = Hardware(device="cpu", dtype="float32", workers=None)


class NullModel(torch.nn.Module):
    """Says one half of everything."""

    task, targets, min_samples, padding_free = "dimensions", DIMENSIONS, 400, True

    def forward(self, waveform_BN: torch.Tensor, _: torch.Tensor) -> ModelOutput:
        """Return the same for each row."""
        half_B3 = torch.full((len(waveform_BN), 3), 0.5)
        return ModelOutput(scores=half_B3, embedding=half_B3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NullModelSource:
    """Where workers load it from."""

    uri: str = "null"
    version: str = "null"
    weights_sha256: str = "0" * 64

    def load(self) -> NullModel:
        """Make it."""
        return NullModel()


def write_packed(folder: Path, num_segments: int, per_shard: int, written: range) -> str:
    """Write a folder as `serval pack` does; of its shards only the files of `written`."""
    per_recording = min(SEGMENTS_PER_RECORDING, per_shard)
    ids = [
        f"recording-{n // per_recording:07d}.flac#t={n % per_recording}"
        for n in range(num_segments)
    ]
    recordings = [segment_id.partition("#")[0] for segment_id in ids]
    folder.mkdir()
    storage.write_table(
        str(folder / "manifest.parquet"), pa.table({"segment_id": ids, "recording": recordings})
    )
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, NUM_SAMPLES).astype(np.float32)
    audio = {"bytes": encode_flac(noise), "path": None}
    for shard in written:
        inside = ids[shard * per_shard : (shard + 1) * per_shard]
        rows = [
            {
                "segment_id": i,
                "audio": audio,
                "sampling_rate_hz": 16_000,
                "num_samples": NUM_SAMPLES,
            }
            for i in inside
        ]
        storage.write_table(
            str(folder / f"shard-{shard:05d}.parquet"), pa.Table.from_pylist(rows, schema=SHARD)
        )
    num_shards = -(-num_segments // per_shard)
    for name in ("pack-plan.json", "pack.json"):
        content = {"segments_per_shard": per_shard, "num_shards": num_shards}
        storage.write_json(str(folder / name), content)
    return str(folder)


def score(source: str, run: str, num_workers: int) -> ScoreSummary:
    """Score with the null model; 0 workers is --local."""
    return scoring.score(
        source,
        model_uri="null",
        output=run,
        devices="cpu",
        local=num_workers == 0,
        num_workers=num_workers or None,
    )


def measure_growth(folder: Path, num_segments: int, num_workers: int) -> dict[str, float | int]:
    """Score so many segments."""
    num_shards = -(-num_segments // SEGMENTS_PER_SHARD)
    source = write_packed(folder / "packed", num_segments, SEGMENTS_PER_SHARD, range(num_shards))
    summary = score(source, str(folder / "run"), num_workers)
    assert summary.num_predictions == num_segments
    times = {
        f"{stage}_us": round(1e6 * seconds / num_segments, 1)
        for stage, seconds in dataclasses.asdict(summary.times).items()
        for stage in [stage.removesuffix("_s")]
    }
    return {
        "num_segments": num_segments,
        "num_workers": num_workers,
        "overhead_us": round(1e6 * summary.scoring_s / num_segments, 1),
        **times,
        "beside_s": round(summary.wall_s - summary.scoring_s, 2),
        "wall_s": round(summary.wall_s, 2),
    }


def write_commits(ledger: Ledger, plan: ShardPlan, done: range, *, roll_up: bool) -> None:
    """Leave what a run leaves that died when so many shards were committed."""
    Path(commits_folder(ledger.run_uri, CLEAN)).mkdir(parents=True, exist_ok=True)
    roll_ups = RollUps(ledger.run_uri, ledger.identity.sha256())
    for shard in done:
        sha256 = hashlib.sha256(str(shard).encode()).hexdigest()
        attempt = sha256[:16]
        commit = Commit(
            condition=CLEAN,
            shard=shard,
            attempt=attempt,
            identity_sha256=ledger.identity.sha256(),
            predictions_file=f"data/{CLEAN}/{shard_name(shard)}.{attempt}.predictions.parquet",
            rejections_file=None,
            num_predictions=plan.num_segments_of(shard),
            num_rejections=0,
            num_rejections_by_reason={},
            audio_s=0.03 * plan.num_segments_of(shard),
            content_sha256=sha256,
        )
        record = storage.to_json_bytes(dataclasses.asdict(commit))
        Path(commit_uri(ledger.run_uri, CLEAN, shard)).write_bytes(record)
        if roll_up:
            roll_ups.note(commit)


def measure_resume(folder: Path, num_shards: int) -> dict[str, Counter[str]]:
    """Resume a run of shards of one segment, and read it when it is complete."""
    num_done = int(num_shards * PART_DONE) - COMMITS_PER_ROLL_UP // 2
    source = write_packed(folder / "packed", num_shards, 1, range(num_done, num_shards))
    plan = plan_shards(source)
    identity = identify(NullModelSource(), plan, HARDWARE, embeddings=False)
    steps: dict[str, Counter[str]] = {}
    for name, roll_up in (("without", False), ("with", True)):
        ledger = Ledger(f"{folder}/{name}", identity)
        ledger.start({})
        write_commits(ledger, plan, range(num_done), roll_up=roll_up)
        with counted() as steps[f"find what is done, {name} roll-ups"]:
            done = Ledger(f"counted://{ledger.run_uri}", identity).committed(CLEAN)
        assert len(done) == num_done
    with counted() as steps["plan, find, score the rest, complete"]:
        summary = score(source, f"counted://{folder}/with", 0)
    assert summary.num_segments == num_shards
    assert summary.num_scored_now == num_shards - num_done
    with counted() as steps["find the files of the complete run"]:
        committed = committed_files(f"counted://{folder}/with")
    assert len(committed.predictions) == num_shards
    return steps


def in_new_folder(measure: Callable[[Path], Any], parent: str | None) -> Any:  # noqa: ANN401
    """Measure in a folder that is deleted afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="serval-overhead-", dir=parent))
    try:
        return measure(folder)
    finally:
        shutil.rmtree(folder)


GROWTH = (
    "num_segments",
    "num_workers",
    "overhead_us",
    "read_us",
    "score_us",
    "starved_us",
    "write_us",
    "beside_s",
    "wall_s",
)
RESUME = ("wall_ms", "listings", "pages", "heads", "gets", "bytes_read", "puts")


def table(record: dict[str, Any]) -> str:
    """Return the tables for people."""
    where = record["machine"]
    lines = [
        f"Null model, 30 ms segments, {SEGMENTS_PER_SHARD} to a shard; {where['cpu']}, "
        f"{where['cpus']} cores, load {where['load_average_1min']}, {where['date']}",
        "",
        f"| {' | '.join(GROWTH)} |",
        f"|{' ---: |' * len(GROWTH)}",
        *(f"| {' | '.join(f'{row[name]:,}' for name in GROWTH)} |" for row in record["growth"]),
    ]
    if record["resume"]:
        lines += [
            "",
            f"{record['num_shards']:,} shards, {PART_DONE:.0%} committed; a roll-up holds "
            f"{COMMITS_PER_ROLL_UP} records; a page of a listing {NAMES_PER_PAGE} names",
            "",
            f"| step | {' | '.join(RESUME)} |",
            f"| --- |{' ---: |' * len(RESUME)}",
        ]
        for step, counts in record["resume"].items():
            lines.append(f"| {step} | {' | '.join(f'{counts.get(n, 0):,}' for n in RESUME)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the result beside this script where that was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--segments", default="1000,10000,100000", help="sizes of the runs")
    parser.add_argument("--workers", type=int, default=2, help="on Ray; 0: only in one process")
    parser.add_argument("--shards", type=int, default=100_000, help="of the resumed run; 0: none")
    parser.add_argument("--folder", help="where to write; default: the system's temporary files")
    add_options(parser)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    scoring.resolve_model = lambda _: NullModelSource()
    record: dict[str, Any] = {"machine": machine("cpu"), "growth": [], "resume": {}}
    for num_workers in sorted({0, arguments.workers}):
        for size in map(int, arguments.segments.split(",")):
            record["growth"].append(
                in_new_folder(
                    lambda f, n=size, w=num_workers: measure_growth(f, n, w), arguments.folder
                )
            )
    if arguments.shards:
        record["num_shards"] = arguments.shards
        record["resume"] = in_new_folder(
            lambda f: measure_resume(f, arguments.shards), arguments.folder
        )
    text = table(record)
    report(text, record, arguments)


if __name__ == "__main__":
    main()
