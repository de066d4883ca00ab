"""Parquet files as the library datasets writes them, and broken ones."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.commands import manifest as manifest_command
from orchestration.readers.catalogue import read_corpus
from orchestration.shards import plan_shards
from ser_model import storage
from ser_model.manifest import read_metadata
from ser_model.schema import ConfigError, ManifestError

FEATURES = {
    "audio": {"sampling_rate": 16000, "_type": "Audio"},
    "emotion": {"names": ["anger", "happiness"], "_type": "ClassLabel"},
    "speaker": {"dtype": "string", "_type": "Value"},
}


def write_dataset(uri: str, rows: list[dict], features: object = None) -> str:
    """Write rows with the features that the library notes in the schema."""
    table = pa.Table.from_pylist(rows)
    noted = json.dumps({"info": {"features": FEATURES if features is None else features}})
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"huggingface": noted}), buffer)
    storage.write_atomic(uri, buffer.getvalue())
    return uri


def row(name: str, **fields: object) -> dict:
    known = {"emotion": 0, "speaker": "s1", "gender": "F", "sentence": "hallo", "spans": [1]}
    return {"audio": {"bytes": b"x", "path": name}} | known | fields


def test_metadata_of_the_segments_that_scoring_sees(folder: str) -> None:
    train = write_dataset(
        storage.join(folder, "data/train-00000-of-00001.parquet"), [row("a.wav"), row("b.wav")]
    )
    test = write_dataset(
        storage.join(folder, "data/validation-00000-of-00001.parquet"),
        [row("c.wav", emotion=1, gender=None), row("d.wav", emotion=-1, speaker=None)],
    )
    corpus = read_corpus(folder)
    assert corpus.reader == "huggingface"
    known = {"speaker_id": "s1", "gender": "F", "sex": "female", "transcript": "hallo"}
    assert corpus.manifest.to_pylist() == [
        {"segment_id": "a.wav", "emotion": "anger", **known, "split": "train"},
        {"segment_id": "b.wav", "emotion": "anger", **known, "split": "train"},
        {"segment_id": "c.wav", "emotion": "happiness", **known, "split": "dev"}
        | {"gender": None, "sex": None},
        {"segment_id": "d.wav", "emotion": None, **known, "split": "dev", "speaker_id": None},
    ]
    scored = [plan_shards(uri).rows["segment_id"].to_pylist() for uri in (train, test)]
    assert scored[0] + scored[1] == corpus.manifest["segment_id"].to_pylist()
    assert read_corpus(train).manifest["segment_id"].to_pylist() == scored[0]


def test_its_own_ids_come_first(memory: str) -> None:
    uri = write_dataset(f"{memory}/x.parquet", [row("a.wav", segment_id="s", split="test")])
    manifest = read_corpus(memory).manifest
    assert manifest.select(["segment_id", "split"]).to_pylist() == [
        {"segment_id": "s", "split": "test"}
    ]
    assert plan_shards(uri).rows["segment_id"].to_pylist() == ["s"]


def test_the_command_writes_metadata(tmp_path: Path) -> None:
    uri = write_dataset(str(tmp_path / "train.parquet"), [row("a.wav"), row("b.wav")])
    parser = argparse.ArgumentParser()
    manifest_command.add_arguments(parser)
    output = str(tmp_path / "m.csv")
    summary = manifest_command.run(parser.parse_args([uri, "--output", output]))
    assert summary.text.splitlines()[1:] == [
        "metadata alone: score the Parquet files themselves, and audit with these",
        "2 segments, 1 speakers",
        "segments by split: train 2, dev 0, test 0",
        f"manifest: {output}",
    ]
    assert read_metadata(output)["segment_id"].to_pylist() == ["a.wav", "b.wav"]
    with pytest.raises(ConfigError, match="names no recordings that --window"):
        manifest_command.run(parser.parse_args([uri, "--output", output, "--window", "2"]))


def test_a_manifest_in_parquet_stays_a_table(memory: str) -> None:
    write_dataset(f"{memory}/a.parquet", [{"recording": "a.wav"}])
    write_dataset(f"{memory}/b.parquet", [row("a.wav")])
    assert read_corpus(memory).reader == "table"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("a", emotion=2)], r"x\.parquet, row 1: emotion 2 is none of its classes"),
        ([row("a", emotion="7")], r"x\.parquet, row 1: emotion '7' is none of its classes"),
        ([row("a"), row("a")], "row 2: segment_id 'a' is that of row 1 too"),
        ([row(None)], r"x\.parquet has audio but no column 'segment_id', nor a path"),
        ([row("a", sex="F")], "row 1: sex 'F' is not one of"),
    ],
)
def test_broken(memory: str, rows: list[dict], message: str) -> None:
    write_dataset(f"{memory}/x.parquet", rows)
    with pytest.raises(ManifestError, match=message):
        read_corpus(memory)


@pytest.mark.parametrize("features", [[], "none", {"emotion": 3}, {"emotion": {"names": None}}])
def test_features_that_say_nothing_are_passed_over(memory: str, features: object) -> None:
    write_dataset(f"{memory}/x.parquet", [row("a")], features)
    assert read_corpus(memory).manifest["emotion"].to_pylist() == ["0"]


def test_files_that_do_not_fit_together(memory: str) -> None:
    write_dataset(f"{memory}/x.parquet", [row("a", mood="sad")])
    write_dataset(f"{memory}/y.parquet", [row("b", mood=1.5)])
    with pytest.raises(ManifestError, match="do not fit together"):
        read_corpus(memory)
