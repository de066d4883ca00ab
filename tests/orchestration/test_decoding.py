"""Audio that other processes read is the same, in the same order, as that which is read here."""

import io
import os
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import soundfile as sf

from orchestration import decoding
from orchestration.committed import content_hash
from orchestration.decoding import SEGMENTS_PER_PART, read_remotely
from orchestration.scoring import score
from orchestration.shard_plan import SegmentAudio, Shard
from orchestration.shards import plan_shards
from pipelines.pack import pack
from ser_model import storage
from ser_model.manifest import read_manifest, write_manifest
from ser_model.schema import ConfigError, Reason, SegmentError

# Workers cannot import this module, so its classes travel to them by value.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

NUM_RECORDINGS, SEGMENTS_PER_RECORDING = 8, 20
NUM_SEGMENTS = NUM_RECORDINGS * SEGMENTS_PER_RECORDING


@pytest.fixture
def manifest(tmp_path: Path, write_recording) -> str:
    """Overlapping segments in no order; of every recording one is bad, and one does not exist."""
    rows = []
    for number in range(NUM_RECORDINGS):
        if number != 3:
            write_recording(tmp_path / f"{number}.flac", duration_s=3.0, seed=number)
        starts_s = np.random.default_rng(number).uniform(0, 2.4, SEGMENTS_PER_RECORDING)
        rows += [
            {
                "segment_id": f"{number}-{position}",
                "recording": f"{number}.flac",
                "start_s": start_s,
                "end_s": start_s + 0.5,
            }
            for position, start_s in enumerate(starts_s.tolist())
        ]
        rows[-1]["end_s"] = 9.0
    uri = str(tmp_path / "manifest.jsonl")
    write_manifest(uri, pa.Table.from_pylist(rows))
    return uri


def write_tar(uri: Path, manifest: str) -> None:
    (shard,) = plan_all(manifest)
    with tarfile.open(uri, "w") as archive:
        for number, (_, audio) in enumerate(shard.read()):
            data = b"no audio" if isinstance(audio, SegmentError) else wav(audio)
            info = tarfile.TarInfo(f"{number:03d}.wav")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def wav(audio: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, audio, 16_000, format="WAV")
    return buffer.getvalue()


def plan_all(source: str) -> list[Shard]:
    plan = plan_shards(source, segments_per_shard=NUM_SEGMENTS)
    return [plan.shard(number) for number in range(plan.num_shards)]


@pytest.fixture(params=["manifest", "packed", "one row group", "tar"])
def shard(request: pytest.FixtureRequest, manifest: str, tmp_path: Path) -> Shard:
    """One shard of all segments, from every kind of source."""
    source = manifest
    if request.param in ("packed", "one row group"):
        source = str(tmp_path / "packed")
        pack(read_manifest(manifest), source, segments_per_shard=NUM_SEGMENTS)
    if request.param == "one row group":
        file = tmp_path / "packed" / "shard-00000.parquet"
        source = str(tmp_path / "one.parquet")
        pq.write_table(pq.read_table(file), source)
    if request.param == "tar":
        source = str(tmp_path / "all.tar")
        write_tar(tmp_path / "all.tar", manifest)
    (shard,) = plan_all(source)
    return shard


def frozen(audio: Iterator[SegmentAudio]) -> list[tuple[str, object]]:
    """Make audio comparable: bytes of a waveform, stage, reason and detail of an error."""
    return [
        (id_, str(a) if isinstance(a, SegmentError) else (a.dtype.str, a.tobytes()))
        for id_, a in audio
    ]


@pytest.mark.parametrize("num_segments", [1, 30, 1000])
def test_the_parts_of_a_shard_are_the_shard(shard: Shard, num_segments: int) -> None:
    parts = list(shard.parts(num_segments))
    assert frozen(a for part, _ in parts for a in part.read()) == frozen(shard.read())
    for part, num_inside in parts:
        waveforms = [a for _, a in part.read() if not isinstance(a, SegmentError)]
        assert len(waveforms) <= num_inside
    if num_segments == 1000:
        assert len(parts) == 1


def test_a_packed_shard_of_rejections_alone_is_one_part(tmp_path: Path) -> None:
    manifest = str(tmp_path / "manifest.jsonl")
    write_manifest(manifest, pa.Table.from_pylist([{"recording": "gone.wav"}]))
    pack(read_manifest(manifest), str(tmp_path / "packed"))
    (shard,) = plan_all(str(tmp_path / "packed"))
    ((part, num_inside),) = shard.parts(SEGMENTS_PER_PART)
    assert num_inside == 0
    assert frozen(part.read()) == frozen(shard.read())


def test_a_shard_is_cut_into_parts_where_it_can_be(manifest: str, tmp_path: Path) -> None:
    (recordings,) = plan_all(manifest)
    parts = [part for part, _ in recordings.parts(30)]
    assert [len(part.segment_ids) for part in parts] == [40] * (NUM_RECORDINGS // 2)
    pack(read_manifest(manifest), str(tmp_path / "packed"), segments_per_shard=NUM_SEGMENTS)
    (packed,) = plan_all(str(tmp_path / "packed"))
    assert [num_inside for _, num_inside in packed.parts(SEGMENTS_PER_PART)] == [32, 32, 32, 32, 5]


@pytest.mark.parametrize("num_in_flight", [1, 3])
def test_audio_that_tasks_read_is_the_same(
    ray_cluster: None, shard: Shard, num_in_flight: int
) -> None:
    read = list(read_remotely(shard, num_in_flight))
    assert frozen(iter(read)) == frozen(shard.read())
    assert all(audio.flags.writeable for _, audio in read if not isinstance(audio, SegmentError))


def test_a_part_that_is_too_large_for_memory_is_read_here(
    ray_cluster: None, manifest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shard,) = plan_all(manifest)
    monkeypatch.setattr(decoding, "LARGEST_PART", 39)
    monkeypatch.setattr(decoding, "_read_part", None)
    assert frozen(read_remotely(shard, 2)) == frozen(shard.read())


@dataclass(frozen=True)
class DeadlyShard:
    """Kills the process that reads it as long as there is no mark, or fails."""

    mark: str
    error: type[Exception] | None = None
    segment_ids: tuple[str, ...] = ("a",)

    def read(self) -> Iterator[SegmentAudio]:
        if self.error is not None:
            raise self.error("503 Slow Down")
        if not Path(self.mark).exists():
            Path(self.mark).touch()
            os._exit(1)
        yield "a", np.zeros(400, np.float32)

    def parts(self, num_segments: int) -> Iterator[tuple[Self, int]]:
        yield self, 1


def test_a_decoder_that_dies_is_replaced(ray_cluster: None, tmp_path: Path) -> None:
    ((segment_id, audio),) = read_remotely(DeadlyShard(mark=str(tmp_path / "died")), 2)
    assert (segment_id, len(audio)) == ("a", 400)


def test_a_storage_that_is_gone_is_told_as_it_is(ray_cluster: None, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="503 Slow Down"):
        list(read_remotely(DeadlyShard(mark=str(tmp_path / "died"), error=OSError), 2))


def test_scores_do_not_depend_on_who_decodes(
    ray_cluster: None, manifest: str, tmp_path: Path
) -> None:
    options = {"model_uri": "random:demo?seed=0", "devices": "cpu", "max_rejected": 1.0}
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    score(manifest, output=here, local=True, **options)
    summary = score(manifest, output=there, num_workers=1, num_decoders=2, **options)
    assert content_hash(here) == content_hash(there)
    assert summary.num_segments == NUM_SEGMENTS
    assert summary.num_rejections_by_reason == {
        Reason.RECORDING_NOT_FOUND: SEGMENTS_PER_RECORDING,
        Reason.BEYOND_END: NUM_RECORDINGS - 1,
    }


@pytest.mark.parametrize(("num_decoders", "local"), [(-1, False), (2, True)])
def test_decoders_that_make_no_sense_are_refused(
    manifest: str, tmp_path: Path, num_decoders: int, local: bool
) -> None:
    with pytest.raises(ConfigError, match="--decoders"):
        score(
            manifest,
            model_uri="random:demo?seed=0",
            output=str(tmp_path / "run"),
            num_decoders=num_decoders,
            local=local,
        )
    assert not storage.exists(str(tmp_path / "run"))
