"""Ray workers that are killed at each step of theirs, and any number of them: the same rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile as sf
from faulty import Fault, Faults

from orchestration.committed import committed_files, content_hash
from orchestration.scoring import score
from ser_model.manifest import write_manifest

MODEL = "random:demo?seed=0"
NUM_SHARDS = 24
SCORE = """
import sys
from orchestration.scoring import score

source, model_uri, output, num_workers = sys.argv[1:]
score(
    source, model_uri=model_uri, output=output, devices="cpu", num_workers=int(num_workers),
    max_rejected=1.0, segments_per_shard=2,
)
"""
STEPS = (("put", "predictions.parquet"), ("put", "rejections.parquet"), ("create", "clean/shard-"))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A shard for each recording: two segments, and a third that has no audio."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = []
    for number in range(NUM_SHARDS):
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 16_000)
        sf.write(folder / f"{number}.wav", noise, 16_000)
        rows += [
            {"recording": f"{number}.wav", "start_s": start, "end_s": end}
            for start, end in [(0.0, 0.5), (0.25, 1.0), (2.0, 3.0)]
        ]
    write_manifest(str(folder / "manifest.parquet"), pa.Table.from_pylist(rows))
    return str(folder / "manifest.parquet")


@pytest.fixture(scope="module")
def clean_hash(manifest: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of a run of one worker that nothing happened to."""
    run = str(tmp_path_factory.mktemp("clean") / "run")
    score(
        manifest,
        model_uri=MODEL,
        output=run,
        devices="cpu",
        local=True,
        max_rejected=1.0,
        segments_per_shard=2,
    )
    return content_hash(run)


def score_on_ray(manifest: str, run: str, num_workers: int, faults: Faults) -> None:
    words = [sys.executable, "-c", SCORE, manifest, MODEL, run, str(num_workers)]
    subprocess.run(words, env=faults.environment, check=True, timeout=280)


@pytest.mark.parametrize(
    "num_workers",  # one and two are in test_kill_and_resume.py and in test_scoring.py too
    [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow), 4],
)
def test_the_number_of_workers_changes_nothing(
    manifest: str, clean_hash: str, faults: Faults, num_workers: int
) -> None:
    run = f"{faults.uri}/run"
    score_on_ray(manifest, run, num_workers, faults)
    workers = {o.pid for o in faults.operations() if o.role == "worker" and o.kind == "create"}
    assert len(workers) == num_workers
    assert content_hash(run) == clean_hash


@pytest.mark.parametrize("when", ["before", pytest.param("after", marks=pytest.mark.slow)])
def test_workers_may_be_killed_at_every_step(
    manifest: str, clean_hash: str, faults: Faults, when: str
) -> None:
    run = f"{faults.uri}/run"
    faults.plan(
        *(
            Fault(
                effect="kill",
                operation=operation,
                path=path,
                when=when,
                role="worker",
                first=number,
                last=number,
            )
            for number, (operation, path) in enumerate(STEPS, start=3)
        )
    )
    score_on_ray(manifest, run, 2, faults)
    workers = {operation.pid for operation in faults.operations() if operation.role == "worker"}
    assert len(workers) > 2, "new ones came"
    for number, (operation, path) in enumerate(STEPS, start=3):
        num_done = sum(o.kind == operation and path in o.path for o in faults.operations())
        assert num_done >= number, "it struck"
    files = list(Path(run.removeprefix("faulty://"), "data/clean").glob("*.predictions.parquet"))
    committed = committed_files(run)
    assert len(committed.predictions) == NUM_SHARDS < len(files)
    assert committed.run["counts"]["num_rejections_by_reason"] == {"beyond_end": NUM_SHARDS}
    assert content_hash(run) == clean_hash
