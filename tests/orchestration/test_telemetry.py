"""Metrics: what a worker reports is counted once, and can be scraped where Ray serves it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest

from orchestration import telemetry
from orchestration.commits import Commit
from orchestration.shard_report import ShardReport, StageTimes
from orchestration.telemetry import Telemetry
from ser_model.batch_runner import Workload
from ser_model.manifest import write_manifest

Counts = dict[tuple[str, ...], float]


class FakeMetric:
    """A metric of Ray that can be looked into."""

    counts: ClassVar[Counts] = {}

    def __init__(self, name: str, description: str, tag_keys: tuple, boundaries: object = None):
        self.name, self.tag_keys = name, tag_keys
        self.tags: dict[str, str] = {}

    def set_default_tags(self, tags: dict[str, str]) -> None:
        self.tags = tags

    def inc(self, amount: float, tags: dict[str, str] | None = None) -> None:
        tags = {**self.tags, **(tags or {})}
        assert set(tags) == set(self.tag_keys)
        assert amount > 0
        key = (self.name, *(tags[k] for k in self.tag_keys if k not in telemetry.TAGS))
        self.counts[key] = self.counts.get(key, 0) + amount

    observe = inc


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counts]:
    FakeMetric.counts = {}
    monkeypatch.setattr(telemetry, "Counter", FakeMetric)
    monkeypatch.setattr(telemetry, "Histogram", FakeMetric)
    return FakeMetric.counts


def report(attempt: str = "a") -> ShardReport:
    return ShardReport(
        commits=(
            Commit(
                condition="clean",
                shard=3,
                attempt=attempt,
                identity_sha256="x",
                predictions_file="p",
                rejections_file="r",
                num_predictions=5,
                num_rejections=3,
                num_rejections_by_reason={"too_short": 2, "truncated": 1},
                audio_s=12.5,
                content_sha256="y",
            ),
        ),
        workload=Workload(num_samples=16_000, num_padded_samples=24_000),
        times=StageTimes(read_s=1.0, score_s=2.0, starved_s=0.5, write_s=0.0),
    )


TIMES = {
    ("serval_padding_seconds",): 0.5,
    ("serval_stage_seconds", "read"): 1.0,
    ("serval_stage_seconds", "score"): 2.0,
    ("serval_stage_seconds", "starved"): 0.5,
    ("serval_shard_seconds",): 2.5,
}


def worker_telemetry() -> Telemetry:
    return Telemetry(run="s3://key:secret@bucket/run", model_version="7", device="cpu")


def test_a_report_is_counted(counts: Counts) -> None:
    worker_telemetry().record(report(), "a")
    assert counts == {
        ("serval_segments",): 8,
        ("serval_audio_seconds",): 12.5,
        ("serval_rejections", "too_short"): 2,
        ("serval_rejections", "truncated"): 1,
        **TIMES,
    }


def test_of_an_attempt_that_came_too_late_only_its_time_counts(counts: Counts) -> None:
    worker_telemetry().record(report("faster"), "slower")
    assert counts == TIMES


def test_a_tag_holds_no_password(counts: Counts) -> None:
    assert worker_telemetry()._segments.tags["run"] == "s3://***@bucket/run"


def test_recording_without_ray_does_nothing() -> None:
    worker_telemetry().record(report(), "a")


SCRAPE = """
import socket, sys, time, urllib.request
import ray
from orchestration.cluster import start_actors
from orchestration.commits import RunIdentity
from orchestration.hardware import WorkerRange
from orchestration.model_uris import resolve_model
from orchestration.shards import plan_shards

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
ray.init(
    num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000,
    _metrics_export_port=port, _system_config={"metrics_report_interval_ms": 500},
)
plan, model = plan_shards(sys.argv[1]), resolve_model("random:demo?seed=0")
identity = RunIdentity(
    model_uri=model.uri, model_version=model.version, weights_sha256=model.weights_sha256,
    dtype="float32", embeddings=False, num_threads=1, source_sha256="s", num_segments=3,
    num_shards=1,
)
arguments = {"model": model, "run_uri": sys.argv[2], "identity": identity, "device": "cpu"}
with start_actors(arguments, WorkerRange(minimum=1, maximum=1), "cpu") as ((actor,), _):
    ray.get(actor.score_shard.remote(0, plan.shard(0), ("clean",), "attempt"))
    lines, end = [], time.monotonic() + 60
    while len(lines) < 2 and time.monotonic() < end:
        time.sleep(0.2)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
                found = page.read().decode().splitlines()
        except OSError:
            continue
        names = ("ray_serval_segments_total", "ray_serval_rejections_total")
        lines = [line for line in found if line.startswith(names)]
    print(*lines, sep="\\n")
ray.shutdown()
"""


def test_a_prometheus_finds_what_a_worker_on_ray_counts(tmp_path: Path, write_recording) -> None:
    pytest.importorskip("prometheus_client", reason="needs serval[cluster]: Ray's metrics agent")
    recordings = [{"recording": write_recording(tmp_path / f"{n}.wav", seed=n)} for n in range(2)]
    manifest = str(tmp_path / "manifest.jsonl")
    write_manifest(manifest, pa.Table.from_pylist([*recordings, {"recording": "gone.wav"}]))
    command = [sys.executable, "-c", SCRAPE, manifest, str(tmp_path / "run")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert ended.returncode == 0, ended.stderr
    rejections, segments = sorted(ended.stdout.splitlines())
    assert segments.endswith(" 3.0")
    assert rejections.endswith(" 1.0")
    assert 'reason="recording_not_found"' in rejections
    for line in (rejections, segments):
        assert f'run="{tmp_path / "run"}"' in line
        assert 'device="cpu"' in line
