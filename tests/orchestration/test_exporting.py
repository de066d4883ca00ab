"""Exports: all rows of a run that count, and no others, in the formats that other tools read."""

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestration import exporting
from orchestration.commits import RunIdentity
from orchestration.exporting import export
from orchestration.ledger import Ledger
from ser_model import storage
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


@pytest.mark.parametrize("extension", ["parquet", "csv", "jsonl"])
def test_many_shards_are_written_piece_by_piece_and_read_as_one(
    ledger: Ledger, folder: str, extension: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Ledger(storage.join(folder, "many"), ledger.identity)
    run.start({})
    ids = [f"s{number:03d}" for number in range(100)]
    for shard in range(50):
        inside = ids[2 * shard : 2 * shard + 2]
        outcomes = [outcome(segment_id) for segment_id in inside]
        run.commit(condition=CLEAN, shard=shard, attempt="x", segment_ids=inside, outcomes=outcomes)
    run.complete([2] * 50, [CLEAN])
    outputs = []
    for piece_bytes in (1, 3_000, 1 << 30):
        monkeypatch.setattr(exporting, "PIECE_BYTES", piece_bytes)
        uri = storage.join(folder, f"{piece_bytes}.{extension}")
        assert export(run.run_uri, uri) == 100
        outputs.append(storage.read_bytes(uri))
    if extension == "parquet":
        files = [pq.ParquetFile(io.BytesIO(output)) for output in outputs]
        assert [file.num_row_groups for file in files][::2] == [50, 1]
        assert 1 < files[1].num_row_groups < 50
        assert files[0].read().equals(files[2].read())
        assert files[2].read()["segment_id"].to_pylist() == ids
    else:
        assert outputs[0] == outputs[1] == outputs[2]
        assert all(segment_id.encode() in outputs[0] for segment_id in ids)


def test_a_run_whose_file_is_gone_leaves_no_half_export(run: str, tmp_path: Path) -> None:
    next(tmp_path.glob("run/data/clean/shard-00001.counts.predictions.parquet")).unlink()
    with pytest.raises(FileNotFoundError):
        export(run, str(tmp_path / "out.csv"))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_format_that_is_not_known_is_refused(run: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.jsonl"):
        export(run, str(tmp_path / "out.xlsx"))
