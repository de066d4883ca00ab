"""A run that is given further conditions and killed: whole as before, and ended by the next."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile as sf
from faulty import Fault, Faults
from forking import ForkServer

from orchestration.commits import read_run
from orchestration.committed import content_hash
from orchestration.exporting import export
from orchestration.scoring import score
from ser_model.manifest import write_manifest

NUM_SHARDS = 5
COMMITS_PER_ROLL_UP = 2
CONDITIONS = ["fade", "music-20db", "small-append-zeros"]

# What an extension does, in the order in which it does it; the number says which of several.
POINTS = {
    "the record of the seed": ("create", "conditions/seed.json", 1),
    "the record of the noise folder": ("create", "conditions/noise.json", 1),
    "a file of predictions": ("put", "predictions.parquet", 4),
    "a commit": ("create", "commits/music-20db/shard-", 2),
    "the last commit": ("create", "commits/small-append-zeros/shard-", NUM_SHARDS),
    "a roll-up": ("put", "commits/fade/rollup-", 2),
    "the new table of commits": ("put", "run/commits-", 1),
    "the completion of run.json": ("put", "run.json", 1),
}

ON_RAY = """
import sys
from orchestration.scoring import score

source, output, noise, *conditions = sys.argv[1:]
score(
    source, model_uri="random:demo?seed=0", output=output, devices="cpu", num_workers=2,
    segments_per_shard=2, conditions=conditions, noise_uri=noise,
)
"""


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    environment = Faults(tmp_path_factory.mktemp("faults"), "faulty://").environment
    with ForkServer(environment) as server:
        yield server


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of five recordings of two segments, and a noise folder."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = []
    for number in range(NUM_SHARDS):
        samples = np.random.default_rng(number).uniform(-0.5, 0.5, 16_000)
        sf.write(folder / f"{number}.wav", samples, 16_000)
        rows += [
            {"recording": f"{number}.wav", "start_s": start, "end_s": start + 0.5}
            for start in (0.0, 0.25)
        ]
    write_manifest(str(folder / "manifest.parquet"), pa.Table.from_pylist(rows))
    (folder / "noise" / "music").mkdir(parents=True)
    for number in range(3):
        samples = 0.1 * np.random.default_rng(100 + number).standard_normal(20_000)
        sf.write(folder / "noise" / "music" / f"{number}.wav", samples, 16_000)
    return folder


def options(corpus: Path, run: str, conditions: list[str]) -> dict[str, object]:
    return {
        "source_uri": str(corpus / "manifest.parquet"),
        "model_uri": "random:demo?seed=0",
        "output": run,
        "devices": "cpu",
        "local": True,
        "segments_per_shard": 2,
        "conditions": conditions,
        "noise_uri": str(corpus / "noise"),
    }


@pytest.fixture(scope="module")
def at_once(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of a run that had all conditions from the beginning."""
    run = str(tmp_path_factory.mktemp("at-once") / "run")
    score(**options(corpus, run, CONDITIONS))
    return content_hash(run)


def exported(run: str, file: Path) -> bytes:
    export(run, str(file))
    return file.read_bytes()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", POINTS)
def test_an_extension_that_was_killed_is_ended_by_the_next(
    forks: ForkServer,
    faults: Faults,
    corpus: Path,
    at_once: str,
    tmp_path: Path,
    point: str,
    when: str,
) -> None:
    run = f"{faults.uri}/run"
    score(**options(corpus, run, []))
    before = (read_run(run), exported(run, tmp_path / "before.csv"))
    operation, path, number = POINTS[point]
    faults.plan(
        Fault(effect="kill", operation=operation, path=path, when=when, first=number, last=number)
    )
    pid = forks.start(str(faults.folder), COMMITS_PER_ROLL_UP, **options(corpus, run, CONDITIONS))
    assert forks.wait(pid) == -signal.SIGKILL
    faults.plan()
    if (point, when) != ("the completion of run.json", "after"):
        assert (read_run(run), exported(run, tmp_path / "after.csv")) == before
    summary = score(**options(corpus, run, CONDITIONS))
    assert summary.num_segments == 4 * 2 * NUM_SHARDS
    assert summary.num_scored_now <= 3 * 2 * NUM_SHARDS
    assert content_hash(run) == at_once == summary.content_sha256


@pytest.mark.slow
def test_workers_on_ray_may_be_killed_under_conditions(
    corpus: Path, at_once: str, faults: Faults
) -> None:
    run = f"{faults.uri}/run"
    score(**options(corpus, run, []))
    steps = (("put", "data/fade"), ("create", "commits/music-20db/shard-"))
    faults.plan(
        *(
            Fault(effect="kill", operation=operation, path=path, role="worker", first=nth, last=nth)
            for nth, (operation, path) in enumerate(steps, start=2)
        )
    )
    words = [str(corpus / "manifest.parquet"), run, str(corpus / "noise"), *CONDITIONS]
    subprocess.run(
        [sys.executable, "-c", ON_RAY, *words], env=faults.environment, check=True, timeout=280
    )
    workers = {operation.pid for operation in faults.operations() if operation.role == "worker"}
    assert len(workers) > 2, "new ones came"
    assert content_hash(run) == at_once
