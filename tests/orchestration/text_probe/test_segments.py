"""Every segment of a run has a score or the reason why it has none."""

from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.found_runs import find_run
from orchestration.scoring import score
from orchestration.text_probe.segments import is_spoken, original_side, read_scores
from ser_model.manifest import read_metadata, write_manifest
from ser_model.schema import RunError
from ser_model.table_files import write_table_file

NAN = float("nan")
METADATA = [
    {"segment_id": "a", "transcript": "one", "speaker_id": "ann", "valence": 0.1},
    {"segment_id": "b", "transcript": None, "speaker_id": None, "valence": NAN},
    {"segment_id": "c", "transcript": "three", "speaker_id": "cy", "valence": 0.3},
    {"segment_id": "other split", "transcript": "four", "speaker_id": "di", "valence": 0.4},
]


@pytest.fixture
def metadata(tmp_path: Path) -> pa.Table:
    uri = str(tmp_path / "metadata.parquet")
    write_table_file(uri, pa.Table.from_pylist(METADATA))
    return read_metadata(uri)


def write_predictions(folder: Path, rows: list[dict]) -> str:
    uri = str(folder / "predictions.csv")
    write_table_file(uri, pa.Table.from_pylist(rows))
    return uri


def test_a_table_from_elsewhere(tmp_path: Path, metadata: pa.Table) -> None:
    uri = write_predictions(
        tmp_path,
        [
            {"segment_id": "z", "condition": "clean", "valence": 0.9},
            {"segment_id": "c", "condition": "noise", "valence": 0.8},
            {"segment_id": "c", "condition": "clean", "valence": NAN},
            {"segment_id": "b", "condition": None, "valence": 0.2},
            {"segment_id": "a", "condition": None, "valence": 0.15},
        ],
    )
    segments = original_side(find_run(uri), metadata)
    assert segments["segment_id"].to_pylist() == ["a", "b", "c", "z"]
    assert segments["original_valence"].to_pylist() == [0.15, 0.2, None, 0.9]
    assert segments["truth_valence"].to_pylist() == [0.1, None, 0.3, None]
    assert segments["transcript"].to_pylist() == ["one", None, "three", None]
    assert segments["original_missing"].to_pylist() == [
        None,
        "no_truth",
        "no_prediction",
        "not_in_metadata",
    ]
    assert is_spoken(segments).to_pylist() == [True, False, True, False]


def test_a_run_with_rejections(tmp_path: Path, metadata: pa.Table, write_recording) -> None:
    write_recording(tmp_path / "a.wav", duration_s=0.5)
    rows = [{"segment_id": s, "recording": f"{s}.wav"} for s in ("c", "a")]
    write_manifest(str(tmp_path / "manifest.csv"), pa.Table.from_pylist(rows))
    score(
        str(tmp_path / "manifest.csv"),
        model_uri="random:demo?seed=0",
        output=str(tmp_path / "run"),
        local=True,
        max_rejected=1.0,
    )
    segments = original_side(find_run(str(tmp_path / "run")), metadata)
    assert segments["original_missing"].to_pylist() == [None, "recording_not_found"]
    assert segments["original_valence"].null_count == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"segment_id": "a", "happy": 1}], "none of arousal, dominance, valence"),
        ([{"valence": 0.5}], "no column 'segment_id'"),
        ([{"segment_id": "a", "valence": "high"}], "high"),
        ([{"segment_id": "a", "valence": 0.5}] * 2, "1 segments more than once"),
        ([{"segment_id": "b", "valence": 0.5}, {"segment_id": "y", "valence": 0.5}], "1 no_truth"),
    ],
    ids=["other columns", "no id", "words", "twice", "no truth"],
)
def test_predictions_that_cannot_be_used(
    tmp_path: Path, metadata: pa.Table, rows: list[dict], message: str
) -> None:
    uri = write_predictions(tmp_path, rows)
    with pytest.raises(RunError, match=message):
        original_side(find_run(uri), metadata)


def test_emotions_are_no_dimensions(tmp_path: Path, metadata: pa.Table) -> None:
    rows = [{"segment_id": "a", "emotion": "anger", "valence": None}]
    uri = str(tmp_path / "predictions.parquet")
    write_table_file(uri, pa.Table.from_pylist(rows))
    assert len(read_scores(find_run(uri))) == 1
    with pytest.raises(RunError, match="1 no_prediction"):
        original_side(find_run(uri), metadata)
