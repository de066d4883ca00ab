"""Plans: the same each time, made without opening audio, and true to what is then read."""

import gzip
import io
import itertools
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf

import pipelines.pack
from orchestration.parquet_shards import plan_packed
from orchestration.shard_plan import SegmentAudio, ShardPlan, cut_by_recording
from orchestration.shards import plan_shards
from ser_model import storage
from ser_model.audio import encode_flac
from ser_model.manifest import read_manifest, segments, write_manifest
from ser_model.schema import (
    MAX_SEGMENT_S,
    SHARD,
    ConfigError,
    ManifestError,
    Reason,
    RunError,
    SegmentError,
)


def noise(seed: int, num_samples: int = 8_000) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.1, size=num_samples).astype(np.float32)


def write_corpus(folder: Path) -> str:
    """Three recordings of 3 s, whose nine segments are mixed up in the manifest; one is broken."""
    folder.mkdir(exist_ok=True)
    rows = []
    for number in range(9):
        recording, start_s = f"talk {number % 3}.wav", number // 3
        rows.append(
            {
                "segment_id": f"s{number}",
                "recording": recording,
                "start_s": float(start_s),
                "end_s": start_s + 0.5 if number != 4 else start_s - 0.5,
                "split": "test" if number % 3 == 1 else "train",
            }
        )
    for number in range(3):
        sf.write(folder / f"talk {number}.wav", noise(number, 48_000), 16_000)
    write_manifest(str(folder / "manifest.csv"), pa.Table.from_pylist(rows))
    return str(folder / "manifest.csv")


def read_all(plan: ShardPlan) -> list[list[SegmentAudio]]:
    """Read every shard as a worker does: from its pickled descriptor."""
    shards = [pickle.loads(pickle.dumps(plan.shard(n))) for n in range(plan.num_shards)]
    for number, shard in enumerate(shards):
        assert len(shard.segment_ids) == plan.num_segments_of(number)
        assert sorted(id_ for id_, _ in shard.read()) == sorted(shard.segment_ids)
    return [list(shard.read()) for shard in shards]


def flat(read: list[list[SegmentAudio]]) -> dict[str, np.ndarray | Reason]:
    return {
        segment_id: audio.reason if isinstance(audio, SegmentError) else audio
        for shard in read
        for segment_id, audio in shard
    }


def test_a_manifest_is_cut_into_shards_of_whole_recordings(tmp_path: Path) -> None:
    plan = plan_shards(write_corpus(tmp_path), segments_per_shard=4)
    assert [plan.shard(n).segment_ids for n in range(plan.num_shards)] == [
        ["s0", "s3", "s6", "s1", "s4", "s7"],
        ["s2", "s5", "s8"],
    ]
    audio = flat(read_all(plan))
    assert audio.pop("s4") == Reason.END_BEFORE_START
    assert {len(waveform) for waveform in audio.values()} == {8_000}


def test_planning_opens_no_audio(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path)
    for path in tmp_path.glob("*.wav"):
        path.unlink()
    plan = plan_shards(manifest)
    assert plan.num_segments == 9
    assert set(flat(read_all(plan)).values()) == {Reason.RECORDING_NOT_FOUND}


def test_a_plan_is_the_same_each_time_and_changes_with_what_is_scored(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path)
    hashes = [
        plan_shards(manifest).sha256(),
        plan_shards(manifest, segments_per_shard=4).sha256(),
        plan_shards(manifest, split="test").sha256(),
        plan_shards(manifest, max_segment_s=30.0).sha256(),
    ]
    assert len(set(hashes)) == 4
    assert plan_shards(manifest).sha256() == hashes[0]
    table = read_manifest(manifest)
    write_manifest(manifest, table.drop_columns("split"))
    assert plan_shards(manifest).sha256() == hashes[0], "metadata change no score"
    times = table.column("end_s").to_pylist()
    times[0] += 0.1
    write_manifest(manifest, table.set_column(3, "end_s", pa.array(times)))
    assert plan_shards(manifest).sha256() != hashes[0]


def test_the_hash_of_a_plan_does_not_depend_on_how_arrow_cuts_its_columns() -> None:
    rows = pa.table({"segment_id": ["a", "b", "c"]})
    plans = [
        ShardPlan(rows=table, first_rows=[0, 3], make_shard=None)
        for table in (rows, pa.concat_tables([rows.slice(0, 1), rows.slice(1, 0), rows.slice(1)]))
    ]
    assert plans[0].sha256() == plans[1].sha256()


def test_a_split_is_selected(tmp_path: Path) -> None:
    plan = plan_shards(write_corpus(tmp_path), split="test")
    assert sorted(flat(read_all(plan))) == ["s1", "s4", "s7"]
    with pytest.raises(ManifestError, match="dev"):
        plan_shards(str(tmp_path / "manifest.csv"), split="dev")


@pytest.fixture
def packed(tmp_path: Path) -> str:
    manifest = read_manifest(write_corpus(tmp_path / "corpus"))
    output = str(tmp_path / "shards")
    pipelines.pack.pack(manifest, output, segments_per_shard=4)
    return output


def test_a_packed_folder_brings_its_shards_and_its_rejections(packed: str) -> None:
    plan = plan_shards(packed)
    read = read_all(plan)
    assert [len(shard) for shard in read] == [6, 3]
    audio = flat(read)
    assert audio.pop("s4") == Reason.END_BEFORE_START
    expected = flat(read_all(plan_shards(packed.replace("shards", "corpus/manifest.csv"))))
    for segment_id, waveform in audio.items():
        np.testing.assert_allclose(waveform, expected[segment_id], atol=1 / 32_768)


def test_a_split_of_a_packed_folder_leaves_out_shards_that_hold_none_of_it(packed: str) -> None:
    plan = plan_shards(packed, split="test")
    assert plan.num_shards == 1
    audio = flat(read_all(plan))
    assert sorted(audio) == ["s1", "s4", "s7"]
    assert audio["s4"] == Reason.END_BEFORE_START


def test_planning_a_packed_folder_reads_no_shard(packed: str) -> None:
    for path in Path(packed).glob("shard-*.parquet"):
        path.unlink()
    assert plan_shards(packed).num_segments == 9


@pytest.mark.parametrize("segments_per_shard", [1, 2, 3, 4, 7, 100])
def test_scoring_cuts_a_packed_manifest_as_packing_did(
    tmp_path: Path, segments_per_shard: int
) -> None:
    manifest = read_manifest(write_corpus(tmp_path))
    order, first_rows = cut_by_recording(manifest, segments_per_shard)
    ids = manifest.take(order).column("segment_id").to_pylist()
    ours = [ids[a:b] for a, b in itertools.pairwise(first_rows)]
    theirs = pipelines.pack.plan_shards(segments(manifest), segments_per_shard)
    assert ours == [[segment.segment_id for segment in plan.segments] for plan in theirs]


def test_a_folder_whose_packing_was_not_finished_is_refused(packed: str) -> None:
    Path(packed, "pack.json").unlink()
    with pytest.raises(RunError, match="serval pack"):
        plan_shards(packed)


def test_a_folder_that_was_packed_by_another_rule_is_refused(packed: str) -> None:
    pack = storage.read_json(f"{packed}/pack.json")
    storage.write_json(f"{packed}/pack.json", {**pack, "segments_per_shard": 5000})
    with pytest.raises(RunError, match="another version"):
        plan_packed(packed, None, MAX_SEGMENT_S)


def write_parquet(path: Path, rows: list[dict[str, object]], row_group_size: int) -> str:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=row_group_size)
    return str(path)


def audio_row(segment_id: str, seed: int, **fields: object) -> dict[str, object]:
    audio = {"bytes": encode_flac(noise(seed)), "path": None}
    return {"segment_id": segment_id, "audio": audio, **fields}


def test_a_parquet_file_from_elsewhere_is_read_by_row_groups(tmp_path: Path) -> None:
    rows = [
        audio_row(f"r{n}", n, text="hello", split="test" if n > 1 else "train") for n in range(5)
    ]
    rows[3]["audio"] = {"bytes": b"no audio at all", "path": None}
    rows[4]["audio"] = {"bytes": None, "path": "gone.wav"}
    source = write_parquet(tmp_path / "data.parquet", rows, row_group_size=2)
    plan = plan_shards(source)
    assert [plan.num_segments_of(n) for n in range(plan.num_shards)] == [2, 2, 1]
    audio = flat(read_all(plan))
    assert (audio.pop("r3"), audio.pop("r4")) == (Reason.NOT_AUDIO, Reason.EMPTY_RECORDING)
    np.testing.assert_allclose(audio["r2"], noise(2), atol=1 / 32_768)
    assert sorted(flat(read_all(plan_shards(source, split="test")))) == ["r2", "r3", "r4"]


def test_a_parquet_file_without_ids_goes_by_the_paths_of_its_audio(tmp_path: Path) -> None:
    rows = [{"audio": {"bytes": encode_flac(noise(n)), "path": f"{n}.flac"}} for n in range(3)]
    source = write_parquet(tmp_path / "data.parquet", rows, row_group_size=2)
    plan = plan_shards(source)
    assert plan.rows["segment_id"].to_pylist() == ["0.flac", "1.flac", "2.flac"]
    audio = flat(read_all(plan))
    np.testing.assert_allclose(audio["2.flac"], noise(2), atol=1 / 32_768)
    assert list(audio) == ["0.flac", "1.flac", "2.flac"]


def test_a_shard_in_memory_is_read_the_same() -> None:
    rows = [audio_row("a", 0, sampling_rate_hz=16_000, num_samples=8_000)]
    uri = "memory://test_shards/one.parquet"
    storage.write_table(uri, pa.Table.from_pylist(rows, schema=SHARD))
    assert list(flat(read_all(plan_shards(uri)))) == ["a"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([audio_row("a", 0), audio_row("a", 1)], "'a' more than once"),
        ([audio_row("a", 0), audio_row(None, 1)], "without a segment_id"),
        ([{"audio": {"bytes": b"x", "path": None}}], "no column 'segment_id', nor a path"),
        ([{"audio": {"bytes": b"x"}}], "no column 'segment_id', nor a path"),
        ([{"audio": b"x"}], "no column 'segment_id', nor a path"),
        ([{"audio": {"bytes": b"x", "path": "a"}}] * 2, "'a' more than once"),
    ],
)
def test_a_parquet_file_that_cannot_be_scored_is_refused(
    tmp_path: Path, rows: list[dict[str, object]], message: str
) -> None:
    with pytest.raises(ManifestError, match=message):
        plan_shards(write_parquet(tmp_path / "data.parquet", rows, row_group_size=10))


def test_a_parquet_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_text("hello")
    for name in ("data.parquet", "absent.parquet"):
        with pytest.raises(ManifestError, match=name):
            plan_shards(str(tmp_path / name))


AddToTar = Callable[[tarfile.TarFile], None]


def add(archive: tarfile.TarFile, name: str, data: bytes, kind: bytes = tarfile.REGTYPE) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, len(data), "/etc/passwd"
    archive.addfile(member, io.BytesIO(data))


def write_tar(path: Path, names: list[str]) -> str:
    with tarfile.open(path, "w") as archive:
        for seed, name in enumerate(names):
            is_audio = name.endswith((".flac", ".FLAC"))
            add(archive, name, encode_flac(noise(seed)) if is_audio else b"{}")
    return str(path)


def test_a_webdataset_tar_is_read_member_by_member(tmp_path: Path) -> None:
    names = ["a/one.flac", "a/one.json", "v1.2/two.take3.FLAC", "three.flac", "three.cls"]
    plan = plan_shards(write_tar(tmp_path / "data.tar", names), segments_per_shard=2)
    assert [plan.shard(n).segment_ids for n in range(2)] == [["a/one", "v1.2/two"], ["three"]]
    audio = flat(read_all(plan))
    np.testing.assert_allclose(audio["three"], noise(3), atol=1 / 32_768)


def test_links_devices_and_escaping_names_touch_nothing_outside(tmp_path: Path) -> None:
    path = tmp_path / "data.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "link.wav", b"", tarfile.SYMTYPE)
        add(archive, "hard.wav", b"", tarfile.LNKTYPE)
        add(archive, "pipe.wav", b"", tarfile.FIFOTYPE)
        add(archive, "../../escape.flac", encode_flac(noise(0)))
        add(archive, "/etc/passwd.wav", b"not audio")
    audio = flat(read_all(plan_shards(str(path))))
    assert sorted(audio) == ["../../escape", "/etc/passwd"]
    assert audio["/etc/passwd"] == Reason.NOT_AUDIO
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.tar"]
    assert not (tmp_path.parent.parent / "escape.flac").exists()


def test_a_member_that_is_too_large_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_shards(write_tar(tmp_path / "data.tar", ["one.flac"]))
    monkeypatch.setattr("orchestration.webdataset.MAX_MEMBER_BYTES", 100)
    assert flat(read_all(plan)) == {"one": Reason.RECORDING_UNREADABLE}


def test_a_tar_that_shrank_after_planning_gives_rejections(tmp_path: Path) -> None:
    path = tmp_path / "data.tar"
    plan = plan_shards(write_tar(path, ["one.flac", "two.flac"]))
    offset = plan.shard(0).members[1]["offset"]
    path.write_bytes(path.read_bytes()[: offset + 100])
    assert flat(read_all(plan))["two"] == Reason.TRUNCATED


def damage(data: bytes) -> bytes:
    """Overwrite the second header: behind the first (512 bytes) and its padded content."""
    header = data.index(b"two.flac")
    return data[:header] + b"\xff" * 512 + data[header + 512 :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[: len(data) // 4], "no readable"),
        (damage, "damaged"),
        (lambda data: b"hello" * 1000, "no readable"),
        (gzip.compress, "no readable, uncompressed"),
        (lambda data: b"", "no readable|no audio"),
    ],
)
def test_a_damaged_tar_is_refused_whole(
    tmp_path: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "data.tar"
    write_tar(path, ["one.flac", "two.flac", "three.flac"])
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ManifestError, match=message):
        plan_shards(str(path))


@pytest.mark.parametrize(
    ("names", "split", "message"),
    [
        (["one.flac", "one.x.flac"], None, "'one' more than once"),
        (["one.txt"], None, "no audio"),
        (["one.flac"], "test", "no splits"),
    ],
)
def test_a_tar_that_cannot_be_scored_is_refused(
    tmp_path: Path, names: list[str], split: str | None, message: str
) -> None:
    with pytest.raises(ManifestError, match=message):
        plan_shards(write_tar(tmp_path / "data.tar", names), split=split)


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for name in ("absent.tar", "absent.csv", "absent"):
        with pytest.raises(ManifestError, match=name):
            plan_shards(str(tmp_path / name))


def test_segments_longer_than_the_limit_are_rejected_wherever_they_come_from(
    tmp_path: Path,
) -> None:
    manifest = write_corpus(tmp_path / "corpus")
    table = read_manifest(manifest, truth_range=None)
    pipelines.pack.pack(table, str(tmp_path / "packed"))
    row = audio_row("one", 1)
    sources = [
        manifest,
        str(tmp_path / "packed"),
        write_parquet(tmp_path / "data.parquet", [row], row_group_size=1),
        write_tar(tmp_path / "data.tar", ["one.flac"]),
    ]
    for source in sources:
        limited = flat(read_all(plan_shards(source, max_segment_s=0.499)))
        limited.pop("s4", None)  # ends before it starts
        assert set(limited.values()) == {Reason.TOO_LONG}
        shard = pickle.loads(pickle.dumps(plan_shards(source, max_segment_s=0.499).shard(0)))
        assert shard.only(shard.segment_ids[:1]).max_segment_s == 0.499
        kept = flat(read_all(plan_shards(source, max_segment_s=0.5)))
        kept.pop("s4", None)
        assert {len(waveform) for waveform in kept.values()} == {8_000}


@pytest.mark.parametrize("max_segment_s", [0.0, -1.0, float("nan")])
def test_a_limit_that_is_none_is_refused(tmp_path: Path, max_segment_s: float) -> None:
    with pytest.raises(ConfigError, match="--max-segment"):
        plan_shards(write_corpus(tmp_path), max_segment_s=max_segment_s)
