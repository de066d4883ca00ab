"""`serval report`: where it writes and what it says."""

import argparse
from pathlib import Path

import pytest

from orchestration.commands import report
from orchestration.commands.summary import Summary
from ser_model.schema import RunError


def run(*words: str) -> Summary:
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    return report.run(parser.parse_args(words))


def test_the_report_stands_in_the_audit_unless_told_otherwise(make_audit) -> None:
    folder = make_audit()
    summary = run(folder)
    assert summary.exit_code == 0
    assert Path(folder, "report.html").read_text().startswith("<!DOCTYPE html>")
    assert "accent=scottish is predicted worse than the rest" in summary.text
    assert summary.text.endswith(f"report: {folder}/report.html")


def test_the_data_says_the_same(make_audit, tmp_path: Path) -> None:
    output = str(tmp_path / "elsewhere" / "page.html")
    data = run(make_audit(), "--output", output).data
    assert data["report"] == output
    assert data["num_bytes"] == Path(output).stat().st_size
    assert data["verdicts"]["Model 3, clean"]["status"] == "fail"


def test_a_folder_that_is_no_audit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="run `serval audit` again"):
        run(str(tmp_path))
