from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest

from ser_model import storage
from ser_model.manifest import (
    check_manifest,
    metadata_columns,
    metadata_parts,
    parse_truth_range,
    read_manifest,
    read_metadata,
    relative_to,
    segments,
    select_split,
    write_manifest,
)
from ser_model.manifest_checks import segment_id_of
from ser_model.schema import ConfigError, ManifestError, Segment

ROWS = [
    {
        "recording": "a b/é%20.wav",
        "start_s": 0.0,
        "end_s": 1.5,
        "speaker_id": "007",
        "sex": "female",
    },
    {"recording": "/data/c.wav", "start_s": 2.0, "end_s": None, "speaker_id": "7", "sex": None},
    {
        "recording": "s3://b/d.wav",
        "start_s": None,
        "end_s": None,
        "speaker_id": "x",
        "sex": "other",
    },
]


def write_csv(folder: str, text: str, name: str = "manifest.csv") -> str:
    uri = storage.join(folder, name)
    storage.write_atomic(uri, text.encode())
    return uri


@pytest.mark.parametrize("extension", [".parquet", ".csv", ".tsv", ".jsonl"])
def test_every_format_gives_the_same_table(folder: str, extension: str) -> None:
    uri = storage.join(folder, f"manifest{extension}")
    write_manifest(uri, pa.Table.from_pylist(ROWS))
    table = read_manifest(uri)
    assert table.column_names[:4] == ["segment_id", "recording", "start_s", "end_s"]
    assert table["segment_id"].to_pylist() == [
        "a b/é%20.wav#t=0,1.5",
        "/data/c.wav#t=2",
        "s3://b/d.wav",
    ]
    assert table["recording"].to_pylist() == [
        storage.join(folder, "a b/é%20.wav"),
        "/data/c.wav",
        "s3://b/d.wav",
    ]
    assert table["start_s"].to_pylist() == [0.0, 2.0, None]
    assert table["end_s"].to_pylist() == [1.5, None, None]
    assert table["speaker_id"].to_pylist() == ["007", "7", "x"]
    assert table["sex"].to_pylist() == ["female", None, "other"]


def test_segments_of_a_manifest(tmp_path: Path) -> None:
    table = check_manifest(pa.Table.from_pylist(ROWS), uri="m", folder=str(tmp_path))
    assert segments(table)[1:] == [
        Segment(segment_id="/data/c.wav#t=2", recording="/data/c.wav", start_s=2.0),
        Segment(segment_id="s3://b/d.wav", recording="s3://b/d.wav"),
    ]


def test_a_relative_manifest_has_absolute_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(".", "recording\naudio/a.wav\n")
    table = read_manifest("manifest.csv")
    assert table["recording"].to_pylist() == [str(tmp_path / "audio" / "a.wav")]
    assert table["segment_id"].to_pylist() == ["audio/a.wav"]


def test_what_is_written_relative_is_read_absolute(tmp_path: Path) -> None:
    table = check_manifest(
        pa.table({"recording": [str(tmp_path / "audio/a.wav"), "s3://b/c.wav"]}),
        uri="m",
        folder="/",
    )
    uri = str(tmp_path / "manifests" / "m.csv")
    written = relative_to(table, uri)
    assert written["recording"].to_pylist() == ["../audio/a.wav", "s3://b/c.wav"]
    assert written.column_names == ["segment_id", "recording"]
    write_manifest(uri, written)
    assert read_manifest(uri).equals(table)


def test_truth_is_mapped_to_0_1(tmp_path: Path) -> None:
    uri = write_csv(str(tmp_path), "recording,arousal,valence\na,1,7\nb,4,\nc,nan,2.5\n")
    table = read_manifest(uri, truth_range=(1.0, 7.0))
    assert table["arousal"].to_pylist()[:2] == [0.0, 0.5]
    assert table["arousal"][2].as_py() != table["arousal"][2].as_py()  # NaN stays, to be counted
    assert table["valence"].to_pylist() == [1.0, None, 0.25]
    assert read_manifest(uri, truth_range=None)["arousal"].to_pylist()[:2] == [1.0, 4.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("recording\n", "has no rows"),
        ("file\na.wav\n", "has no column 'recording' (it has file)"),
        ("recording,sex\na,female\nb,F\n", "row 2: sex 'F' is not one of female, male, other"),
        ("recording,split\na,eval\n", "row 1: split 'eval' is not one of train, dev, test"),
        ("recording,start_s\na,1\nb,one\n", "row 2: start_s 'one' is not a number"),
        ("recording,start_s\na,nan\n", "row 1: start_s nan is not a number"),
        ("segment_id,recording\nx,a\ny,b\nx,c\n", "row 3: segment_id 'x' is that of row 1 too"),
        ("recording\na\na\n", "row 2: segment_id 'a' is that of row 1 too"),
        ("segment_id,recording\n,a\n", "row 1: segment_id is empty"),
        ('recording\na\n"  "\n', "row 2: recording '  ' is empty"),
        ("recording,arousal\na,0.5\nb,4\n", "row 2: arousal 4.0 is outside 0:1; give the scale"),
        ("recording,x\na\n", "is not valid csv"),
        ("recording,x,x\na,1,2\n", "has the column 'x' more than once"),
        (
            'recording,transcript\na,"b\nc,d\ne,f\n',
            "the quote before 'b\\nc,d\\ne,f\\n' is not closed",
        ),
    ],
)
def test_broken_csv(tmp_path: Path, text: str, message: str) -> None:
    uri = write_csv(str(tmp_path), text)
    with pytest.raises(ManifestError) as caught:
        read_manifest(uri)
    assert message in str(caught.value)
    assert uri in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("manifest.xlsx", b"x", "must end in .parquet, .csv, .tsv, .jsonl"),
        ("manifest.parquet", b"no parquet", "is not valid parquet"),
        ("manifest.jsonl", b"no json", "is not valid jsonl"),
        ("manifest.csv", b"recording\n\xff\xfe\n", "is not valid csv"),
        ("manifest.csv", b"\xff\xfer\x00\n", "is not valid csv"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        read_manifest(str(tmp_path / name))


def test_a_truncated_parquet_file(tmp_path: Path) -> None:
    uri = str(tmp_path / "manifest.parquet")
    write_manifest(uri, pa.Table.from_pylist(ROWS))
    (tmp_path / "manifest.parquet").write_bytes(storage.read_bytes(uri)[:-100])
    with pytest.raises(ManifestError, match="is not valid parquet"):
        read_manifest(uri)


def test_missing_and_unreadable_files(folder: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"absent\.csv does not exist"):
        read_manifest(storage.join(folder, "absent.csv"))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(str(tmp_path / "folder.csv"))


def test_times_that_contradict_are_no_manifest_error(tmp_path: Path) -> None:
    uri = write_csv(str(tmp_path), "recording,start_s,end_s\na,2,1\nb,-1,99999\n")
    assert len(read_manifest(uri)) == 2


def test_transcripts_with_quotes_commas_and_lines(tmp_path: Path) -> None:
    rows = [{"recording": "a", "transcript": 'he said "no",\nthen left'}]
    for extension in (".csv", ".tsv", ".jsonl"):
        uri = str(tmp_path / f"m{extension}")
        write_manifest(uri, pa.Table.from_pylist(rows))
        assert read_manifest(uri)["transcript"].to_pylist() == ['he said "no",\nthen left']


def test_csv_of_other_tools(tmp_path: Path) -> None:
    uri = write_csv(str(tmp_path), "\ufeffrecording,speaker_id\r\na.wav,1\r\n")
    assert read_manifest(uri)["speaker_id"].to_pylist() == ["1"]


def test_json_lines_keep_other_types(tmp_path: Path) -> None:
    uri = str(tmp_path / "m.jsonl")
    rows = [{"recording": "a", "speaker_id": 7, "rooms": [1, 2], "start_s": 1}]
    storage.write_atomic(uri, json.dumps(rows[0]).encode())
    (row,) = read_manifest(uri).to_pylist()
    assert (row["speaker_id"], row["rooms"], row["start_s"]) == ("7", [1, 2], 1.0)


def test_nan_in_json_lines_is_null(tmp_path: Path) -> None:
    uri = str(tmp_path / "m.jsonl")
    write_manifest(uri, pa.table({"recording": ["a"], "arousal": [float("nan")]}))
    assert b"NaN" not in storage.read_bytes(uri)
    # A column of nothing but nulls has no type of its own; a known name gives it one.
    assert read_manifest(uri).schema.field("arousal").type == pa.float64()


def test_nested_columns_do_not_fit_into_csv(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"write \.parquet instead"):
        write_manifest(str(tmp_path / "m.csv"), pa.table({"recording": ["a"], "x": [[1, 2]]}))


def test_metadata_needs_only_segment_id(tmp_path: Path) -> None:
    uri = write_csv(str(tmp_path), "segment_id,speaker_id,arousal\nx,s,3\n")
    table = read_metadata(uri, truth_range=(1.0, 5.0))
    assert table.to_pylist() == [{"segment_id": "x", "speaker_id": "s", "arousal": 0.5}]
    with pytest.raises(ManifestError, match="neither a column 'segment_id' nor 'recording'"):
        read_metadata(write_csv(str(tmp_path), "speaker_id\ns\n"))
    with pytest.raises(ManifestError, match="row 2: segment_id 'x' is that of row 1 too"):
        read_metadata(write_csv(str(tmp_path), "segment_id\nx\nx\n"))


def test_metadata_in_parts_are_the_same_rows(tmp_path: Path) -> None:
    uri = str(tmp_path / "m.parquet")
    table = pa.table(
        {"arousal": [float(n % 5) for n in range(10)], "recording": [f"{n}.wav" for n in range(10)]}
    )
    write_manifest(uri, table.append_column("note", table["recording"]))
    whole = read_metadata(uri, truth_range=(0.0, 4.0))
    parts = list(metadata_parts(uri, ["arousal", "sex"], truth_range=(0.0, 4.0), rows_per_part=4))
    assert [len(part) for part in parts] == [4, 4, 2]
    for column in ("segment_id", "arousal"):
        assert pa.concat_tables(parts)[column].to_pylist() == whole[column].to_pylist()
    assert "note" not in parts[0].column_names
    assert metadata_columns(uri) == ["arousal", "recording", "note"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"segment_id": ["a", "b", "c", " "]}, "row 4: segment_id ' ' is empty"),
        ({"segment_id": list("abcd"), "arousal": [0.0, 1, 1, 7]}, "row 4: arousal 7.0 is outside"),
        ({"segment_id": list("abcd"), "sex": ["male", None, "x", None]}, "row 3: sex 'x' is not"),
        ({"speaker_id": ["s"]}, "neither a column 'segment_id' nor 'recording'"),
        ({"segment_id": pa.array([], pa.string())}, "has no rows"),
    ],
)
def test_faults_in_parts_are_counted_from_the_first_row_of_the_file(
    columns: dict[str, list[object]], message: str, tmp_path: Path
) -> None:
    uri = str(tmp_path / "m.parquet")
    write_manifest(uri, pa.table(columns))
    with pytest.raises(ManifestError, match=re.escape(message)):
        list(metadata_parts(uri, list(columns), rows_per_part=2))


def test_parts_of_what_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "m.parquet").write_bytes(b"no Parquet")
    with pytest.raises(ManifestError, match=r"m\.parquet is not valid parquet"):
        list(metadata_parts(str(tmp_path / "m.parquet"), []))
    with pytest.raises(ManifestError, match="does not exist"):
        metadata_columns(str(tmp_path / "none.parquet"))
    uri = write_csv(str(tmp_path), "segment_id,arousal\nx,3\n")
    (part,) = metadata_parts(uri, [], truth_range=(1.0, 5.0))
    assert part["arousal"].to_pylist() == [0.5]


def test_metadata_from_a_manifest_has_the_manifests_ids(tmp_path: Path) -> None:
    uri = write_csv(str(tmp_path), "recording,start_s\na,1\n")
    assert read_metadata(uri).equals(read_manifest(uri))


def test_select_split() -> None:
    table = pa.table({"segment_id": ["a", "b"], "split": ["train", None]})
    assert select_split(table, None) is table
    assert select_split(table, "train")["segment_id"].to_pylist() == ["a"]
    with pytest.raises(ManifestError, match="no row of split 'test'"):
        select_split(table, "test")
    with pytest.raises(ManifestError, match="no column 'split'"):
        select_split(table.drop_columns("split"), "test")


@pytest.mark.parametrize("text", ["", "1", "1:", "a:b", "7:1", "1:1", "0:inf", "nan:1", "1:2:3"])
def test_broken_truth_ranges(text: str) -> None:
    with pytest.raises(ConfigError, match="is not LOW:HIGH"):
        parse_truth_range(text)


def test_derived_ids_tell_times_apart() -> None:
    assert segment_id_of("a", 0.0, 1 / 3) == "a#t=0,0.333333"
    assert segment_id_of("a", None, 10.0) == "a#t=,10"
