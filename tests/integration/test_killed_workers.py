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
from orchestration.transcribing import transcribe
from ser_model.manifest import write_manifest

NUM_SHARDS = 24
RUN = """
import sys
from orchestration.scoring import score
from orchestration.transcribing import transcribe

job, source, model_uri, output, num_workers = sys.argv[1:]
{"score": score, "transcribe": transcribe}[job](
    source, model_uri=model_uri, output=output, devices="cpu", num_workers=int(num_workers),
    max_rejected=1.0, segments_per_shard=2,
)
"""
JOBS = {"score": "predictions", "transcribe": "transcripts"}
"""What is done, and what is made of a segment by it."""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A shard for each recording: a segment, one that has a transcript, and one without audio."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = []
    for number in range(NUM_SHARDS):
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 16_000)
        sf.write(folder / f"{number}.wav", noise, 16_000)
        rows += [
            {"recording": f"{number}.wav", "start_s": start, "end_s": end, "transcript": text}
            for start, end, text in [(0.0, 0.5, None), (0.25, 1.0, "so"), (2.0, 3.0, None)]
        ]
    write_manifest(str(folder / "manifest.parquet"), pa.Table.from_pylist(rows))
    return str(folder / "manifest.parquet")


@pytest.fixture(scope="module")
def models(ctc_folder: Path) -> dict[str, str]:
    return {"score": "random:demo?seed=0", "transcribe": str(ctc_folder)}


@pytest.fixture(scope="module")
def clean_hashes(
    manifest: str, models: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The hashes of runs of one worker that nothing happened to."""
    hashes = {}
    for job, run_job in (("score", score), ("transcribe", transcribe)):
        run = str(tmp_path_factory.mktemp("clean") / job)
        run_job(
            manifest,
            model_uri=models[job],
            output=run,
            devices="cpu",
            local=True,
            max_rejected=1.0,
            segments_per_shard=2,
        )
        hashes[job] = content_hash(run)
    return hashes


def run_on_ray(
    job: str, manifest: str, model_uri: str, run: str, num_workers: int, faults: Faults
) -> None:
    words = [sys.executable, "-c", RUN, job, manifest, model_uri, run, str(num_workers)]
    subprocess.run(words, env=faults.environment, check=True, timeout=280)


@pytest.mark.parametrize(
    "num_workers",  # one and two are in test_kill_and_resume.py and in test_scoring.py too
    [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow), 4],
)
def test_the_number_of_workers_changes_nothing(
    manifest: str,
    models: dict[str, str],
    clean_hashes: dict[str, str],
    faults: Faults,
    num_workers: int,
) -> None:
    run = f"{faults.uri}/run"
    run_on_ray("score", manifest, models["score"], run, num_workers, faults)
    workers = {o.pid for o in faults.operations() if o.role == "worker" and o.kind == "create"}
    assert len(workers) == num_workers
    assert content_hash(run) == clean_hashes["score"]


@pytest.mark.parametrize(
    ("job", "when"),
    [
        ("score", "before"),
        pytest.param("score", "after", marks=pytest.mark.slow),
        # The local twin is in test_kill_points.py.
        pytest.param("transcribe", "before", marks=pytest.mark.slow),
    ],
)
def test_workers_may_be_killed_at_every_step(
    manifest: str,
    models: dict[str, str],
    clean_hashes: dict[str, str],
    faults: Faults,
    job: str,
    when: str,
) -> None:
    run, made = f"{faults.uri}/run", f"{JOBS[job]}.parquet"
    steps = (("put", made), ("put", "rejections.parquet"), ("create", "clean/shard-"))
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
            for number, (operation, path) in enumerate(steps, start=3)
        )
    )
    run_on_ray(job, manifest, models[job], run, 2, faults)
    workers = {operation.pid for operation in faults.operations() if operation.role == "worker"}
    assert len(workers) > 2, "new ones came"
    for number, (operation, path) in enumerate(steps, start=3):
        num_done = sum(o.kind == operation and path in o.path for o in faults.operations())
        assert num_done >= number, "it struck"
    files = list(Path(run.removeprefix("faulty://"), "data/clean").glob(f"*.{made}"))
    committed = committed_files(run, product=None)
    assert len(committed.predictions) == NUM_SHARDS < len(files)
    assert committed.run["counts"]["num_rejections_by_reason"] == {"beyond_end": NUM_SHARDS}
    assert content_hash(run) == clean_hashes[job]
