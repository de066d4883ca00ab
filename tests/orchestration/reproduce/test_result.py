"""The table: units, differences, notes; and as text, CSV and JSON."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from orchestration.reproduce.published import PublishedValue
from orchestration.reproduce.result import TableResult, result_rows, write_result
from orchestration.reproduce.result_text import as_markdown, as_text
from orchestration.reproduce.rows.planned import OurNumber

PLACE = "ravdess/random-80-20"
ACCURACY = PublishedValue(
    system="xlsr-53",
    trained_on=PLACE,
    test=PLACE,
    target="emotion",
    metric="accuracy",
    value=93.0,
    unit="percent",
)
OURS = OurNumber(value=0.905, standard_deviation=0.01, ci_low=0.85, ci_high=0.95, num_seeds=3)
FAILED = OurNumber(reason="needs the weights of a/b")


def make_result(folder: Path) -> TableResult:
    drawn = PublishedValue(system="bert", test="iemocap", metric="concordance_cc", value=None)
    added = PublishedValue(
        system="cnn14", test=PLACE, metric="accuracy", value=None, unit="percent", added=True
    )
    rows = [
        *result_rows(ACCURACY, [OURS]),
        *result_rows(drawn, [FAILED]),
        *result_rows(added, [OurNumber(value=0.5)]),
    ]
    return TableResult(
        table="paper/table1",
        title="a title",
        source="A & B 2023, Table 1",
        shows="C.",
        rows=tuple(rows),
        may_differ=("the seed of the split is not told",),
        folder=str(folder),
    )


def test_numbers_are_in_the_printed_unit() -> None:
    (row,) = result_rows(ACCURACY, [OURS])
    assert (row.published, round(row.ours or 0, 6), round(row.difference or 0, 6)) == (
        93.0,
        90.5,
        -2.5,
    )
    assert (row.ci_low, row.ci_high, row.deviation, row.num_seeds) == (85.0, 95.0, 1.0, 3)
    squared = PublishedValue(
        system="bert", metric="mean_squared_error", value=0.4, unit="range 1:5"
    )
    (row,) = result_rows(squared, [OurNumber(value=0.03)])
    assert round(row.ours or 0, 6) == 0.48, "a squared error on 1 to 5 is 16 times that on 0 to 1"


def test_a_row_that_stands_for_several_becomes_several() -> None:
    row = PublishedValue(
        system="cnn14", metric="concordance_cc_of_draws", slice="speaker_id=*", value=None
    )
    numbers = [OurNumber(value=0.1 * n, slice=f"speaker_id={n}") for n in (1, 2)]
    assert [found.slice for found in result_rows(row, numbers)] == ["speaker_id=1", "speaker_id=2"]


def test_the_text_says_all(tmp_path: Path) -> None:
    text = as_text(make_result(tmp_path))
    line = next(line for line in text.splitlines() if line.startswith("xlsr-53"))
    assert line.split("  ")[0] == "xlsr-53"
    for words in (
        f"{PLACE}, emotion",
        "accuracy (%)",
        "93.0",
        "90.5 ± 1.0",
        "-2.5",
        "[85.0, 95.0]",
    ):
        assert words in line
    assert "drawn, not printed; needs the weights of a/b" in text
    assert "ours, not in the paper" in text
    assert "- the seed of the split is not told" in text


def test_files_hold_the_same(tmp_path: Path) -> None:
    result = make_result(tmp_path)
    write_result(result, as_markdown(result))
    rows = list(csv.DictReader((tmp_path / "result.csv").read_text().splitlines()))
    assert [row["system"] for row in rows] == ["xlsr-53", "bert", "cnn14"]
    assert rows[1]["ours"] == ""
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["rows"][0]["difference"] == result.rows[0].difference
    markdown = (tmp_path / "result.md").read_text()
    assert (
        "| xlsr-53 | ravdess/random-80-20, emotion | accuracy (%) | 93.0 | 90.5 ± 1.0 |" in markdown
    )
    widths = {line.count("|") for line in markdown.splitlines() if line.startswith("|")}
    assert widths == {9}
