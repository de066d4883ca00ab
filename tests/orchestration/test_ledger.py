"""The ledger: one attempt at a shard counts; a run is complete when all is accounted for."""

import dataclasses
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.commits import Commit, RunIdentity
from orchestration.committed import CommittedRun, committed_files, content_hash
from orchestration.ledger import Ledger
from orchestration.table_hash import table_sha256
from orchestration.tables import predictions_table
from ser_model import storage
from ser_model.schema import (
    CLEAN,
    MANIFEST,
    PREDICTIONS,
    REJECTIONS,
    TRANSCRIPTS,
    Prediction,
    Reason,
    Rejection,
    RunError,
    Stage,
    Transcript,
    UnfinishedError,
)

SHARDS = (("a", "b", "c"), ("d", "e"))
REJECTED = {"b"}


def identity(**changes: object) -> RunIdentity:
    return dataclasses.replace(
        RunIdentity(
            model_uri="models:/demo/1",
            model_version="1",
            weights_sha256="abc",
            dtype="float32",
            embeddings=False,
            num_threads=1,
            source_sha256="def",
            num_segments=5,
            num_shards=2,
        ),
        **changes,
    )


def outcome(segment_id: str, score: float = 0.5) -> Prediction | Rejection:
    if segment_id in REJECTED:
        return Rejection(
            segment_id=segment_id,
            condition=CLEAN,
            stage=Stage.DECODE,
            reason=Reason.NOT_AUDIO,
            detail="is text",
        )
    dimensions = (score, 0.25, ord(segment_id) / 1000)
    return Prediction(segment_id=segment_id, condition=CLEAN, duration_s=1.5, dimensions=dimensions)


def commit(
    ledger: Ledger, shard: int, attempt: str, ids: Sequence[str] | None = None, score: float = 0.5
) -> Commit:
    outcomes = [outcome(segment_id, score) for segment_id in (ids or SHARDS[shard])]
    return ledger.commit(
        condition=CLEAN, shard=shard, attempt=attempt, segment_ids=SHARDS[shard], outcomes=outcomes
    )


def complete(ledger: Ledger) -> dict[str, object]:
    return ledger.complete([len(ids) for ids in SHARDS], [CLEAN])


@pytest.fixture
def ledger(folder: str) -> Ledger:
    ledger = Ledger(storage.join(folder, "run"), identity())
    ledger.start({"source": "m.csv"})
    return ledger


def rows(committed: CommittedRun) -> list[dict[str, object]]:
    tables = [storage.read_table(uri) for uri in (*committed.predictions, *committed.rejections)]
    return [row for table in tables for row in table.to_pylist()]


def test_a_complete_run_holds_every_segment_once(ledger: Ledger) -> None:
    commit(ledger, 1, "x")
    assert ledger.committed(CLEAN) == {1}
    commit(ledger, 0, "y")
    run = complete(ledger)
    assert run["status"] == "complete"
    assert run["counts"] == {
        "num_segments": 5,
        "num_predictions": 4,
        "num_rejections": 1,
        "num_rejections_by_reason": {"not_audio": 1},
        "audio_s": 6.0,
    }
    committed = committed_files(ledger.run_uri)
    assert committed.run == run
    assert sorted(row["segment_id"] for row in rows(committed)) == list("abcde")


def test_the_rows_follow_the_schemas_and_say_where_they_come_from(ledger: Ledger) -> None:
    commit(ledger, 0, "x")
    commit(ledger, 1, "x")
    complete(ledger)
    committed = committed_files(ledger.run_uri)
    assert [storage.read_table(uri).schema for uri in committed.predictions] == [PREDICTIONS] * 2
    assert [storage.read_table(uri).schema for uri in committed.rejections] == [REJECTIONS]
    for row in rows(committed):
        assert row["model_uri"] == "models:/demo/1"
        assert (row["weights_sha256"], row["dtype"], row["schema_version"]) == ("abc", "float32", 1)
        assert re.fullmatch(r"\d+\.\d+\.\d+", row["code_version"])


def test_a_run_of_transcripts_is_kept_likewise(folder: str) -> None:
    made = identity(product="transcripts")
    ledger = Ledger(storage.join(folder, "run"), made)
    ledger.start({})
    transcripts = [
        Transcript(
            segment_id=segment_id,
            condition=CLEAN,
            duration_s=1.5,
            transcript=f'"{segment_id}",\nsaid she',
            transcriber=MANIFEST if segment_id == "a" else "hf:a/b@1",
        )
        for segment_id in "acde"
    ]
    for shard, ids in enumerate(SHARDS):
        outcomes = [o for o in (*transcripts, outcome("b")) if o.segment_id in ids]
        ledger.commit(condition=CLEAN, shard=shard, attempt="x", segment_ids=ids, outcomes=outcomes)
    counts = complete(ledger)["counts"]
    assert (counts["num_transcripts"], counts["num_rejections"]) == (4, 1)
    assert counts["num_by_transcriber"] == {"hf:a/b@1": 3, MANIFEST: 1}
    committed = committed_files(ledger.run_uri, product="transcripts")
    assert committed.schema == TRANSCRIPTS
    tables = [storage.read_table(uri) for uri in committed.predictions]
    assert [table.schema for table in tables] == [TRANSCRIPTS] * 2
    found = {row["segment_id"]: row["transcript"] for row in rows(committed) if "transcript" in row}
    assert found == {t.segment_id: t.transcript for t in transcripts}
    assert content_hash(ledger.run_uri) == committed.run["content_sha256"]
    with pytest.raises(RunError, match=r"holds transcripts \(of `serval transcribe`\)"):
        committed_files(ledger.run_uri)
    with pytest.raises(RunError, match=r"another product \(there transcripts, now predictions\)"):
        Ledger(ledger.run_uri, identity()).start({})


def test_a_zombie_that_comes_after_the_commit_stays_invisible(ledger: Ledger) -> None:
    first = commit(ledger, 0, "first")
    commit(ledger, 1, "first")
    complete(ledger)
    before = (rows(committed_files(ledger.run_uri)), content_hash(ledger.run_uri))
    assert commit(ledger, 0, "zombie", score=0.9) == first
    names = storage.list_names(storage.join(ledger.run_uri, "data", CLEAN))
    assert [name for name in names if "zombie" in name], "the zombie did write"
    assert (rows(committed_files(ledger.run_uri)), content_hash(ledger.run_uri)) == before


def test_an_attempt_that_died_before_its_commit_stays_invisible(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    def die(*args: object) -> bool:
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(storage, "create_if_absent", die)
        commit(ledger, 0, "died", score=0.9)
    assert ledger.committed(CLEAN) == set()
    commit(ledger, 0, "again")
    commit(ledger, 1, "again")
    complete(ledger)
    assert {
        row["arousal"] for row in rows(committed_files(ledger.run_uri)) if "arousal" in row
    } == {0.5}


def test_of_many_attempts_at_once_one_counts(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as pool:
        commits = list(pool.map(lambda n: commit(ledger, 0, f"attempt{n}", score=n / 10), range(8)))
    assert len({c.attempt for c in commits}) == 1
    assert len({c.content_sha256 for c in commits}) == 1


def test_the_content_hash_forgets_attempts_and_order_but_no_value(tmp_path: Path) -> None:
    hashes = []
    for number, (order, score) in enumerate([((0, 1), 0.5), ((1, 0), 0.5), ((0, 1), 0.5000001)]):
        ledger = Ledger(str(tmp_path / f"run{number}"), identity())
        ledger.start({})
        for shard in order:
            backwards = SHARDS[shard][:: -1 if number else 1]
            commit(ledger, shard, f"attempt{number}", backwards, score=score)
        assert complete(ledger)["content_sha256"] == content_hash(ledger.run_uri)
        hashes.append(content_hash(ledger.run_uri))
    assert hashes[0] == hashes[1] != hashes[2]


def test_emotions_and_embeddings_survive_the_round_trip_exactly(tmp_path: Path) -> None:
    prediction = Prediction(
        segment_id="a",
        condition=CLEAN,
        duration_s=0.1,
        emotion_scores={"joy": 0.7, "anger": 0.3},
        embedding=(0.1, 2.0),
    )
    ledger = Ledger(str(tmp_path), identity(embeddings=True))
    ledger.start({})
    ledger.commit(condition=CLEAN, shard=0, attempt="x", segment_ids=["a"], outcomes=[prediction])
    ledger.complete([1], [CLEAN])
    (row,) = rows(committed_files(ledger.run_uri))
    assert row["emotion"] == "joy"
    assert row["emotion_scores"] == [("anger", pytest.approx(0.3)), ("joy", pytest.approx(0.7))]
    assert (row["embedding"][1], row["arousal"]) == (2.0, None)
    assert (
        content_hash(ledger.run_uri)
        == storage.read_json(str(tmp_path / "run.json"))["content_sha256"]
    )


@pytest.mark.parametrize("ids", ["ab", "abcc", "abcx", "abx", ""])
def test_a_shard_that_holds_other_segments_than_planned_is_not_committed(
    ledger: Ledger, ids: str
) -> None:
    outcomes = [outcome(segment_id) for segment_id in ids]
    with pytest.raises(RunError, match="shard-00000"):
        ledger.commit(
            condition=CLEAN, shard=0, attempt="x", segment_ids=SHARDS[0], outcomes=outcomes
        )
    assert ledger.committed(CLEAN) == set()


def test_a_segment_that_is_both_predicted_and_rejected_is_refused(ledger: Ledger) -> None:
    rejection = dataclasses.replace(outcome("b"), segment_id="a")
    with pytest.raises(RunError, match="'a'"):
        ledger.commit(
            condition=CLEAN,
            shard=0,
            attempt="x",
            segment_ids=SHARDS[0],
            outcomes=[*map(outcome, SHARDS[0]), rejection],
        )


def test_a_run_with_a_missing_shard_is_not_complete(ledger: Ledger) -> None:
    commit(ledger, 0, "x")
    with pytest.raises(UnfinishedError, match="1 of 2 shards"):
        complete(ledger)
    with pytest.raises(RunError, match="not complete"):
        committed_files(ledger.run_uri)


def test_commits_that_do_not_add_up_are_refused(ledger: Ledger) -> None:
    commit(ledger, 0, "x")
    commit(ledger, 1, "x")
    with pytest.raises(RunError, match="holds 2 segments, 3 were planned"):
        ledger.complete([3, 3], [CLEAN])


def test_a_commit_of_another_run_is_refused(ledger: Ledger) -> None:
    commit(Ledger(ledger.run_uri, identity(dtype="bfloat16")), 0, "x")
    commit(ledger, 1, "x")
    with pytest.raises(RunError, match="another run"):
        complete(ledger)


def test_starting_again_finds_the_run(ledger: Ledger) -> None:
    assert ledger.start({"source": "elsewhere.csv"})["source"] == "m.csv"


@pytest.mark.parametrize(
    "change",
    [
        {"model_uri": "models:/demo/2"},
        {"weights_sha256": "xyz"},
        {"dtype": "bfloat16"},
        {"embeddings": True},
        {"num_threads": 2},
        {"source_sha256": "xyz"},
        {"code_version": "99.0.0"},
        {"schema_version": 99},
    ],
)
def test_resuming_as_another_run_is_refused_and_says_what_differs(
    ledger: Ledger, change: dict[str, object]
) -> None:
    (name, value), *_ = change.items()
    with pytest.raises(RunError, match=f"{name} .*{value}.*--output"):
        Ledger(ledger.run_uri, identity(**change)).start({})


def test_commits_without_a_run_are_not_adopted(ledger: Ledger, tmp_path: Path) -> None:
    run = Ledger(str(tmp_path / "orphan"), identity())
    commit(run, 0, "x")
    with pytest.raises(RunError, match=r"no run\.json"):
        run.start({})


def test_files_that_are_no_commits_are_passed_over(ledger: Ledger) -> None:
    for name in (".DS_Store", "shard-00001.json.bak", "notes.json"):
        storage.write_atomic(storage.join(ledger.run_uri, "commits", CLEAN, name), b"x")
    assert ledger.committed(CLEAN) == set()


def test_data_that_changed_after_the_commit_are_noticed(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), identity())
    ledger.start({})
    commit(ledger, 0, "x")
    commit(ledger, 1, "x")
    complete(ledger)
    path = tmp_path / "data/clean/shard-00001.x.predictions.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(2, "arousal", pa.array([0.5, 0.6], pa.float32())), path)
    with pytest.raises(RunError, match="shard-00001"):
        content_hash(str(tmp_path))


@pytest.mark.parametrize("change", [b"x", None])
def test_commits_that_changed_after_completion_are_noticed(
    tmp_path: Path, change: bytes | None
) -> None:
    ledger = Ledger(str(tmp_path), identity())
    ledger.start({})
    commit(ledger, 0, "x")
    commit(ledger, 1, "x")
    complete(ledger)
    path = tmp_path / "commits.parquet"
    path.unlink() if change is None else path.write_bytes(path.read_bytes() + change)
    with pytest.raises(RunError, match="changed after" if change else "gone"):
        committed_files(str(tmp_path))


def test_a_run_that_was_completed_without_a_table_of_commits_is_read(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), identity())
    ledger.start({})
    commit(ledger, 0, "x")
    commit(ledger, 1, "x")
    run = complete(ledger)
    expected = committed_files(str(tmp_path))
    del run["commits_sha256"]
    storage.write_json(str(tmp_path / "run.json"), run)
    (tmp_path / "commits.parquet").unlink()
    found = committed_files(str(tmp_path))
    assert (found.predictions, found.rejections) == (expected.predictions, expected.rejections)
    assert content_hash(str(tmp_path)) == run["content_sha256"]
    (tmp_path / "commits/clean/shard-00001.json").unlink()
    with pytest.raises(RunError, match="changed after"):
        committed_files(str(tmp_path))


def test_shards_that_were_not_planned_are_refused(ledger: Ledger) -> None:
    commit(ledger, 0, "x")
    commit(ledger, 1, "x")
    with pytest.raises(RunError, match="holds 2 shards, 1 were planned"):
        ledger.complete([3], [CLEAN])


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"condition": "clean"}', "\xff"])
def test_a_damaged_commit_record_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "shard-00000.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(RunError, match="no commit record"):
        Commit.read(str(path))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run"):
        committed_files(str(tmp_path))
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        committed_files(str(tmp_path))


def test_the_hash_of_a_table_is_one_of_values() -> None:
    predictions = [outcome("a"), outcome("c")]
    table = predictions_table(predictions, identity().provenance())
    again = predictions_table(predictions[::-1], identity().provenance())
    pieces = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert table_sha256(table) == table_sha256(again) == table_sha256(pieces)
    assert table_sha256(table) != table_sha256(table.slice(0, 1))


def test_run_json_is_plain_json_that_people_can_read(tmp_path: Path) -> None:
    Ledger(str(tmp_path), identity()).start({"source": "m.csv", "split": None})
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["status"], run["source"], run["identity"]["dtype"]) == (
        "running",
        "m.csv",
        "float32",
    )
