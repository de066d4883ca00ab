from pathlib import Path

import pyarrow as pa

from orchestration.demo.held_out import COLUMN, KNOWN, NEW
from orchestration.demo.text_findings import TextFindings, read_text_findings
from ser_model import storage
from ser_model.schema import DIMENSIONS, STATISTICS

MODELS = {"audio": "models:/demo/1", "text": "models:/demo-text/1", "fusion": "models:/fused/2"}
KNOWN_SLICE, NEW_SLICE = f"{COLUMN}={KNOWN}", f"{COLUMN}={NEW}"


def statistic(model: str, target: str, value: float | None, slice_name: str = "") -> dict:
    return {
        "model_version": MODELS[model].removeprefix("models:/"),
        "condition": "clean",
        "slice_by": slice_name.partition("=")[0],
        "slice": slice_name,
        "target": target,
        "metric": "concordance_cc",
        "value": value,
        "ci_low": None if value is None else value - 0.1,
        "ci_high": None if value is None else value + 0.1,
        "num_segments": 10,
        "num_speakers": 4,
    }


def findings_of(folder: Path, *more: dict) -> TextFindings:
    rows = [
        *(statistic(model, dimension, 0.5) for model in MODELS for dimension in DIMENSIONS),
        *(statistic(model, "valence", 0.7, KNOWN_SLICE) for model in MODELS),
        *more,
        {**statistic("audio", "valence", 0.9), "condition": "noise"},
        {**statistic("audio", "valence", 0.9), "metric": "pearson_cc"},
    ]
    table = pa.Table.from_pylist(rows, schema=STATISTICS)
    storage.write_table(str(folder / "statistics.parquet"), table)
    gains = {
        kind: {"value": value, "ci_low": value - 0.05, "ci_high": 0.4, "num_segments": 5}
        for kind, value in ((NEW, -0.3), (KNOWN, 0.25), ("", 0.1))
    }
    return read_text_findings(str(folder), MODELS, gains)


def test_the_table_has_a_column_for_each_model_and_a_line_for_each_kind_of_sentence(
    tmp_path: Path,
) -> None:
    findings = findings_of(tmp_path, statistic("text", "valence", -0.02, NEW_SLICE))
    lines = findings.as_text().splitlines()
    assert lines[1].split() == ["audio", "text", "fusion"]
    assert [line.split("  ")[1] for line in lines[2:5]] == list(DIMENSIONS)
    assert lines[4].count("0.50 [ 0.40,  0.60]") == 3
    assert lines[5].strip().startswith("sentences trained on")
    # What an audit suppresses, as with too few segments, has no number.
    assert lines[6].split("held out")[1].split() == ["-", "-0.02", "[-0.12,", "0.08]", "-"]
    assert [line.strip() for line in lines[8:11]] == [
        "all sentences          0.10 [ 0.05,  0.40]",
        "sentences trained on   0.25 [ 0.20,  0.40]",
        "sentences held out    -0.30 [-0.35,  0.40]",
    ]


def test_a_number_that_does_not_exist_is_none(tmp_path: Path) -> None:
    findings = findings_of(tmp_path, statistic("text", "valence", None, NEW_SLICE))
    rows = findings.as_data()["concordance_cc"]
    (row,) = [row for row in rows if row["slice"] == NEW_SLICE]
    assert (row["model"], row["value"], row["ci_low"]) == ("text", None, None)
    assert findings.as_data()["valence_fusion_minus_audio"]["sentences held out"]["value"] == -0.3
