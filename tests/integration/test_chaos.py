"""`serval score` on a store that makes trouble ends as on a quiet one, or says so and resumes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from chaos_proxy import Chaos

from orchestration.commits import committed_shards
from pipelines.pack import pack
from ser_model.manifest import read_manifest, write_manifest
from ser_model.schema import CLEAN

NUM_RECORDINGS = 20
SEGMENTS_PER_RECORDING = 10
TROUBLE = Chaos(
    slow_down=0.04, too_many=0.02, internal=0.02, close=0.03, lose=0.03, truncate=0.05, stall=0.005
)
SERVAL = "import sys; from orchestration.cli import main; sys.exit(main())"
HASTY_SERVAL = f"from ser_model import storage; storage.set_deadline(2.0); {SERVAL}"


@pytest.fixture
def shards(chaotic_s3: Any, write_recording: Any) -> str:
    corpus = f"{chaotic_s3.uri}/corpus 100%"
    rows = []
    for number in range(NUM_RECORDINGS):
        name = f"aufnahme {number} ü.wav"
        write_recording(f"{corpus}/{name}", duration_s=SEGMENTS_PER_RECORDING / 2, seed=number)
        rows += [
            {"recording": name, "start_s": place / 2, "end_s": place / 2 + 0.5}
            for place in range(SEGMENTS_PER_RECORDING)
        ]
    write_manifest(f"{corpus}/manifest.parquet", pa.Table.from_pylist(rows))
    manifest = read_manifest(f"{corpus}/manifest.parquet")
    pack(manifest, f"{chaotic_s3.uri}/shards", segments_per_shard=SEGMENTS_PER_RECORDING)
    return f"{chaotic_s3.uri}/shards"


def words(shards: str, run: str, *options: str, program: str = SERVAL) -> list[str]:
    scoring = ["score", shards, "--model", "random:demo?seed=0", "--output", run, "--json"]
    return [sys.executable, "-c", program, *scoring, "--devices", "cpu", *options]


def serval(shards: str, run: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = words(shards, run, "--local", **options)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def content_hash(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["num_predictions"] == NUM_RECORDINGS * SEGMENTS_PER_RECORDING
    assert summary["num_rejections"] == 0
    return summary["content_sha256"]


def test_chaos_changes_nothing_and_an_outage_is_resumed(chaotic_s3: Any, shards: str) -> None:
    proxy, run = chaotic_s3.proxy, f"{chaotic_s3.uri}/run"
    proxy.calm()
    clean_sha256 = content_hash(serval(shards, f"{run}-clean"))
    num_requests = proxy.num_requests

    proxy.chaos = TROUBLE
    assert content_hash(serval(shards, f"{run}-chaos")) == clean_sha256
    assert proxy.struck.total() >= 5

    proxy.calm()
    proxy.down_after = num_requests // 2
    failed = serval(shards, f"{run}-outage", program=HASTY_SERVAL)
    assert failed.returncode == 4
    (error,) = [line for line in failed.stderr.splitlines() if "serval: error:" in line]
    assert "could not" in error
    assert "tries (last OSError: [Errno 16]" in error  # s3fs's number for 503
    assert "run the same command again" in error
    assert "Traceback" not in failed.stderr
    proxy.calm()
    assert 0 < len(committed_shards(f"{run}-outage", CLEAN)) < NUM_RECORDINGS
    assert content_hash(serval(shards, f"{run}-outage")) == clean_sha256


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_chaos_and_three_kills_change_nothing(chaotic_s3: Any, shards: str, tmp_path: Path) -> None:
    proxy, run = chaotic_s3.proxy, f"{chaotic_s3.uri}/run"
    proxy.calm()
    clean_sha256 = content_hash(serval(shards, f"{run}-clean"))

    seeded = random.Random(0)
    num_commits_at_kill = sorted(seeded.sample(range(1, NUM_RECORDINGS - 6), 3))
    victims = ["driver", "worker", seeded.choice(["driver", "worker"])]
    proxy.chaos = TROUBLE
    mark = f"SERVAL_TEST_MARK={uuid.uuid4().hex}"
    driver = start(shards, run, mark, tmp_path)
    try:
        for num_commits, victim in zip(num_commits_at_kill, victims, strict=True):
            wait_for_commits(driver, run, num_commits)
            if victim == "driver":
                driver.kill()
                driver.wait()
                kill_marked(mark)
                driver = start(shards, run, mark, tmp_path)
            else:
                kill_marked(mark, "ray::RayScoringActor")
        assert driver.wait(timeout=300) == 0, (tmp_path / "stderr").read_text()
    finally:
        driver.kill()
        driver.wait()
        kill_marked(mark)
    done = subprocess.CompletedProcess((), 0, (tmp_path / "stdout").read_text(), "")
    assert content_hash(done) == clean_sha256


def start(shards: str, run: str, mark: str, folder: Path) -> subprocess.Popen[bytes]:
    variable, _, value = mark.partition("=")
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        return subprocess.Popen(
            words(shards, run, "--workers", "2"),
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, variable: value},
            start_new_session=True,
        )


def wait_for_commits(driver: subprocess.Popen[bytes], run: str, num_commits: int) -> None:
    deadline = time.monotonic() + 300
    while len(committed_shards(run, CLEAN)) < num_commits and time.monotonic() < deadline:
        assert driver.poll() is None, "ended before it could be killed"
        time.sleep(0.02)


def kill_marked(mark: str, name: str = "") -> None:
    """Kill those processes of the run whose command line begins with `name`."""
    for process in Path("/proc").iterdir():
        try:
            is_ours = mark.encode() in (process / "environ").read_bytes().split(b"\0")
            if is_ours and (process / "cmdline").read_bytes().startswith(name.encode()):
                os.kill(int(process.name), signal.SIGKILL)
        except (OSError, ValueError):  # no process, not ours to look at, or gone meanwhile
            continue
