"""Databases as the audformat library itself writes them, and broken ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import audformat
import pandas as pd
import pytest

from orchestration.readers.catalogue import read_corpus
from ser_model import storage
from ser_model.schema import ManifestError


def add_columns(table: audformat.Table, **columns: list) -> None:
    """Add columns, each with the scheme of its name."""
    for name, values in columns.items():
        table[name] = audformat.Column(scheme_id=name)
        table[name].set(values)


@pytest.fixture
def database() -> audformat.Database:
    """Two files; the first is cut into two segments. Everything is rated from 1 to 7."""
    db = audformat.Database("mini", languages=["deu"])
    db.splits["test"] = audformat.Split(type="test")
    db.schemes["age"] = audformat.Scheme("int")
    db.schemes["arousal"] = audformat.Scheme("float", minimum=1, maximum=7)
    db.schemes["emotion"] = audformat.Scheme(labels=["anger", "happiness"])
    db.schemes["gender"] = audformat.Scheme(labels=["female", "male", "child"])
    db.schemes["transcription"] = audformat.Scheme(labels={"a1": 'Er sagt "ja", oder?'})
    db["speaker"] = audformat.MiscTable(pd.Index([3, 8], name="speaker"))
    add_columns(db["speaker"], age=[31, 6], gender=["male", "child"])
    db.schemes["speaker"] = audformat.Scheme("int", labels="speaker")
    files = audformat.filewise_index(["wav/b ä.wav", "wav/c.wav"])
    db["files"] = audformat.Table(files, split_id="test")
    add_columns(db["files"], speaker=[3, 8], transcription=["a1", "a1"], emotion=["anger", "anger"])
    segments = audformat.segmented_index(["wav/b ä.wav"] * 2, [1.5, 0], [pd.NaT, 1.25])
    db["segments"] = audformat.Table(segments)
    add_columns(db["segments"], arousal=[4.0, 1.0], emotion=[None, "happiness"])
    return db


@pytest.mark.parametrize("storage_format", ["csv", "parquet"])
def test_segments_and_files(
    database: audformat.Database, tmp_path: Path, storage_format: str
) -> None:
    database.save(str(tmp_path), storage_format=storage_format)
    corpus = read_corpus(str(tmp_path))
    assert corpus.reader == "audformat"
    of_first = {
        "recording": str(tmp_path / "wav/b ä.wav"),
        "split": "test",
        "language": "deu",
        "speaker_id": "3",
        "age": 31.0,
        "gender": "male",
        "sex": "male",
        "transcript": None,  # that of the file is of neither segment
    }
    assert corpus.manifest.to_pylist() == [
        of_first
        | {"segment_id": "wav/b ä.wav#t=0,1.25", "start_s": 0.0, "end_s": 1.25}
        | {"arousal": 0.0, "emotion": "happiness"},
        of_first
        | {"segment_id": "wav/b ä.wav#t=1.5", "start_s": 1.5, "end_s": None}
        | {"arousal": 0.5, "emotion": None},
        {
            "segment_id": "wav/c.wav",
            "recording": str(tmp_path / "wav/c.wav"),
            "start_s": None,
            "end_s": None,
            "split": "test",
            "language": "deu",
            "speaker_id": "8",
            "age": 6.0,
            "gender": "child",
            "sex": None,
            "arousal": None,
            "emotion": "anger",
            "transcript": 'Er sagt "ja", oder?',
        },
    ]


def test_the_users_scale_wins(database: audformat.Database, tmp_path: Path) -> None:
    database.save(str(tmp_path), storage_format="csv")
    manifest = read_corpus(str(tmp_path), truth_range=(0, 8)).manifest
    assert manifest["arousal"].to_pylist() == [0.125, 0.5, None]


def test_tables_that_disagree(database: audformat.Database, tmp_path: Path) -> None:
    index = audformat.filewise_index(["wav/c.wav"])
    database["gold"] = audformat.Table(index)
    add_columns(database["gold"], emotion=["happiness"])
    database.save(str(tmp_path), storage_format="csv")
    message = r"db\.gold\.csv: emotion of wav/c\.wav is 'happiness', and another table .* 'anger'"
    with pytest.raises(ManifestError, match=message):
        read_corpus(str(tmp_path))
    (row,) = read_corpus(str(tmp_path / "db.gold.csv")).manifest.to_pylist()
    assert (row["segment_id"], row["emotion"], row["speaker_id"]) == ("wav/c.wav", "happiness", "8")
    with pytest.raises(ManifestError, match=r"db\.speaker\.csv is no table of"):
        read_corpus(str(tmp_path / "db.speaker.csv"))


def test_labels_in_the_header(database: audformat.Database, tmp_path: Path) -> None:
    labels = {"x": {"gender": "female", "accent": "saxon"}}
    database.schemes["listener"] = audformat.Scheme("str", labels=labels)
    database["files"]["listener"] = audformat.Column(scheme_id="listener")
    database["files"]["listener"].set(["x", None])
    database.save(str(tmp_path), storage_format="csv")
    manifest = read_corpus(str(tmp_path)).manifest
    assert manifest["listener"].to_pylist() == ["x", "x", None]
    assert manifest["accent"].to_pylist() == ["saxon", "saxon", None]
    assert manifest["gender"].to_pylist() == ["male", "male", "child"]  # the speaker's came first


def test_a_table_without_columns_gives_a_split(
    database: audformat.Database, tmp_path: Path
) -> None:
    database.splits["other"] = audformat.Split(type="other")
    database.splits["dev"] = audformat.Split(type="dev")
    for split, file in (("dev", "wav/d.wav"), ("other", "wav/e.wav")):
        database[f"of_{split}"] = audformat.Table(audformat.filewise_index([file]), split_id=split)
    database.save(str(tmp_path), storage_format="csv")
    manifest = read_corpus(str(tmp_path)).manifest
    assert manifest["split"].to_pylist() == ["test", "test", "test", "dev", None]


def test_several_scales(database: audformat.Database, tmp_path: Path) -> None:
    database.schemes["valence"] = audformat.Scheme("float", minimum=-1, maximum=1)
    add_columns(database["segments"], valence=[0.0, 0.5])
    database.save(str(tmp_path), storage_format="csv")
    with pytest.raises(
        ManifestError, match=r"db\.yaml: dimensions are on several scales: -1:1, 1:7"
    ):
        read_corpus(str(tmp_path))


def test_pickles_are_not_read(database: audformat.Database, tmp_path: Path) -> None:
    database.save(str(tmp_path), storage_format="pkl")
    with pytest.raises(
        ManifestError, match=r"or \.parquet is not there; save it as CSV or Parquet"
    ):
        read_corpus(str(tmp_path))


HEADER = """\
name: mini
tables:
  segments:
    type: segmented
    columns:
      mood: {}
"""
TABLE = "file,start,end,mood\na.wav,1 days 00:00:01.5,,sad\n"


def test_times_anywhere(folder: str, write_files: Callable[..., None]) -> None:
    write_files(folder, {"db.yaml": HEADER, "db.segments.csv": TABLE, "a.wav": ""})
    corpus = read_corpus(folder)
    assert corpus.mismatches == ()
    assert corpus.manifest.to_pylist() == [
        {
            "segment_id": "a.wav#t=86401.5",
            "recording": storage.join(folder, "a.wav"),
            "start_s": 86401.5,
            "end_s": None,
            "mood": "sad",
        }
    ]


@pytest.mark.parametrize(
    ("header", "table", "message"),
    [
        (HEADER, TABLE.replace("1 days ", "one day "), r"db\.segments\.csv, row 1: start 'one day"),
        (HEADER, TABLE.replace("mood", "moods"), r"db\.segments\.csv has no column mood "),
        (HEADER, TABLE.replace("start", "begin"), r"db\.segments\.csv has no column start "),
        (HEADER, "file,start,end,mood\n", "its tables have no rows"),
        (HEADER, 'file,start,end,mood\na.wav,,,"x\n', r"db\.segments\.csv is not valid csv"),
        (HEADER + "  x: [", TABLE, r"db\.yaml, line \d+: "),
        ("- a\n- b\n", TABLE, r"db\.yaml: the header is no mapping"),
        (
            HEADER.replace("{}", "{scheme_id: x}") + "schemes: {x: {labels: y}}\n",
            TABLE,
            r"db\.y\.csv or \.parquet is not there",
        ),
        (
            HEADER.replace("{}", "{scheme_id: x}")
            + "schemes: {x: {labels: segments}}\nmisc_tables: {segments: 7}\n",
            TABLE,
            "table segments is no mapping",
        ),
        (HEADER.replace("{}", "7"), TABLE, r"db\.yaml: column mood is no mapping: '7'"),
        ("name: mini\n", TABLE, "its tables have no rows"),
        (
            "a: !!python/object/apply:os.getcwd []\n",
            TABLE,
            r"db\.yaml, line 1: could not determine",
        ),
    ],
)
def test_broken(
    memory: str, write_files: Callable[..., None], header: str, table: str, message: str
) -> None:
    write_files(memory, {"db.yaml": header, "db.segments.csv": table})
    with pytest.raises(ManifestError, match=message):
        read_corpus(memory)
