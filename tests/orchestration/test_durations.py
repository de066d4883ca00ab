"""How much audio there is, by tables and headers: the same for every kind of source."""

import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from orchestration import durations
from orchestration.durations import measure_durations, planned_audio_s
from orchestration.shard_plan import ShardPlan
from orchestration.shards import plan_shards
from pipelines.pack import pack
from ser_model import storage
from ser_model.manifest import read_manifest, write_manifest
from ser_model.schema import UnfinishedError

SECONDS = (1.0, 2.0, 3.0, 4.5)


def write_corpus(folder: Path, write_recording, **columns: list) -> str:
    recordings = [
        write_recording(folder / f"{n}.flac", duration_s=s) for n, s in enumerate(SECONDS)
    ]
    manifest = str(folder / "manifest.parquet")
    write_manifest(manifest, pa.table({"recording": recordings, **columns}))
    return manifest


def test_whole_recordings_are_as_long_as_their_headers_say(tmp_path: Path, write_recording) -> None:
    plan = plan_shards(write_corpus(tmp_path, write_recording), segments_per_shard=3)
    found = measure_durations(plan)
    assert found.duration_s.tolist() == list(SECONDS)
    assert (found.total_s, found.total_error_s) == (10.5, 0)
    assert found.num_headers == 4
    assert found.of_shards(plan).tolist() == [6.0, 4.5]
    assert planned_audio_s(plan) is None


def test_a_manifest_with_times_needs_no_audio(tmp_path: Path) -> None:
    rows = {"recording": ["gone.wav"] * 3, "start_s": [0.0, 2.0, 9.0], "end_s": [1.5, 4.0, 8.0]}
    write_manifest(str(tmp_path / "m.csv"), pa.table(rows))
    plan = plan_shards(str(tmp_path / "m.csv"))
    found = measure_durations(plan)
    assert found.duration_s.tolist() == [1.5, 2.0, 0.0]  # the last one ends before it starts
    assert (found.num_headers, found.num_unreadable) == (0, 1)
    assert planned_audio_s(plan).tolist() == [3.5]


def test_a_segment_without_an_end_lasts_until_its_recording_ends(
    tmp_path: Path, write_recording
) -> None:
    times = {"start_s": [0.25, 0.5, 3.5, 1.0], "end_s": [None, 1.5, None, None]}
    manifest = write_corpus(tmp_path, write_recording, **times)
    found = measure_durations(plan_shards(manifest))
    assert found.duration_s.tolist() == [0.75, 1.0, 0.0, 3.5]
    assert found.num_unreadable == 1  # it begins behind its recording's end


def test_packed_shards_are_counted_by_their_columns(tmp_path: Path, write_recording) -> None:
    columns = {"split": ["train", "test", "test", "test"]}
    manifest = write_corpus(tmp_path, write_recording, **columns)
    storage.write_atomic(str(tmp_path / "2.flac"), b"this is no audio")
    pack(read_manifest(manifest), str(tmp_path / "shards"), segments_per_shard=2)
    found = measure_durations(plan_shards(str(tmp_path / "shards"), split="test"))
    assert found.duration_s.tolist() == [2.0, 0.0, 4.5]
    assert (found.num_headers, found.num_unreadable) == (2, 1)


def test_audio_in_parquet_and_tar_is_measured_by_its_headers(
    tmp_path: Path, write_recording
) -> None:
    write_corpus(tmp_path, write_recording)
    files = [tmp_path / f"{n}.flac" for n in range(len(SECONDS))]
    audio = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    table = pa.table({"segment_id": list("abcde"), "audio": [*audio, {"bytes": b"x", "path": ""}]})
    storage.write_table(str(tmp_path / "audio.parquet"), table)
    with tarfile.open(tmp_path / "audio.tar", "w") as archive:
        for file in files:
            archive.add(file, file.name)
    for name, expected in (("audio.parquet", [*SECONDS, 0.0]), ("audio.tar", [*SECONDS])):
        found = measure_durations(plan_shards(str(tmp_path / name)))
        assert found.duration_s.tolist() == expected


def test_what_cannot_be_read_or_is_too_long_is_counted_and_not_scored(
    tmp_path: Path, write_recording
) -> None:
    manifest = write_corpus(tmp_path, write_recording)
    (tmp_path / "0.flac").unlink()
    (tmp_path / "1.flac").write_bytes(b"this is no audio")
    found = measure_durations(plan_shards(manifest, max_segment_s=4.0))
    assert found.duration_s.tolist() == [0.0, 0.0, 3.0, 0.0]
    assert (found.num_unreadable, found.num_too_long, found.total_s) == (2, 1, 3.0)


def test_a_store_that_does_not_answer_is_no_unreadable_header(
    tmp_path: Path, write_recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_shards(write_corpus(tmp_path, write_recording))

    def fail(recording: str) -> None:
        raise UnfinishedError("the store is gone")

    monkeypatch.setattr(durations, "open_recording", fail)
    with pytest.raises(UnfinishedError, match="gone"):
        measure_durations(plan)


def sampled_plan(monkeypatch: pytest.MonkeyPatch, *, num_shards: int = 400) -> tuple:
    """A plan of shards of 5 segments, each shard with a level of its own, and its true total."""
    generator = np.random.default_rng(3)
    level_s = generator.lognormal(1.5, 0.3, num_shards)
    true_s = np.repeat(level_s, 5) * generator.lognormal(0, 0.4, num_shards * 5)
    ids = [str(n) for n in range(num_shards * 5)]
    plan = ShardPlan(
        rows=pa.table({"segment_id": ids}),
        first_rows=list(range(0, num_shards * 5 + 1, 5)),
        make_shard=lambda rows: [int(i) for i in rows["segment_id"].to_pylist()],
    )
    monkeypatch.setattr(durations, "_by_headers", lambda rows: true_s[rows])
    return plan, float(true_s.sum())


def test_of_many_headers_a_sample_is_read_and_its_error_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan, true_s = sampled_plan(monkeypatch)
    found = measure_durations(plan, max_headers=300)
    assert found.num_headers == found.num_looked_at == 300
    assert 0 < found.total_error_s < 0.1 * true_s
    assert found.of_shards(plan).sum() == pytest.approx(found.total_s)
    assert measure_durations(plan, max_headers=300).total_s == found.total_s
    assert measure_durations(plan, max_headers=300, seed=1).total_s != found.total_s


def test_the_interval_holds_the_truth_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, true_s = sampled_plan(monkeypatch)
    samples = [measure_durations(plan, max_headers=200, seed=seed) for seed in range(200)]
    held = sum(abs(found.total_s - true_s) <= found.total_error_s for found in samples)
    assert 180 <= held <= 199  # 190 are expected; the normal interval of 40 shards is a bit narrow
