"""Planning: what it says is what a run does, and it leaves nothing behind."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration import planning
from orchestration.cli import main
from orchestration.commits import Commit
from orchestration.durations import measure_durations
from orchestration.planning import RunPlan, makespan_s, plan_run
from orchestration.scoring import score
from orchestration.shard_report import ShardReport, StageTimes
from orchestration.shards import plan_shards
from orchestration.speed import _measure, _Pieces
from ser_model.batch_runner import Workload
from ser_model.manifest import write_manifest
from ser_model.schema import CLEAN, ConfigError, ManifestError, ModelError

MODEL = "random:demo?seed=0"


@pytest.fixture
def manifest(tmp_path: Path, write_recording) -> str:
    """Twelve segments of one second, of which one is not there."""
    recordings = [write_recording(tmp_path / f"{n}.flac", seed=n) for n in range(11)]
    path = str(tmp_path / "manifest.jsonl")
    rows = [{"recording": recording} for recording in [*recordings, "gone.flac"]]
    write_manifest(path, pa.Table.from_pylist(rows))
    return path


def plan_manifest(manifest: str, **options: object) -> RunPlan:
    defaults = {
        "model_uri": MODEL,
        "devices": "cpu",
        "local": True,
        "sample_s": 0.2,
        "segments_per_shard": 5,
    }
    return plan_run(manifest, **{**defaults, **options})


def test_a_plan_counts_what_a_run_counts_and_leaves_nothing(manifest: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    plan = plan_manifest(manifest, price_per_hour=3.0)
    assert sorted(tmp_path.rglob("*")) == before
    run = score(
        manifest,
        model_uri=MODEL,
        output=str(tmp_path / "run"),
        devices="cpu",
        local=True,
        max_rejected=1.0,
        segments_per_shard=5,
    )
    assert (plan.num_segments, plan.num_unreadable) == (run.num_segments, run.num_rejections)
    assert plan.audio_h * 3600 == pytest.approx(run.audio_s)
    assert plan.model_uri == run.model_uri
    assert (plan.num_shards, plan.segments_per_shard) == (3, (2, 5.0, 5))
    assert (plan.num_workers, plan.num_workers_measured) == (1, 1)
    assert set(plan.num_rejections_by_reason) <= {"recording_not_found"}
    # One worker: what is left of the time behind the start is the audio at the speed.
    scoring_s = plan.wall_h * 3600 - plan.startup_s
    assert scoring_s == pytest.approx(11 / plan.times_real_time)
    assert plan.device_h == plan.wall_h
    assert plan.cost == pytest.approx(3 * plan.device_h)


def test_every_condition_counts(manifest: str) -> None:
    plan = plan_manifest(manifest, conditions=["fade", "playback-1.25x"])
    assert plan.conditions == (CLEAN, "fade", "playback-1.25x")
    assert plan.audio_h * 3600 == pytest.approx(11)
    scoring_s = plan.wall_h * 3600 - plan.startup_s
    assert scoring_s == pytest.approx(3 * 11 / plan.times_real_time)
    with pytest.raises(ConfigError, match="no noise folder"):
        plan_manifest(manifest, conditions=["wagner"])


def test_workers_on_ray_are_measured_together(manifest: str, ray_cluster: None) -> None:
    plan = plan_manifest(manifest, local=False, num_workers=2)
    assert (plan.num_workers, plan.num_workers_measured) == (2, 2)
    assert plan.device_h == pytest.approx(2 * plan.wall_h)
    assert plan.times_real_time > 0


def test_no_more_workers_are_planned_than_there_are_shards(
    manifest: str, ray_cluster: None
) -> None:
    plan = plan_manifest(manifest, local=False, num_workers=2, segments_per_shard=100)
    assert (plan.num_shards, plan.num_workers) == (1, 1)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"sample_s": 0.0}, ConfigError, "--sample-s"),
        ({"price_per_hour": -1.0}, ConfigError, "--price-per-hour"),
        ({"model_uri": "random:nothing"}, ModelError, "nothing"),
        ({"max_segment_s": 0.5}, ManifestError, "no segment"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    manifest: str, options: dict, error: type, words: str
) -> None:
    with pytest.raises(error, match=words):
        plan_manifest(manifest, **options)


def test_the_last_shards_are_part_of_the_time() -> None:
    assert makespan_s([2.0] * 5, 2) == 6.0
    assert makespan_s([2.0] * 5, 8) == 2.0
    assert makespan_s([], 2) == 0.0


CONDITIONS = (CLEAN, "playback-1.25x", "fade")


class ClockedWorkers:
    """Workers that take turns: each piece takes a fixed time, by a clock that stands still else."""

    def __init__(self, num_workers: int, audio_s_per_s: float) -> None:
        self.now_s = 0.0
        self._num_workers, self._audio_s_per_s = num_workers, audio_s_per_s
        self.sizes: list[list[int]] = []

    def score(self, plan, tasks):
        self.sizes.append([plan.num_segments_of(task.number) for task in tasks])
        for place, task in enumerate(tasks):
            num_segments = plan.num_segments_of(task.number)
            # Segments of one second, and so they count under each condition.
            took_s = num_segments * len(task.conditions) / self._audio_s_per_s
            if place % self._num_workers == 0:
                self.now_s += took_s
            yield report(num_segments, task.conditions, took_s)


def report(num_segments: int, conditions: tuple[str, ...], took_s: float) -> ShardReport:
    return ShardReport(
        commits=tuple(
            Commit(
                condition=condition,
                shard=0,
                attempt="a",
                identity_sha256="",
                predictions_file=None,
                rejections_file=None,
                num_predictions=num_segments,
                num_rejections=0,
                num_rejections_by_reason={},
                audio_s=num_segments / (1.25 if condition == "playback-1.25x" else 1.0),
                content_sha256="",
            )
            for condition in conditions
        ),
        workload=Workload(),
        times=StageTimes(score_s=took_s),
    )


@pytest.mark.parametrize("num_conditions", [1, 3])
@pytest.mark.parametrize(("num_workers", "audio_s_per_s"), [(1, 4.0), (2, 40.0), (3, 20_000.0)])
def test_rounds_grow_until_they_take_the_time_and_give_the_speed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    num_workers: int,
    audio_s_per_s: float,
    num_conditions: int,
) -> None:
    rows = {
        "segment_id": [str(n) for n in range(1000)],
        "recording": [f"{n // 50}.wav" for n in range(1000)],
        "start_s": [float(n % 50) for n in range(1000)],
        "end_s": [float(n % 50 + 1) for n in range(1000)],
    }
    write_manifest(str(tmp_path / "m.parquet"), pa.table(rows))
    plan = plan_shards(str(tmp_path / "m.parquet"), segments_per_shard=100)
    workers = ClockedWorkers(num_workers, audio_s_per_s)
    monkeypatch.setattr("orchestration.speed.time.monotonic", lambda: workers.now_s)
    pieces = _Pieces(plan, measure_durations(plan), CONDITIONS[:num_conditions], seed=0)
    measured = _measure(pieces, workers.score, num_workers, sample_s=10.0)
    assert measured.audio_s_per_s(num_workers) == pytest.approx(num_workers * audio_s_per_s)
    assert 5.0 <= measured.at_s[-1] <= 20.0
    assert measured.relative_error() == pytest.approx(0, abs=1e-6)
    assert measured.limited_by(num_workers) == "the model"
    assert len(workers.sizes) == 2  # the warm-up, and the round that counts
    assert max(workers.sizes[1]) <= 100


def test_pieces_come_from_shards_of_all_lengths(tmp_path: Path) -> None:
    """Shard n has segments of n seconds: any few pieces lie between the shortest and longest."""
    rows = [
        {"recording": f"{n}.wav", "start_s": float(n * i), "end_s": float(n * (i + 1))}
        for n in range(1, 41)
        for i in range(5)
    ]
    write_manifest(str(tmp_path / "m.parquet"), pa.Table.from_pylist(rows))
    plan = plan_shards(str(tmp_path / "m.parquet"), segments_per_shard=5)
    for seed in range(5):
        pieces = _Pieces(plan, measure_durations(plan), (CLEAN,), seed)
        sample, tasks = pieces.take(8, 3)
        assert [task.number for task in tasks] == list(range(8))
        assert sample.num_segments == 24
        lengths = sorted(
            {s.end_s - s.start_s for t in tasks for s in sample.shard(t.number).segments}
        )
        assert len(lengths) == 8
        assert lengths[0] <= 10
        assert lengths[-1] >= 31
        assert abs(sum(lengths) / 8 - 20.5) < 3


def test_the_command_prints_the_plan(
    manifest: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["plan", manifest, "--model", MODEL, "--local", "--devices", "cpu"]
    words += ["--sample-s", "0.2", "--price-per-hour", "2"]
    assert main(words) == 0
    text = capsys.readouterr().out
    for line in (r"audio .* in 12 segments", r"shards +1 of 12", r"x real time", r"cost .* at 2 a"):
        assert re.search(line, text), line
    assert "1 segments have no readable audio" in text
    assert main([*words, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert set(data) == set(planning.RunPlan.__dataclass_fields__)
