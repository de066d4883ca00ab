"""Exports: all rows of a run that count, and no others, in the formats that other tools read."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestration.commits import RunIdentity
from orchestration.exporting import export
from orchestration.ledger import Ledger
from ser_model.schema import (
    CLEAN,
    PREDICTIONS,
    ConfigError,
    Prediction,
    Reason,
    Rejection,
    RunError,
    Stage,
)

SHARDS = (("b", 'ö, "x"'), ("a", "bad"))


def outcome(segment_id: str) -> Prediction | Rejection:
    if segment_id == "bad":
        return Rejection(
            segment_id="bad",
            condition=CLEAN,
            stage=Stage.READ,
            reason=Reason.NOT_AUDIO,
            detail="a, b",
        )
    return Prediction(
        segment_id=segment_id,
        condition=CLEAN,
        duration_s=1.5,
        emotion_scores={"joy": 0.75, "anger": 0.25},
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    identity = RunIdentity(
        model_uri="models:/demo/1",
        model_version="1",
        weights_sha256="abc",
        dtype="float32",
        embeddings=False,
        num_threads=1,
        source_sha256="def",
        num_segments=4,
        num_shards=2,
    )
    ledger = Ledger(str(tmp_path / "run"), identity)
    ledger.start({})
    for attempt in ("counts", "late"):
        for shard, ids in enumerate(SHARDS):
            ledger.commit(
                condition=CLEAN,
                shard=shard,
                attempt=attempt,
                segment_ids=ids,
                outcomes=[outcome(segment_id) for segment_id in ids],
            )
    return ledger


@pytest.fixture
def run(ledger: Ledger) -> str:
    ledger.complete([2, 2], [CLEAN])
    return ledger.run_uri


def test_parquet_keeps_the_schema(run: str, tmp_path: Path) -> None:
    assert export(run, str(tmp_path / "out.parquet")) == 3
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema == PREDICTIONS
    assert table["segment_id"].to_pylist() == ["b", 'ö, "x"', "a"]


def test_csv_holds_maps_as_json(run: str, tmp_path: Path) -> None:
    assert export(run, str(tmp_path / "out.csv")) == 3
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["segment_id"] for row in rows] == ["b", 'ö, "x"', "a"]
    assert json.loads(rows[0]["emotion_scores"]) == {"anger": 0.25, "joy": 0.75}
    assert (rows[0]["emotion"], rows[0]["arousal"]) == ("joy", "")


def test_jsonl_holds_a_row_a_line(run: str, tmp_path: Path) -> None:
    assert export(run, str(tmp_path / "out.jsonl")) == 3
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert rows[1]["segment_id"] == 'ö, "x"'
    assert rows[1]["emotion_scores"] == {"anger": 0.25, "joy": 0.75}
    assert rows[1]["arousal"] is None


@pytest.mark.parametrize("extension", ["parquet", "csv", "jsonl"])
def test_rejections_are_exported_where_asked_for(run: str, tmp_path: Path, extension: str) -> None:
    assert export(run, str(tmp_path / f"out.{extension}"), rejections=True) == 1


def test_a_run_without_rejections_gives_an_empty_file_with_columns(
    ledger: Ledger, tmp_path: Path
) -> None:
    run = Ledger(str(tmp_path / "other"), ledger.identity)
    run.start({})
    run.commit(condition=CLEAN, shard=0, attempt="x", segment_ids=["a"], outcomes=[outcome("a")])
    run.complete([1], [CLEAN])
    assert export(run.run_uri, str(tmp_path / "out.csv"), rejections=True) == 0
    assert "segment_id" in (tmp_path / "out.csv").read_text().splitlines()[0]


def test_a_run_that_is_not_complete_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not complete"):
        export(ledger.run_uri, str(tmp_path / "out.csv"))
    assert not (tmp_path / "out.csv").exists()


def test_a_format_that_is_not_known_is_refused(run: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.jsonl"):
        export(run, str(tmp_path / "out.xlsx"))
