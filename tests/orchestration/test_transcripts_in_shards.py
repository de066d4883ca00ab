"""Shards carry transcripts where they are wanted, wherever these come from."""

import pickle
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf

import pipelines.pack
from orchestration.shard_plan import ShardPlan, TextShard
from orchestration.shards import plan_shards
from ser_model.audio import encode_flac
from ser_model.manifest import read_manifest, write_manifest
from ser_model.schema import SHARD, ManifestError

TEXTS = ["so it is", None, "", 'he said "no",\nthen left', "où ?", "six"]


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=0.1, size=8_000).astype(np.float32)


def write_corpus(folder: Path, texts: list[str | None] | None) -> str:
    """Two recordings whose segments are mixed up in the manifest."""
    rows = []
    for number in range(len(TEXTS)):
        start_s = 0.25 * (number // 2)
        row = {"segment_id": f"s{number}", "recording": f"{number % 2}.wav", "start_s": start_s}
        row |= {"end_s": start_s + 0.25, "split": "dev" if number % 2 else "test"}
        rows.append(row if texts is None else {**row, "transcript": texts[number]})
    for number in range(2):
        sf.write(folder / f"{number}.wav", np.tile(noise(number), 2), 16_000)
    write_manifest(str(folder / "manifest.parquet"), pa.Table.from_pylist(rows))
    return str(folder / "manifest.parquet")


def write_audio_table(path: Path) -> str:
    rows = [
        {
            "segment_id": f"s{number}",
            "audio": {"bytes": encode_flac(noise(number)), "path": None},
            "sampling_rate_hz": 16_000,
            "num_samples": 8_000,
        }
        for number in range(len(TEXTS))
    ]
    table = pa.Table.from_pylist(rows, schema=SHARD)
    pq.write_table(table.append_column("transcript", pa.array(TEXTS)), path, row_group_size=2)
    return str(path)


def carried(plan: ShardPlan) -> dict[str, str | None]:
    """Return what workers get, from pickled descriptors."""
    found: dict[str, str | None] = {}
    for number in range(plan.num_shards):
        shard = pickle.loads(pickle.dumps(plan.shard(number)))
        assert isinstance(shard, TextShard)
        assert set(shard.transcripts) == set(shard.segment_ids)
        assert sorted(i for i, _ in shard.read()) == sorted(shard.segment_ids)
        assert [i for part, _ in shard.parts(1) for i, _ in part.read()] == [
            i for i, _ in shard.read()
        ]
        one = shard.only(shard.segment_ids[:1])
        assert one.transcripts == {i: shard.transcripts[i] for i in one.segment_ids}
        assert [i for i, _ in one.read()] == list(one.segment_ids)
        found |= shard.transcripts
    return found


@pytest.fixture(params=["manifest", "packed", "parquet"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "parquet":
        return write_audio_table(tmp_path / "audio.parquet")
    manifest = write_corpus(tmp_path, TEXTS)
    if request.param == "manifest":
        return manifest
    pipelines.pack.pack(read_manifest(manifest), str(tmp_path / "packed"), segments_per_shard=3)
    return str(tmp_path / "packed")


def test_each_segment_has_its_own_transcript(source: str) -> None:
    plan = plan_shards(source, segments_per_shard=3, transcripts=True)
    assert carried(plan) == {f"s{number}": text for number, text in enumerate(TEXTS)}
    assert plan.num_shards > 1


def test_shards_are_as_before_where_nobody_wants_transcripts(source: str) -> None:
    plan = plan_shards(source, segments_per_shard=3)
    assert "transcript" not in plan.rows.column_names
    assert not isinstance(plan.shard(0), TextShard)
    with_transcripts = plan_shards(source, segments_per_shard=3, transcripts=True)
    assert with_transcripts.first_rows == plan.first_rows
    assert with_transcripts.sha256() != plan.sha256(), "what models read is part of the identity"


def test_other_transcripts_are_another_plan(tmp_path: Path) -> None:
    hashes = set()
    for number, texts in enumerate([TEXTS, TEXTS[::-1], None]):
        folder = tmp_path / str(number)
        folder.mkdir()
        plan = plan_shards(write_corpus(folder, texts), transcripts=True)
        if texts is None:
            assert set(carried(plan).values()) == {None}
        hashes.add(plan.rows["transcript"].to_pylist().__repr__())
    assert len(hashes) == 3


def test_a_split_has_its_own_transcripts(tmp_path: Path) -> None:
    plan = plan_shards(write_corpus(tmp_path, TEXTS), split="dev", transcripts=True)
    assert carried(plan) == {f"s{number}": TEXTS[number] for number in (1, 3, 5)}


def test_a_tar_file_has_no_transcripts(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", noise(0), 16_000)
    with tarfile.open(tmp_path / "corpus.tar", "w") as archive:
        archive.add(tmp_path / "a.wav", "a.wav")
    assert carried(plan_shards(str(tmp_path / "corpus.tar"), transcripts=True)) == {"a": None}


@pytest.mark.parametrize("kind", ["string", "binary"])
def test_transcripts_in_another_encoding_are_refused_by_row(tmp_path: Path, kind: str) -> None:
    path = write_audio_table(tmp_path / "audio.parquet")
    table = pq.read_table(path)
    data = [b"so", None, "où".encode("latin-1"), b"", b"x", b"y"]
    # As files of other tools have it: what they say is text holds any bytes.
    column = pa.array(data, pa.binary())
    if kind == "string":
        column = pa.StringArray.from_buffers(
            len(column), column.buffers()[1], column.buffers()[2], column.buffers()[0]
        )
    pq.write_table(
        table.set_column(table.schema.names.index("transcript"), "transcript", column), path
    )
    assert plan_shards(path).num_segments == 6, "who wants no transcripts need not mind"
    with pytest.raises(
        ManifestError, match=r"audio.parquet, row 3: transcript is no text in UTF-8"
    ):
        plan_shards(path, transcripts=True)
