from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines import pack as pack_module
from pipelines.pack import PackSummary, pack, plan_shards
from ser_model import storage
from ser_model.audio import decode_audio, read_segments
from ser_model.manifest import check_manifest, segments
from ser_model.schema import SHARD, Reason, RunError, Segment

WriteRecording = Callable[..., str]


@pytest.fixture
def manifest(tmp_path: Path, write_recording: WriteRecording) -> pa.Table:
    """Four recordings of 2 s and five segments each, with metadata."""
    rows = []
    for number, extension in enumerate(["wav", "flac", "wav", "flac"]):
        recording = write_recording(
            tmp_path / "audio" / f"a b%20é{number}.{extension}",
            duration_s=2.0,
            sampling_rate_hz=[16_000, 44_100][number % 2],
            seed=number,
        )
        rows += [
            {
                "recording": recording,
                "start_s": start / 4,
                "end_s": start / 4 + 0.5,
                "speaker_id": str(number),
            }
            for start in range(5)
        ]
    return check_manifest(pa.Table.from_pylist(rows), uri="m", folder=str(tmp_path))


def contents(folder: str) -> dict[str, bytes]:
    return {
        name: storage.read_bytes(storage.join(folder, name)) for name in storage.list_names(folder)
    }


@pytest.fixture
def output(folder: str) -> str:
    return storage.join(folder, "shards")


def test_shards_hold_every_segment(manifest: pa.Table, output: str) -> None:
    summary = pack(manifest, output, segments_per_shard=8)
    assert summary == PackSummary(num_shards=2, num_segments=20, num_packed=20, num_rejected=0)
    assert storage.list_names(output) == [
        "manifest.parquet",
        "pack-plan.json",
        "pack.json",
        "shard-00000.parquet",
        "shard-00001.parquet",
    ]
    shards = [storage.read_table(storage.join(output, f"shard-0000{i}.parquet")) for i in (0, 1)]
    assert [len(shard) for shard in shards] == [10, 10]
    assert all(shard.schema.equals(SHARD) for shard in shards)
    rows = pa.concat_tables(shards).to_pylist()
    assert [row["segment_id"] for row in rows] == manifest["segment_id"].to_pylist()
    for row, segment in zip(rows, segments(manifest), strict=True):
        ((_, expected),) = read_segments(segment.recording, [segment])
        assert row["sampling_rate_hz"] == 16_000
        assert row["num_samples"] == len(expected) == 8_000
        decoded = decode_audio(row["audio"]["bytes"])
        np.testing.assert_allclose(decoded, expected, atol=0.6 / 32_768)
    assert storage.read_table(storage.join(output, "manifest.parquet")).equals(manifest)


def test_a_finished_pack_is_not_made_again(
    manifest: pa.Table, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pack(manifest, output, segments_per_shard=8)
    monkeypatch.setattr(pack_module.beam, "Pipeline", None)
    assert pack(manifest, output, segments_per_shard=8) == first


def test_a_resumed_pack_is_the_same_bytes_and_keeps_what_is_there(
    manifest: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, resumed = str(tmp_path / "whole"), str(tmp_path / "resumed")
    pack(manifest, whole, segments_per_shard=5)
    real = pack_module._pack_shard
    made: list[int] = []

    def dies_at_2(
        plan: pack_module.PlannedShard, max_segment_s: float
    ) -> tuple[pa.Table, pa.Table]:
        if plan.index == 2:
            raise KeyboardInterrupt
        return real(plan, max_segment_s)

    monkeypatch.setattr(pack_module, "_pack_shard", dies_at_2)
    with pytest.raises((KeyboardInterrupt, RuntimeError)):
        pack(manifest, resumed, segments_per_shard=5)
    before = set(storage.list_names(resumed))
    assert "pack.json" not in before
    assert "shard-00002.parquet" not in before

    def counts(plan: pack_module.PlannedShard, max_segment_s: float) -> tuple[pa.Table, pa.Table]:
        made.append(plan.index)
        return real(plan, max_segment_s)

    monkeypatch.setattr(pack_module, "_pack_shard", counts)
    pack(manifest, resumed, segments_per_shard=5)
    assert {f"shard-0000{index}.parquet" for index in made}.isdisjoint(before)
    assert contents(resumed) == contents(whole)


def test_another_manifest_is_refused(manifest: pa.Table, output: str) -> None:
    pack(manifest.slice(0, 5), output)
    before = contents(output)
    with pytest.raises(RunError, match=r"holds another pack \(differs in manifest_sha256"):
        pack(manifest, output)
    with pytest.raises(RunError, match="differs in segments_per_shard"):
        pack(manifest.slice(0, 5), output, segments_per_shard=3)
    with pytest.raises(RunError, match="differs in max_segment_s"):
        pack(manifest.slice(0, 5), output, max_segment_s=30.0)
    assert contents(output) == before


def test_bad_segments_are_rejected_and_counted(
    manifest: pa.Table, tmp_path: Path, output: str
) -> None:
    (tmp_path / "text.wav").write_bytes(b"no audio at all" * 9)
    good = manifest["recording"][0].as_py()
    bad = {
        "segment_id": ["absent", "text", "late", "backwards", "long"],
        "recording": [str(tmp_path / "absent.wav"), str(tmp_path / "text.wav"), good, good, good],
        "start_s": [None, None, 9.0, 1.0, None],
        "end_s": [None, None, None, 0.5, None],
    }
    broken = check_manifest(pa.table(bad), uri="m", folder="/")
    summary = pack(
        pa.concat_tables([manifest, broken], promote_options="default"),
        output,
        segments_per_shard=8,
        max_segment_s=1.5,
    )
    assert (summary.num_segments, summary.num_packed, summary.num_rejected) == (25, 20, 5)
    rejections = [
        row
        for name in storage.list_names(output)
        if name.startswith("rejections-")
        for row in storage.read_table(storage.join(output, name)).to_pylist()
    ]
    assert {row["segment_id"]: (row["stage"], row["reason"]) for row in rejections} == {
        "absent": ("read", Reason.RECORDING_NOT_FOUND),
        "text": ("decode", Reason.NOT_AUDIO),
        "late": ("segment", Reason.BEYOND_END),
        "backwards": ("segment", Reason.END_BEFORE_START),
        "long": ("segment", Reason.TOO_LONG),
    }
    packed = [
        segment_id
        for name in storage.list_names(output)
        if name.startswith("shard-")
        for segment_id in storage.read_table(storage.join(output, name))["segment_id"].to_pylist()
    ]
    assert sorted(packed) == sorted(manifest["segment_id"].to_pylist())


def test_a_shard_of_nothing_but_rejections(tmp_path: Path, output: str) -> None:
    broken = check_manifest(pa.table({"recording": ["absent.wav"]}), uri="m", folder=str(tmp_path))
    assert pack(broken, output) == PackSummary(
        num_shards=1, num_segments=1, num_packed=0, num_rejected=1
    )
    assert len(storage.read_table(storage.join(output, "shard-00000.parquet"))) == 0


def test_each_recording_is_opened_once(
    manifest: pa.Table, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = storage.open_binary

    def open_binary(uri: str) -> object:
        opened.append(uri)
        return real(uri)

    monkeypatch.setattr(storage, "open_binary", open_binary)
    # Rows of a recording may stand anywhere in the manifest.
    scattered = manifest.take([5 * (i % 4) + i // 4 for i in range(20)])
    pack(scattered, storage.join(memory, "shards"), segments_per_shard=5)
    recordings = set(manifest["recording"].to_pylist())
    assert sorted(uri for uri in opened if uri in recordings) == sorted(recordings)


def test_threads_of_beam_make_the_same_bytes(manifest: pa.Table, tmp_path: Path) -> None:
    one, many = str(tmp_path / "one"), str(tmp_path / "many")
    pack(manifest, one, segments_per_shard=5)
    threads = ["--direct_running_mode=multi_threading", "--direct_num_workers=2"]
    pack(manifest, many, segments_per_shard=5, beam_options=threads)
    assert contents(one) == contents(many)


def test_plans_hold_whole_recordings() -> None:
    rows = [
        Segment(segment_id=str(number), recording=recording)
        for number, recording in enumerate("aabacccccb")
    ]
    plans = plan_shards(rows, 4)
    assert [[s.segment_id for s in plan.segments] for plan in plans] == [
        ["0", "1", "3", "2", "9"],
        ["4", "5", "6", "7", "8"],
    ]
    assert plan_shards(rows, 1)[2].segments == plans[1].segments
    assert [len(plan.segments) for plan in plan_shards(rows, 99)] == [10]
    assert plan_shards([], 4) == []
