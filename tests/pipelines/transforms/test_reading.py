"""Predictions and metadata from files of any tool become the same batches."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.pvalue import TaggedOutput

from pipelines.transforms.reading import (
    ERROR,
    PredictionFile,
    metadata_rows,
    read_metadata_rows,
    read_predictions,
)
from pipelines.transforms.tables import PREDICTION_ROWS
from ser_model.schema import DIMENSIONS, ManifestError


def read(path, **options):
    """Return the rows, and the ledger's counts and details by name."""
    rows, counts, details = [], {}, {}
    for output in read_predictions(PredictionFile(uri=str(path), **options)):
        if isinstance(output, TaggedOutput):
            (row,) = output.value.to_pylist()
            counts[row["name"]] = row["num_segments"]
            details[row["name"]] = row["detail"]
        else:
            assert output.schema == PREDICTION_ROWS
            rows += output.to_pylist()
    return rows, counts, details


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


FORMATS = {
    "svm.csv": "segment_id,arousal,emotion,note\n007,.5,joy,x\nb,,,y\n",
    "svm.tsv": "segment_id\tarousal\temotion\n007\t.5\tjoy\nb\t\t\n",
    "svm.jsonl": '{"segment_id": "007", "arousal": 0.5, "emotion": "joy"}\n{"segment_id": "b"}\n',
}


@pytest.mark.parametrize("name", FORMATS)
def test_text_formats(tmp_path, name):
    path = write(tmp_path, name, FORMATS[name])
    rows, counts, _ = read(path)
    assert counts == {"prediction_rows_read": 2}
    assert rows[0] == {
        "segment_id": "007",
        "model_version": "svm",
        "condition": "clean",
        "arousal": 0.5,
        "dominance": None,
        "valence": None,
        "emotion": "joy",
        "file": str(path),
        "row": 0,
    }
    assert (rows[1]["arousal"], rows[1]["emotion"], rows[1]["row"]) == (None, None, 1)


def test_a_run_keeps_its_condition_and_model_unless_another_name_is_given(tmp_path):
    path = tmp_path / "part.parquet"
    columns = {"segment_id": ["a"], "arousal": pa.array([0.5], pa.float32())}
    columns |= {"condition": ["babble"], "model_version": ["7"], "row": ["mine"]}
    pq.write_table(pa.table(columns), path)
    ((row,), _, _), ((renamed,), _, _) = read(path), read(path, model_version="models:/x/7")
    assert (row["condition"], row["model_version"], row["row"]) == ("babble", "7", 0)
    assert renamed["model_version"] == "models:/x/7"


def test_large_files_come_in_batches_with_their_row_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.transforms.reading.ROWS_PER_BATCH", 40)
    path = tmp_path / "many.parquet"
    pq.write_table(
        pa.table({"segment_id": [str(n) for n in range(100)], "valence": np.ones(100)}), path
    )
    outputs = list(read_predictions(PredictionFile(uri=str(path))))
    assert [batch.num_rows for batch in outputs[:-1]] == [40, 40, 20]
    assert [row["row"] for row in read(path)[0]] == list(range(100))


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.csv", "segment,arousal\na,.1\n", "a.csv has no column 'segment_id'"),
        ("a.csv", "segment_id,score\na,.1\n", "has none of the columns arousal, dominance"),
        ("a.csv", "segment_id,arousal\na,high\n", "a.csv: column 'arousal'"),
        ("a.csv", "", "a.csv is empty"),
        ("a.parquet", "PAR1 this is none", "a.parquet cannot be read"),
        ("a.xlsx", "x", "must end in .parquet, .csv"),
    ],
)
def test_what_is_wrong_with_a_file_goes_to_the_ledger(tmp_path, name, text, problem):
    rows, counts, details = read(write(tmp_path, name, text))
    assert rows == []
    assert counts == {ERROR: 1, "prediction_rows_read": 0}
    assert problem in details[ERROR]


def test_a_file_without_rows_is_still_checked(tmp_path):
    path = tmp_path / "none.parquet"
    pq.write_table(pa.table({"segment": pa.array([], pa.string())}), path)
    assert "no column 'segment_id'" in read(path)[2][ERROR]


def test_metadata_become_slices():
    table = pa.table({"segment_id": ["a", "b"], "sex": ["female", None], "age": [31.0, 40.5]})
    rows = metadata_rows(table, [("sex",), ("age", "sex")]).to_pylist()
    assert rows[0]["slice_by:"] == ""
    assert rows[0]["slice_by:sex"] == "sex=female"
    assert rows[1]["slice_by:sex"] == "sex=(missing)"
    assert rows[1]["slice_by:age,sex"] == "age=40.5,sex=(missing)"
    assert rows[1]["speaker_id"] == "(missing)"
    assert {rows[0][dimension] for dimension in DIMENSIONS} == {None}


def test_an_empty_name_is_missing():
    table = pa.table({"segment_id": ["a"], "speaker_id": [""], "sex": [""], "emotion": [""]})
    (row,) = metadata_rows(table, [("sex",)]).to_pylist()
    assert (row["speaker_id"], row["slice_by:sex"]) == ("(missing)", "sex=(missing)")
    assert row["emotion"] is None


def test_the_truth_is_mapped_to_its_range(tmp_path):
    path = write(tmp_path, "m.csv", "segment_id,arousal\na,1\nb,7\n")
    (batch,) = read_metadata_rows(str(path), [], (1.0, 7.0))
    assert batch.column("arousal").to_pylist() == [0.0, 1.0]
    with pytest.raises(ManifestError, match="--truth-range"):
        list(read_metadata_rows(str(path), [], (0.0, 1.0)))
