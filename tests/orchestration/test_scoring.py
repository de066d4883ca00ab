"""Scoring from source to complete run: every row once, the same rows whoever scores them."""

import itertools
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from orchestration import run_job
from orchestration.actors import ScoringActor
from orchestration.committed import committed_files, content_hash
from orchestration.scoring import ScoreSummary, score
from orchestration.segmenting import Segmenting
from pipelines.pack import pack
from ser_model import storage
from ser_model.manifest import read_manifest, write_manifest
from ser_model.schema import (
    ConfigError,
    ManifestError,
    ModelError,
    RunError,
    TooManyRejectedError,
    UnfinishedError,
)

MODEL = "random:demo?seed=0"
NUM_RECORDINGS, NUM_SEGMENTS = 5, 17
BAD = {
    "gone": "recording_not_found",
    "text": "not_audio",
    "backwards": "end_before_start",
    "beyond": "beyond_end",
    "short": "too_short",
}


def write_corpus(folder: str, write_recording) -> str:
    """Five recordings of 3 segments, of which three end badly, and two files that are no audio."""
    rows = []
    for number in range(NUM_RECORDINGS):
        recording = f"talk {number}.flac"
        write_recording(storage.join(folder, recording), duration_s=2.5, seed=number)
        rows += [
            {
                "segment_id": f"{number}-{start_s}",
                "recording": recording,
                "start_s": start_s,
                "end_s": start_s + 1 + number / 10,
            }
            for start_s in (0.0, 0.5, 1.0)
        ]
    rows[1] |= {"segment_id": "backwards", "start_s": 1.0, "end_s": 0.5}
    rows[5] |= {"segment_id": "beyond", "start_s": 2.0, "end_s": 3.0}
    rows[9] |= {"segment_id": "short", "start_s": 1.0, "end_s": 1.01}
    storage.write_atomic(storage.join(folder, "text.wav"), b"this is no audio")
    rows += [{"segment_id": name, "recording": f"{name}.wav"} for name in ("gone", "text")]
    manifest = storage.join(folder, "manifest.jsonl")
    write_manifest(manifest, pa.Table.from_pylist(rows))
    return manifest


@pytest.fixture
def manifest(tmp_path: Path, write_recording) -> str:
    return write_corpus(str(tmp_path / "corpus"), write_recording)


def score_manifest(manifest: str, run: object, **options: object) -> ScoreSummary:
    defaults = {
        "model_uri": MODEL,
        "devices": "cpu",
        "local": True,
        "max_rejected": 1.0,
        "segments_per_shard": 4,
    }
    return score(manifest, output=str(run), **{**defaults, **options})


def rows(run: object) -> tuple[list[dict], list[dict]]:
    committed = committed_files(str(run))
    predictions, rejections = (
        [row for uri in uris for row in storage.read_table(uri).to_pylist()]
        for uris in (committed.predictions, committed.rejections)
    )
    return predictions, rejections


def test_every_row_ends_in_exactly_one_of_predictions_and_rejections(
    folder: str, write_recording
) -> None:
    manifest = write_corpus(storage.join(folder, "corpus"), write_recording)
    run = storage.join(folder, "run")
    summary = score_manifest(manifest, run)
    predictions, rejections = rows(run)
    ids = [row["segment_id"] for row in (*predictions, *rejections)]
    assert sorted(ids) == sorted(read_manifest(manifest)["segment_id"].to_pylist())
    assert {row["segment_id"]: row["reason"] for row in rejections} == BAD
    assert (summary.num_predictions, summary.num_rejections) == (12, 5)
    assert summary.num_rejections_by_reason == dict.fromkeys(BAD.values(), 1)
    assert summary.num_segments == summary.num_scored_now == NUM_SEGMENTS
    assert summary.audio_s == pytest.approx(sum(row["duration_s"] for row in predictions))
    assert all(np.isfinite([row["arousal"], row["valence"]]).all() for row in predictions)
    assert {row["condition"] for row in (*predictions, *rejections)} == {"clean"}


def test_workers_change_nothing(manifest: str, tmp_path: Path, ray_cluster: None) -> None:
    score_manifest(manifest, tmp_path / "here")
    # One worker, and one that is killed, are in tests/integration/test_kill_and_resume.py.
    score_manifest(manifest, tmp_path / "two", local=False, num_workers=2)
    assert content_hash(str(tmp_path / "here")) == content_hash(str(tmp_path / "two"))


def test_packing_changes_only_what_16_bits_change(manifest: str, tmp_path: Path) -> None:
    pack(read_manifest(manifest), str(tmp_path / "shards"), segments_per_shard=4)
    score_manifest(manifest, tmp_path / "direct")
    score_manifest(str(tmp_path / "shards"), tmp_path / "packed")
    (direct, direct_rejections), (packed, packed_rejections) = (
        rows(tmp_path / "direct"),
        rows(tmp_path / "packed"),
    )
    reasons = [
        {r["segment_id"]: r["reason"] for r in rs} for rs in (direct_rejections, packed_rejections)
    ]
    assert reasons[0] == reasons[1] == BAD
    expected = {row["segment_id"]: row["arousal"] for row in direct}
    assert {row["segment_id"]: row["arousal"] for row in packed} == pytest.approx(
        expected, abs=1e-3
    )


def fail_at_the_fourth_call(error: BaseException | None):
    """Return a score_shard whose fourth call raises, or gets SIGTERM for None.

    The second and third wait for it, or they might have ended all work before it comes.
    """
    real, numbers, has_failed = ScoringActor.score_shard, itertools.count(1), threading.Event()

    def score_shard(self: ScoringActor, *args: object):
        number = next(numbers)
        if number == 4:
            has_failed.set()
            if error is not None:
                raise error
            # As the kernel does it: sent from outside, a signal goes to the main thread first.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        if number > 1:
            assert has_failed.wait(60)
            while error is None and not self._stopped:
                time.sleep(0.01)  # the main thread takes the signal when it gets to it
        return real(self, *args)

    return score_shard


@pytest.mark.parametrize(
    ("error", "message"),
    [(OSError("503 Slow Down"), "503 Slow Down.*resume"), (None, "SIGTERM.*resume")],
)
def test_a_run_that_was_cut_short_goes_on_where_it_ended(
    manifest: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException | None,
    message: str,
) -> None:
    score_manifest(manifest, tmp_path / "clean")
    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch, pytest.raises(UnfinishedError, match=message):
        # The fourth shard is handed out when one of the first three is committed.
        patch.setattr(ScoringActor, "score_shard", fail_at_the_fourth_call(error))
        score_manifest(manifest, tmp_path / "run")
    assert signal.getsignal(signal.SIGTERM) is handler
    with pytest.raises(RunError, match="not complete"):
        committed_files(str(tmp_path / "run"))
    summary = score_manifest(manifest, tmp_path / "run")
    assert 0 < summary.num_scored_now < NUM_SEGMENTS == summary.num_segments
    assert content_hash(str(tmp_path / "run")) == content_hash(str(tmp_path / "clean"))


def test_a_complete_run_is_left_as_it_is(
    manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = score_manifest(manifest, tmp_path / "run")
    monkeypatch.setattr(run_job, "start_workers", None)
    again = score_manifest(manifest, tmp_path / "run")
    assert (again.num_scored_now, again.padding_waste) == (0, 0.0)
    assert (again.num_segments, again.content_sha256) == (NUM_SEGMENTS, first.content_sha256)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_uri": "random:demo?seed=1"}, "weights_sha256"),
        ({"dtype": "bfloat16"}, "dtype"),
        ({"embeddings": True}, "embeddings"),
        ({"segments_per_shard": 5}, "source_sha256"),
    ],
)
def test_another_run_in_the_same_folder_is_refused(
    manifest: str, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    score_manifest(manifest, tmp_path / "run")
    before = content_hash(str(tmp_path / "run"))
    with pytest.raises(RunError, match=message):
        score_manifest(manifest, tmp_path / "run", **change)
    assert content_hash(str(tmp_path / "run")) == before


def test_too_many_rejections_end_with_3_and_a_complete_run(manifest: str, tmp_path: Path) -> None:
    for _ in range(2):  # the second time there is nothing left to score, and it is told again
        with pytest.raises(TooManyRejectedError, match=r"5 of 17 .*29\.4%.*1 not_audio") as caught:
            score_manifest(manifest, tmp_path / "run", max_rejected=0.05)
    assert caught.value.exit_code == 3
    assert committed_files(str(tmp_path / "run")).run["status"] == "complete"


def test_embeddings_are_kept_where_asked_for(manifest: str, tmp_path: Path) -> None:
    score_manifest(manifest, tmp_path / "run", embeddings=True)
    predictions, _ = rows(tmp_path / "run")
    assert len({len(row["embedding"]) for row in predictions}) == 1
    assert len(predictions[0]["embedding"]) > 1
    assert content_hash(str(tmp_path / "run"))


def test_random_weights_are_announced_loudly(
    manifest: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    score_manifest(manifest, tmp_path / "run")
    assert "RANDOM WEIGHTS" in caplog.text


def test_scoring_here_leaves_the_threads_of_this_process(manifest: str, tmp_path: Path) -> None:
    num_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        score_manifest(manifest, tmp_path / "run")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(num_threads)


@pytest.mark.parametrize(
    "options",
    [{"devices": "tpu"}, {"dtype": "float16"}, {"num_workers": 0}, {"max_rejected": 1.5}],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        score_manifest("absent.csv", tmp_path / "run", **options)


def test_broken_input_leaves_no_run(manifest: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"absent\.csv"):
        score_manifest(str(tmp_path / "absent.csv"), tmp_path / "run")
    with pytest.raises(ModelError):
        score_manifest(manifest, tmp_path / "run", model_uri="random:absent?seed=0")
    assert not (tmp_path / "run").exists()


def test_long_recordings_are_scored_in_windows(tmp_path: Path, write_recording) -> None:
    write_recording(tmp_path / "long.flac", duration_s=10.0)
    manifest = str(tmp_path / "manifest.jsonl")
    rows = [{"recording": "long.flac"}, {"recording": "gone.flac"}]
    write_manifest(manifest, pa.Table.from_pylist(rows))
    windows = Segmenting(window_s=4.0, hop_s=2.0)
    summary = score_manifest(manifest, tmp_path / "run", segmenting=windows)
    assert (summary.num_predictions, summary.num_rejections) == (4, 1)
    (predictions,) = map(storage.read_table, committed_files(str(tmp_path / "run")).predictions)
    assert predictions["duration_s"].to_pylist() == [4.0] * 4
    again = score_manifest(manifest, tmp_path / "run", segmenting=windows)
    assert (again.num_scored_now, again.num_segments) == (0, 5)
    with pytest.raises(RunError, match="hop_s"):
        score_manifest(manifest, tmp_path / "run", segmenting=Segmenting(window_s=4.0, hop_s=1.0))


def test_a_segment_that_is_too_long_is_rejected(tmp_path: Path, write_recording) -> None:
    write_recording(tmp_path / "long.flac", duration_s=3.0)
    manifest = str(tmp_path / "manifest.jsonl")
    write_manifest(manifest, pa.Table.from_pylist([{"recording": "long.flac"}]))
    summary = score_manifest(manifest, tmp_path / "run", max_segment_s=2.0)
    assert summary.num_rejections_by_reason == {"too_long": 1}
    with pytest.raises(RunError, match="source_sha256"):
        score_manifest(manifest, tmp_path / "run", max_segment_s=4.0)


def test_the_summary_says_what_the_time_was_spent_on(manifest: str, tmp_path: Path) -> None:
    summary = score_manifest(manifest, tmp_path / "run")
    times = summary.times
    assert min(times.read_s, times.score_s, times.write_s) > 0
    assert summary.num_workers == 1
    assert 0 < summary.scoring_s < summary.wall_s
    assert summary.limited_by in ("the model", "reading audio", "writing and handing out shards")
