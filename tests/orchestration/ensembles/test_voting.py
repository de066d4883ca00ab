"""Votes on runs: what comes out is a run like any other, whoever dies on the way."""

import dataclasses
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.auditing import audit_runs
from orchestration.commits import RunIdentity
from orchestration.committed import committed_files, content_hash
from orchestration.ensembles.voting import vote_on_runs
from orchestration.exporting import export
from orchestration.ledger import Ledger
from ser_model.schema import CLEAN, Prediction, Reason, Rejection, RunError, Stage, UnfinishedError

IDS = [f"segment {number:02}" for number in range(40)]
EMOTIONS = ("anger", "joy", "sadness")
IDENTITY = RunIdentity(
    model_uri="models:/ann/1",
    model_version="ann/1",
    weights_sha256="a",
    dtype="float32",
    embeddings=False,
    num_threads=1,
    source_sha256="source",
    num_segments=len(IDS),
    num_shards=2,
)


def predict(random: np.random.Generator, segment_id: str, task: str) -> Prediction:
    values = random.dirichlet(np.ones(3)).astype(np.float32).tolist()
    return Prediction(
        segment_id=segment_id,
        condition=CLEAN,
        duration_s=1.5,
        dimensions=tuple(values) if task == "dimensions" else None,
        emotion_scores=dict(zip(EMOTIONS, values, strict=True)) if task == "emotion" else None,
    )


def write_run(
    folder: Path, name: str, *, ids=IDS, rejected=(), task="emotion", **changes: str
) -> str:
    """A run of two shards by model models:/NAME/1."""
    identity = dataclasses.replace(
        IDENTITY,
        **{
            "model_uri": f"models:/{name}/1",
            "model_version": f"{name}/1",
            "weights_sha256": name,
            **changes,
        },
    )
    ledger = Ledger(str(folder / name), identity)
    ledger.start({})
    random = np.random.default_rng(ord(name[0]))
    halves = ids[:15], ids[15:]
    for shard, half in enumerate(halves):
        outcomes = [
            Rejection(
                segment_id=segment_id,
                condition=CLEAN,
                stage=Stage.READ,
                reason=Reason.NOT_AUDIO,
                detail="noise",
            )
            if segment_id in rejected
            else predict(random, segment_id, task)
            for segment_id in half
        ]
        ledger.commit(
            condition=CLEAN, shard=shard, attempt="a", segment_ids=half, outcomes=outcomes
        )
    ledger.complete([len(half) for half in halves], [CLEAN])
    return str(folder / name)


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    return [
        write_run(tmp_path, "bob", rejected=IDS[:1]),
        write_run(tmp_path, "ann", rejected=IDS[:2]),
        write_run(tmp_path, "cat"),
    ]


def test_what_comes_out_is_a_run(runs: list[str], tmp_path: Path) -> None:
    output = str(tmp_path / "vote")
    summary = vote_on_runs(runs, output)
    assert (summary.vote, summary.num_segments, summary.num_predictions) == ("hard", 40, 38)
    assert summary.num_rejections_by_reason == {"not_audio": 2}
    assert summary.num_rejected_by_member == {"ann/1": 2, "bob/1": 1, "cat/1": 0}
    assert content_hash(output) == summary.content_sha256

    run = committed_files(output).run
    assert run["identity"]["model_version"] == "hard(ann/1+bob/1+cat/1)"
    assert run["identity"]["model_uri"] == (
        "ensemble:hard(models:/ann/1+models:/bob/1+models:/cat/1)"
    )
    assert [member["run"] for member in run["ensemble"]["members"]] == sorted(runs)

    assert export(output, str(tmp_path / "out.parquet")) == 38
    votes: dict[str, list[str]] = {}
    for uri in runs:
        export(uri, str(tmp_path / "member.parquet"))
        for row in pq.read_table(tmp_path / "member.parquet").to_pylist():
            votes.setdefault(row["segment_id"], []).append(row["emotion"])
    for row in pq.read_table(tmp_path / "out.parquet").to_pylist():
        counts = Counter(votes[row["segment_id"]])
        assert counts[row["emotion"]] == max(counts.values())
        assert row["duration_s"] == 1.5
        assert sum(dict(row["emotion_scores"]).values()) == pytest.approx(1.0)

    export(output, str(tmp_path / "out.jsonl"), rejections=True)
    rejections = (tmp_path / "out.jsonl").read_text()
    assert '"detail": "ann/1: noise; bob/1: noise"' in rejections


def test_an_audit_takes_the_run(runs: list[str], tmp_path: Path) -> None:
    output = str(tmp_path / "vote")
    vote_on_runs(runs, output)
    metadata = pa.table(
        {
            "segment_id": IDS,
            "speaker_id": [f"speaker {number % 5}" for number in range(40)],
            "emotion": [EMOTIONS[number % 3] for number in range(40)],
        }
    )
    pq.write_table(metadata, tmp_path / "metadata.parquet")
    audited = audit_runs(
        [output, runs[0]],
        str(tmp_path / "metadata.parquet"),
        str(tmp_path / "audit"),
        num_replicates=5,
    )
    models = {row["model_version"]: row["matched"] for row in audited.audit["ledger"]["models"]}
    assert models == {"hard(ann/1+bob/1+cat/1)": 38, "bob/1": 39}


def test_neither_the_order_of_the_runs_nor_a_second_call_changes_anything(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = vote_on_runs(runs, str(tmp_path / "vote"))
    shuffled = vote_on_runs([runs[2], runs[0], runs[1]], str(tmp_path / "shuffled"), vote="hard")
    assert shuffled.content_sha256 == first.content_sha256
    monkeypatch.setattr("pipelines.ensemble.compare_members", None)  # calling it would fail
    assert vote_on_runs(runs, str(tmp_path / "vote")) == first


def test_a_vote_that_died_goes_on(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.member_comparison.SEGMENTS_PER_SHARD", 10)
    expected = vote_on_runs(runs, str(tmp_path / "alive")).content_sha256
    commit, done = Ledger.commit, []

    def die_at_the_third(self, **work):
        if len(done) == 2:
            raise OSError("the disk is gone")
        done.append(commit(self, **work))

    monkeypatch.setattr(Ledger, "commit", die_at_the_third)
    with pytest.raises(UnfinishedError, match="the disk is gone"):
        vote_on_runs(runs, str(tmp_path / "vote"))
    monkeypatch.setattr(Ledger, "commit", commit)
    with pytest.raises(RunError, match="not complete"):
        committed_files(str(tmp_path / "vote"))
    assert vote_on_runs(runs, str(tmp_path / "vote")).content_sha256 == expected
    names = [path.name for path in (tmp_path / "vote" / "commits" / CLEAN).iterdir()]
    assert sorted(names) == [f"shard-0000{number}.json" for number in range(4)]
    assert content_hash(str(tmp_path / "vote")) == expected


def test_a_folder_with_another_run_is_left_alone(runs: list[str], tmp_path: Path) -> None:
    before = sorted(path.name for path in Path(runs[0]).iterdir())
    with pytest.raises(RunError, match="bob holds another run; choose another --output"):
        vote_on_runs(runs, runs[0])
    assert sorted(path.name for path in Path(runs[0]).iterdir()) == before
    vote_on_runs(runs, str(tmp_path / "vote"))
    with pytest.raises(RunError, match="was made with another model_uri"):
        vote_on_runs(runs, str(tmp_path / "vote"), vote="soft")


def test_dimensions_are_averaged_where_nothing_else_is_asked_for(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, name, task="dimensions") for name in ("ann", "bob")]
    summary = vote_on_runs(runs, str(tmp_path / "vote"))
    assert (summary.vote, summary.num_predictions) == ("mean", 40)


def test_nothing_is_committed_where_members_differ(runs: list[str], tmp_path: Path) -> None:
    runs.append(write_run(tmp_path, "dan", ids=[*IDS[:-1], "another"]))
    message = (
        "the members have different segments: ann/1 lacks 1 that others have ('another'); bob/1 "
        "lacks 1 that others have ('another'); cat/1 lacks 1 that others have ('another'); dan/1 "
        "lacks 1 that others have ('segment 39')"
    )
    with pytest.raises(RunError, match=re.escape(message)):
        vote_on_runs(runs, str(tmp_path / "vote"))
    assert [path.name for path in (tmp_path / "vote").iterdir()] == ["members.json"]


def test_the_same_model_has_one_vote(tmp_path: Path) -> None:
    runs = [write_run(tmp_path, "ann"), write_run(tmp_path, "bob", weights_sha256="ann")]
    with pytest.raises(RunError, match=r"ann and .*bob are of the same model, which has one vote"):
        vote_on_runs(runs, str(tmp_path / "vote"))


def test_one_run_and_a_run_that_was_voted_are_refused(runs: list[str], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="1 run is no ensemble"):
        vote_on_runs(runs[:1], str(tmp_path / "vote"))
    vote_on_runs(runs, str(tmp_path / "vote"))
    with pytest.raises(RunError, match="was voted itself"):
        vote_on_runs([str(tmp_path / "vote"), runs[0]], str(tmp_path / "again"))


def test_files_that_predict_both_need_a_word(tmp_path: Path) -> None:
    files = []
    for name, value in (("ann", 0.25), ("bob", 0.5)):
        table = {"segment_id": IDS, "emotion": ["joy"] * 40, "valence": [value] * 40}
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
        files.append(str(tmp_path / f"{name}.parquet"))
    with pytest.raises(RunError, match="predict both emotions and dimensions"):
        vote_on_runs(files, str(tmp_path / "vote"))
    summary = vote_on_runs(files, str(tmp_path / "vote"), vote="mean")
    assert summary.num_predictions == 40
    assert committed_files(str(tmp_path / "vote")).run["identity"]["model_version"] == (
        "mean(ann+bob)"
    )
