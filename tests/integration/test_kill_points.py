"""SIGKILL at every step that a run takes in storage; whoever comes next ends it as if nothing was.

Here the driver and its worker are one process, with --local; the workers of Ray are killed in
test_killed_workers.py.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile as sf
from faulty import Fault, Faults
from forking import ForkServer

from orchestration import commits, rollups
from orchestration.commits import RunIdentity
from orchestration.committed import committed_files, content_hash
from orchestration.exporting import export
from orchestration.score_summary import TranscribeSummary
from orchestration.scoring import ScoreSummary, score
from orchestration.transcribing import transcribe
from ser_model import storage
from ser_model.manifest import read_manifest, write_manifest
from ser_model.schema import RunError

MODEL = "random:demo?seed=0"
NUM_RECORDINGS = 5
COMMITS_PER_ROLL_UP = 2

# What a run does, in the order in which it does it; the number says which of several is meant.
POINTS = {
    "the search for run.json": ("info", "run.json", 1),
    "the creation of run.json": ("create", "run.json", 1),
    "the listing of commits at the start": ("list", "commits/clean", 1),
    "a file of predictions": ("put", "predictions.parquet", 3),
    "a file of rejections": ("put", "rejections.parquet", 2),
    "the first commit": ("create", "commits/clean/shard-", 1),
    "a commit": ("create", "commits/clean/shard-", 3),
    "the last commit": ("create", "commits/clean/shard-", NUM_RECORDINGS),
    "a roll-up": ("put", "rollup-", 1),
    "another roll-up": ("put", "rollup-", 2),
    "the listing of commits at the end": ("list", "commits/clean", 2),
    "the table of all commits": ("put", "commits.parquet", 1),
    "the reading of run.json at the end": ("read", "run.json", 1),
    "the completion of run.json": ("put", "run.json", 1),
}

TRANSCRIBING_POINTS = {
    "a file of transcripts": ("put", "transcripts.parquet", 3),
    **{
        point: POINTS[point]
        for point in (
            "the creation of run.json",
            "a file of rejections",
            "a commit",
            "a roll-up",
            "the table of all commits",
            "the completion of run.json",
        )
    },
}
"""The machinery is the same: those where transcripts are written, and a few others."""

QUICK_POINTS = {
    ("a file of transcripts", "after"),
    ("a commit", "before"),
    ("the completion of run.json", "before"),
}
"""Those that `make test` has time for: a kill takes seconds to transcribe again."""

ERROR_POINTS = {"the reading of transcripts for their errors": ("read", "transcripts.parquet", 2)}


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    environment = Faults(tmp_path_factory.mktemp("faults"), "faulty://").environment
    with ForkServer(environment) as server:
        yield server


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Five shards of two segments and, in all but the first, a third that has no audio.

    Every other segment has a transcript.
    """
    folder = tmp_path_factory.mktemp("corpus")
    rows = []
    for number in range(NUM_RECORDINGS):
        recording = str(folder / f"{number}.wav")
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, 16_000)
        sf.write(recording, noise, 16_000)
        times = [(0.0, 0.5), (0.25, 1.0), (2.0, 3.0)][: 3 if number else 2]
        rows += [
            {
                "recording": recording,
                "start_s": start,
                "end_s": end,
                "transcript": "so it is" if index % 2 else None,
            }
            for index, (start, end) in enumerate(times)
        ]
    write_manifest(str(folder / "manifest.parquet"), pa.Table.from_pylist(rows))
    return str(folder / "manifest.parquet")


def options(manifest: str, run: str) -> dict[str, object]:
    return {
        "source_uri": manifest,
        "model_uri": MODEL,
        "output": run,
        "devices": "cpu",
        "local": True,
        "max_rejected": 1.0,
        "segments_per_shard": 2,
    }


def score_here(manifest: str, run: str, **changes: object) -> ScoreSummary:
    return score(**{**options(manifest, run), **changes})


@pytest.fixture(scope="module")
def clean(manifest: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    run = str(tmp_path_factory.mktemp("clean") / "run")
    score_here(manifest, run)
    return run


@pytest.fixture(autouse=True)
def small_roll_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "COMMITS_PER_ROLL_UP", COMMITS_PER_ROLL_UP)


def transcription(manifest: str, run: str, model: Path, *, replace: bool) -> dict[str, object]:
    return {**options(manifest, run), "model_uri": str(model), "replace": replace}


def kill(
    forks: ForkServer,
    faults: Faults,
    fault: Fault,
    job: str = "score",
    **options: object,
) -> None:
    faults.plan(fault)
    pid = forks.start(str(faults.folder), COMMITS_PER_ROLL_UP, job=job, **options)
    assert forks.wait(pid) == -signal.SIGKILL
    faults.plan()


def exports(run: str, folder: Path) -> list[bytes]:
    """Return all rows that count, as files that users get."""
    folder.mkdir(parents=True)
    for rejections in (False, True):
        export(run, str(folder / f"{rejections}.csv"), rejections=rejections)
    return [(folder / f"{rejections}.csv").read_bytes() for rejections in (False, True)]


def check_as_clean(run: str, clean: str, manifest: str, tmp_path: Path) -> None:
    """Each segment is there once, and every row is that of a run that nothing happened to."""
    committed = committed_files(run, product=None)
    ids = [
        segment_id
        for uri in (*committed.predictions, *committed.rejections)
        for segment_id in storage.read_table(uri)["segment_id"].to_pylist()
    ]
    assert sorted(ids) == sorted(read_manifest(manifest)["segment_id"].to_pylist())
    assert content_hash(run) == content_hash(clean) == committed.run["content_sha256"]
    assert committed.run["counts"] == committed_files(clean, product=None).run["counts"]
    assert exports(run, tmp_path / "ours") == exports(clean, tmp_path / "clean")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", POINTS)
def test_a_run_that_was_killed_is_ended_by_the_next(
    forks: ForkServer,
    faults: Faults,
    manifest: str,
    clean: str,
    tmp_path: Path,
    point: str,
    when: str,
) -> None:
    run = f"{faults.uri}/run"
    operation, path, number = POINTS[point]
    fault = Fault(
        effect="kill", operation=operation, path=path, when=when, first=number, last=number
    )
    kill(forks, faults, fault, **options(manifest, run))
    score_here(manifest, run)
    check_as_clean(run, clean, manifest, tmp_path)


@pytest.fixture(scope="module")
def transcribed(
    manifest: str, ctc_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[bool, tuple[str, TranscribeSummary]]:
    """Runs of transcripts that nothing happened to: of what has none, and of all segments."""
    runs = {}
    for replace in (False, True):
        run = str(tmp_path_factory.mktemp("transcribed") / "run")
        summary = transcribe(**transcription(manifest, run, ctc_folder, replace=replace))
        runs[replace] = (run, summary)
    return runs


@pytest.mark.parametrize(
    ("replace", "point", "when"),
    [
        pytest.param(
            point in ERROR_POINTS,
            point,
            when,
            marks=() if (point, when) in QUICK_POINTS else pytest.mark.slow,
        )
        for point in (*TRANSCRIBING_POINTS, *ERROR_POINTS)
        for when in ("before", "after")
    ],
)
def test_transcribing_that_was_killed_is_ended_by_the_next(
    forks: ForkServer,
    faults: Faults,
    manifest: str,
    ctc_folder: Path,
    transcribed: dict[bool, tuple[str, TranscribeSummary]],
    tmp_path: Path,
    replace: bool,
    point: str,
    when: str,
) -> None:
    clean, summary = transcribed[replace]
    operation, path, number = (TRANSCRIBING_POINTS | ERROR_POINTS)[point]
    fault = Fault(
        effect="kill", operation=operation, path=path, when=when, first=number, last=number
    )
    wanted = transcription(manifest, f"{faults.uri}/run", ctc_folder, replace=replace)
    kill(forks, faults, fault, "transcribe", **wanted)
    ended = transcribe(**wanted)
    assert ended.num_by_transcriber == summary.num_by_transcriber
    assert ended.word_errors == summary.word_errors
    assert (ended.word_errors is not None) == replace
    check_as_clean(f"{faults.uri}/run", clean, manifest, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_may_be_killed_at_any_operation_at_all(
    forks: ForkServer, faults: Faults, manifest: str, clean: str, tmp_path: Path, when: str
) -> None:
    score_here(manifest, f"{faults.uri}/whole")
    num_operations = len(faults.operations())
    assert num_operations > 20
    for number in range(1, num_operations + 1):
        run = f"{faults.uri}/run{number}"
        fault = Fault(effect="kill", when=when, first=number, last=number)
        kill(forks, faults, fault, **options(manifest, run))
        score_here(manifest, run)
        check_as_clean(run, clean, manifest, tmp_path / str(number))


def test_a_run_that_is_killed_again_and_again_gets_on(
    forks: ForkServer, faults: Faults, manifest: str, clean: str, tmp_path: Path
) -> None:
    run = f"{faults.uri}/run"
    one_commit = Fault(
        effect="kill", operation="create", path="shard-", when="after", first=1, last=1
    )
    for _ in range(NUM_RECORDINGS):
        kill(forks, faults, one_commit, **options(manifest, run))
    assert score_here(manifest, run).num_scored_now == 0
    check_as_clean(run, clean, manifest, tmp_path)


def test_a_driver_that_wakes_up_late_changes_nothing(
    forks: ForkServer, faults: Faults, manifest: str, clean: str, tmp_path: Path
) -> None:
    """It is stopped with a shard in hand; another one ends the run; then it goes on."""
    run = f"{faults.uri}/run"
    faults.plan(Fault(effect="stop", operation="put", path="predictions.parquet", first=2, last=2))
    zombie = forks.start(str(faults.folder), COMMITS_PER_ROLL_UP, **options(manifest, run))
    assert forks.wait(zombie) == -signal.SIGSTOP
    score_here(manifest, run)
    before = set(Path(run.removeprefix("faulty://")).rglob("*.parquet"))
    os.kill(zombie, signal.SIGCONT)
    assert forks.wait(zombie) == 0
    late = set(Path(run.removeprefix("faulty://")).rglob("*.predictions.parquet")) - before
    assert late, "the zombie did write"
    counted = {uri.rpartition("/")[2] for uri in committed_files(run).predictions}
    assert not counted & {path.name for path in late}
    check_as_clean(run, clean, manifest, tmp_path)


def other_manifest(manifest: str) -> str:
    table = read_manifest(manifest)
    uri = manifest.replace("manifest.parquet", "other.parquet")
    ends = [end - 0.1 for end in table["end_s"].to_pylist()]
    write_manifest(uri, table.set_column(3, "end_s", pa.array(ends)))
    return uri


@pytest.mark.parametrize(
    "other",
    [
        "weights_sha256",
        "dtype",
        "embeddings",
        "source_sha256",
        "num_shards",
        "code_version",
        "schema_version",
    ],
)
def test_what_was_killed_is_not_ended_as_something_else(
    forks: ForkServer,
    faults: Faults,
    manifest: str,
    clean: str,
    other: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = f"{faults.uri}/run"
    fault = Fault(effect="kill", operation="create", path="shard-", first=2, last=2)
    kill(forks, faults, fault, **options(manifest, run))
    changes: dict[str, object] = {
        "weights_sha256": {"model_uri": "random:demo?seed=1"},
        "dtype": {"dtype": "bfloat16"},
        "embeddings": {"embeddings": True},
        "source_sha256": {"source_uri": other_manifest(manifest)},
        "num_shards": {"segments_per_shard": 100},
    }.get(other, {})
    with monkeypatch.context() as patch:
        if other == "code_version":
            patch.setattr(commits, "version", lambda name: "99.0.0")
        if other == "schema_version":
            patch.setitem(RunIdentity.__init__.__kwdefaults__, "schema_version", 99)
        with pytest.raises(RunError, match=rf"{other} \(there .*, now .*\).*another --output"):
            score_here(manifest, run, **changes)
    operations = faults.operations()
    assert [o.path.rpartition("/")[2] for o in operations if o.kind == "create"] == ["run.json"]
    assert not [o for o in operations if o.kind == "put"], "nothing was written"
    score_here(manifest, run)
    assert content_hash(run) == content_hash(clean)
