"""Scoring under conditions: each row once, each recording decoded once, and runs that grow."""

import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile as sf

from orchestration import actors, run_job
from orchestration.actors import ScoringActor
from orchestration.commits import read_run
from orchestration.committed import committed_files, content_hash
from orchestration.exporting import export
from orchestration.hearing import Hearing
from orchestration.ledger import Ledger
from orchestration.rollups import read_complete_commits
from orchestration.score_summary import ScoreSummary
from orchestration.scoring import score
from pipelines.pack import pack
from ser_model import audio, storage
from ser_model.audio_file import AudioFile
from ser_model.augment import SETS
from ser_model.manifest import read_manifest, write_manifest
from ser_model.schema import ConfigError, RunError, TooManyRejectedError, UnfinishedError

FEW = ["fade", "small-append-zeros", "white-noise-20db"]
NUM_SEGMENTS = 14


@pytest.fixture
def manifest(tmp_path: Path, write_recording) -> str:
    """Four recordings of three segments, one that is silent, and one that is not there."""
    rows = []
    for number in range(4):
        write_recording(tmp_path / "corpus" / f"{number}.flac", duration_s=2.5, seed=number)
        rows += [
            {"segment_id": f"{number}-{start}", "recording": f"{number}.flac"}
            | {"start_s": start, "end_s": start + 1 + number / 10}
            for start in (0.0, 0.5, 1.0)
        ]
    write_recording(tmp_path / "corpus" / "silent.flac", samples=np.zeros(16_000))
    rows += [{"segment_id": name, "recording": f"{name}.flac"} for name in ("silent", "gone")]
    write_manifest(str(tmp_path / "corpus" / "manifest.jsonl"), pa.Table.from_pylist(rows))
    return str(tmp_path / "corpus" / "manifest.jsonl")


@pytest.fixture
def noise(tmp_path: Path) -> str:
    for number, kind in enumerate(("natural", "human", "interior", "music")):
        (tmp_path / "noise" / kind).mkdir(parents=True)
        sound = 0.1 * np.random.default_rng(number).standard_normal(24_000)
        sf.write(tmp_path / "noise" / kind / "sound.wav", sound, 16_000)
    return str(tmp_path / "noise")


def score_under(
    manifest: str, run: object, conditions: list[str], **options: object
) -> ScoreSummary:
    defaults = {
        "model_uri": "random:demo?seed=0",
        "devices": "cpu",
        "local": True,
        "max_rejected": 1.0,
        "segments_per_shard": 4,
    }
    return score(manifest, output=str(run), conditions=conditions, **{**defaults, **options})


def rows(run: object) -> tuple[list[dict], list[dict]]:
    committed = committed_files(str(run))
    predictions, rejections = (
        [row for uri in uris for row in storage.read_table(uri).to_pylist()]
        for uris in (committed.predictions, committed.rejections)
    )
    return predictions, rejections


def contents(run: object) -> dict[tuple[str, int], str]:
    """Return the hash of the rows of each condition and shard, as they were committed."""
    commits = read_complete_commits(str(run), read_run(str(run))).to_pylist()
    return {(row["condition"], row["shard"]): row["content_sha256"] for row in commits}


def exported(run: object, folder: Path) -> list[bytes]:
    folder.mkdir()
    for rejections in (False, True):
        export(str(run), str(folder / f"{rejections}.csv"), rejections=rejections)
    return [(folder / f"{rejections}.csv").read_bytes() for rejections in (False, True)]


def test_every_row_under_every_condition_is_in_exactly_one_of_predictions_and_rejections(
    manifest: str, tmp_path: Path
) -> None:
    summary = score_under(manifest, tmp_path / "run", FEW)
    predictions, rejections = rows(tmp_path / "run")
    found = Counter((row["segment_id"], row["condition"]) for row in (*predictions, *rejections))
    ids = read_manifest(manifest)["segment_id"].to_pylist()
    assert found == Counter((i, condition) for i in ids for condition in ("clean", *FEW))
    assert {(r["segment_id"], r["condition"], r["stage"], r["reason"]) for r in rejections} == {
        *(("gone", name, "read", "recording_not_found") for name in ("clean", *FEW)),
        ("silent", "white-noise-20db", "augment", "silent_segment"),
    }
    assert summary.num_segments == summary.num_scored_now == 4 * NUM_SEGMENTS
    by_reason = {"recording_not_found": 4, "silent_segment": 1}
    assert summary.num_rejections_by_reason == by_reason
    assert summary.times.augment_s > 0


def test_rows_are_scored_under_their_condition(manifest: str, tmp_path: Path) -> None:
    score_under(manifest, tmp_path / "run", FEW)
    predictions, _ = rows(tmp_path / "run")
    by_condition = {
        name: {r["segment_id"]: r for r in predictions if r["condition"] == name}
        for name in ("clean", *FEW)
    }
    clean = by_condition["clean"]
    longer = by_condition["small-append-zeros"]
    appended = {round((longer[i]["duration_s"] - clean[i]["duration_s"]) * 16_000) for i in clean}
    assert appended <= {100, 500, 1000}
    for name in ("fade", "white-noise-20db"):
        same = [i for i, row in by_condition[name].items() if row["arousal"] == clean[i]["arousal"]]
        assert same in ([], ["silent"])  # silence fades to silence


def test_a_run_says_what_it_counts_under_each_condition(manifest: str, tmp_path: Path) -> None:
    summary = score_under(manifest, tmp_path / "run", FEW, seed=3)
    run = read_run(str(tmp_path / "run"))
    assert run["conditions"] == ["clean", *FEW]
    assert run["augmentation"] == {"seed": 3}
    predictions, rejections = rows(tmp_path / "run")
    assert summary.counts_by_condition == run["counts_by_condition"]
    for name, counts in run["counts_by_condition"].items():
        here = [row for row in predictions if row["condition"] == name]
        num_rejections = sum(row["condition"] == name for row in rejections)
        assert counts["num_predictions"] == len(here)
        assert counts["num_rejections"] == num_rejections
        assert counts["num_segments"] == NUM_SEGMENTS
        assert counts["audio_s"] == pytest.approx(sum(row["duration_s"] for row in here))
    assert (
        sum(c["num_predictions"] for c in run["counts_by_condition"].values())
        == (run["counts"]["num_predictions"])
    )


@pytest.mark.parametrize("packed", [False, True])
def test_audio_is_decoded_once_for_all_conditions(
    manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    num_opened = num_frames = 0

    class CountingFile(AudioFile):
        def __init__(self, *args: object) -> None:
            nonlocal num_opened
            num_opened += 1
            super().__init__(*args)

        def blocks(self) -> Iterator[np.ndarray]:
            nonlocal num_frames
            for block in super().blocks():
                num_frames += len(block)
                yield block

    if packed:
        pack(read_manifest(manifest), str(tmp_path / "shards"), segments_per_shard=4)
        manifest = str(tmp_path / "shards")
    monkeypatch.setattr(audio, "AudioFile", CountingFile)
    decoded = []
    for conditions in ([], FEW, ["severity"]):
        num_opened = num_frames = 0
        score_under(manifest, tmp_path / f"run {len(conditions)} {conditions[:1]}", conditions)
        decoded.append((num_opened, num_frames))
    assert decoded[0][0] == (13 if packed else 5)  # segments, or recordings, that are there
    assert decoded[0] == decoded[1] == decoded[2]


def test_a_run_that_is_extended_is_one_that_had_all_conditions_from_the_beginning(
    manifest: str, noise: str, tmp_path: Path
) -> None:
    everything = [*FEW, "natural-10db", "music-20db"]
    score_under(manifest, tmp_path / "at once", everything[::-1], noise_uri=noise)
    run = tmp_path / "run"
    first = score_under(manifest, run, [])
    scored = [first.num_scored_now]
    for conditions, noise_uri in (
        (["fade"], None),
        (["fade", "music-20db"], noise),
        (["severity"], None),
        (everything, noise),
    ):
        scored.append(score_under(manifest, run, conditions, noise_uri=noise_uri).num_scored_now)
    # The first four steps make what is asked for, the fifth what is left of it.
    assert scored == [NUM_SEGMENTS * num for num in (1, 1, 1, 7, 2)]
    ours, theirs = contents(run), contents(tmp_path / "at once")
    assert {key: ours[key] for key in theirs} == theirs
    severity = {name for name in SETS["severity"] if name not in everything}
    assert {condition for condition, _ in ours.keys() - theirs.keys()} == severity
    score_under(manifest, tmp_path / "at once", ["severity"])
    assert content_hash(str(run)) == content_hash(str(tmp_path / "at once"))
    assert exported(run, tmp_path / "a") == exported(tmp_path / "at once", tmp_path / "b")
    both = [read_run(str(r)) for r in (run, tmp_path / "at once")]
    for key in ("conditions", "counts", "counts_by_condition", "augmentation", "content_sha256"):
        assert both[0][key] == both[1][key]


def test_clean_rows_do_not_depend_on_conditions(manifest: str, tmp_path: Path) -> None:
    score_under(manifest, tmp_path / "alone", [])
    score_under(manifest, tmp_path / "among", FEW)
    alone, among = contents(tmp_path / "alone"), contents(tmp_path / "among")
    assert {key: value for key, value in among.items() if key[0] == "clean"} == alone


def test_what_a_run_has_already_is_not_done_again(
    manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = score_under(manifest, tmp_path / "run", FEW)
    monkeypatch.setattr(run_job, "start_workers", None)
    for conditions in (FEW, ["fade"], [], ["clean"]):
        again = score_under(manifest, tmp_path / "run", conditions)
        assert (again.num_scored_now, again.num_segments) == (0, 4 * NUM_SEGMENTS)
        assert again.content_sha256 == first.content_sha256


def test_windows_of_a_long_shard_change_with_no_condition_beside(
    manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each shard is several windows here; the batches of a condition are its own all the same."""
    monkeypatch.setattr(actors, "Hearing", partial(Hearing, window_s=2.0))
    conditions = ["fade", "small-append-zeros"]
    score_under(manifest, tmp_path / "at once", conditions, segments_per_shard=100)
    for part in ([], ["small-append-zeros"], conditions):
        score_under(manifest, tmp_path / "run", part, segments_per_shard=100)
    assert content_hash(str(tmp_path / "run")) == content_hash(str(tmp_path / "at once"))
    assert len(rows(tmp_path / "run")[0]) == 3 * (NUM_SEGMENTS - 1)


def test_a_run_that_was_cut_short_keeps_the_conditions_that_were_done(
    manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_under(manifest, tmp_path / "clean", FEW)
    real, room = Ledger.commit, threading.Semaphore(6)

    def fail(self: Ledger, **fields: object) -> object:
        if not room.acquire(blocking=False):
            raise OSError("No space left on device")
        return real(self, **fields)

    with monkeypatch.context() as patch, pytest.raises(UnfinishedError, match="No space left"):
        patch.setattr(Ledger, "commit", fail)
        score_under(manifest, tmp_path / "run", FEW)
    done = list((tmp_path / "run" / "commits").rglob("shard-*.json"))
    assert len(done) == 6
    summary = score_under(manifest, tmp_path / "run", FEW)
    assert 0 < summary.num_scored_now < 4 * NUM_SEGMENTS
    assert content_hash(str(tmp_path / "run")) == content_hash(str(tmp_path / "clean"))


def test_an_extension_that_was_cut_short_leaves_the_run_as_it_was(
    manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    score_under(manifest, run, [])
    before = (read_run(str(run)), exported(run, tmp_path / "before"))

    def fail(uri: str, content: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(UnfinishedError):
        patch.setattr(storage, "write_json", fail)  # run.json would be next
        score_under(manifest, run, FEW)
    assert (read_run(str(run)), exported(run, tmp_path / "after")) == before
    assert content_hash(str(run)) == before[0]["content_sha256"]
    assert score_under(manifest, run, FEW).num_scored_now == 0
    score_under(manifest, tmp_path / "at once", FEW)
    assert content_hash(str(run)) == content_hash(str(tmp_path / "at once"))


def test_two_drivers_that_extend_a_run_lose_nothing_of_each_other(
    manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one adds a condition, another one adds its own from beginning to end."""
    run = tmp_path / "run"
    score_under(manifest, run, [])
    real = run_job._work

    def work(*args: object) -> None:
        real(*args)
        monkeypatch.setattr(run_job, "_work", real)
        score_under(manifest, run, ["small-append-zeros"])

    monkeypatch.setattr(run_job, "_work", work)
    score_under(manifest, run, ["fade"])
    score_under(manifest, tmp_path / "at once", ["fade", "small-append-zeros"])
    assert read_run(str(run))["conditions"] == ["clean", "fade", "small-append-zeros"]
    assert content_hash(str(run)) == content_hash(str(tmp_path / "at once"))


def test_workers_on_ray_change_nothing(
    manifest: str, noise: str, tmp_path: Path, ray_cluster: None
) -> None:
    conditions, options = [*FEW, "music-20db"], {"noise_uri": noise, "seed": 5}
    score_under(manifest, tmp_path / "here", conditions, **options)
    score_under(manifest, tmp_path / "two", ["fade"], seed=5, local=False, num_workers=2)
    more = {"num_workers": 1, "num_decoders": 1, **options}
    score_under(manifest, tmp_path / "two", conditions, local=False, **more)
    assert content_hash(str(tmp_path / "two")) == content_hash(str(tmp_path / "here"))


def test_another_seed_or_noise_folder_is_refused_and_nothing_is_scored(
    manifest: str, noise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    score_under(manifest, run, ["music-20db"], noise_uri=noise)
    before = content_hash(str(run))
    monkeypatch.setattr(run_job, "start_workers", None)
    with pytest.raises(RunError, match=r"another seed \(there 0, now 1\)"):
        score_under(manifest, run, ["fade"], seed=1)
    sound = 0.1 * np.random.default_rng(9).standard_normal(24_000)
    sf.write(Path(noise) / "music" / "another.wav", sound, 16_000)
    with pytest.raises(RunError, match="another noise folder"):
        score_under(manifest, run, ["natural-10db"], noise_uri=noise)
    assert content_hash(str(run)) == before


def test_conditions_that_cannot_be_are_refused_before_a_run_is_made(
    manifest: str, tmp_path: Path
) -> None:
    for conditions, message in ((["loud"], "no condition 'loud'"), (["wagner"], "no noise folder")):
        with pytest.raises(ConfigError, match=message):
            score_under(manifest, tmp_path / "run", conditions)
    assert not (tmp_path / "run").exists()


def test_the_limit_of_rejections_is_of_the_whole_run(manifest: str, tmp_path: Path) -> None:
    """One of 14 clean segments is rejected, and one more of the noisy ones."""
    with pytest.raises(TooManyRejectedError, match=r"3 of 28 .*10\.7%"):
        score_under(manifest, tmp_path / "run", ["white-noise-20db"], max_rejected=0.1)
    assert score_under(manifest, tmp_path / "run", FEW, max_rejected=0.1).num_rejections == 5


def test_a_failing_worker_leaves_no_shard_half_committed(
    manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader fails after some conditions of a shard are committed: those are whole."""
    real = ScoringActor._audio

    def break_off(self: ScoringActor, shard: object) -> Iterator[object]:
        for number, segment in enumerate(real(self, shard)):
            if number == 2:
                raise OSError("the store is gone")
            yield segment

    with monkeypatch.context() as patch, pytest.raises(UnfinishedError, match="the store is gone"):
        patch.setattr(ScoringActor, "_audio", break_off)
        score_under(manifest, tmp_path / "run", FEW, segments_per_shard=100)
    assert not list((tmp_path / "run" / "commits").rglob("shard-*.json"))
    score_under(manifest, tmp_path / "run", FEW, segments_per_shard=100)
    assert len(rows(tmp_path / "run")[0]) == 4 * NUM_SEGMENTS - 5
