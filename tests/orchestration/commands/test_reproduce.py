from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestration.cli import main
from orchestration.reproduce.published import list_published


def test_the_tables_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list_published()
    assert main(["reproduce", "--list", "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)["tables"]
    needs = {table["table"]: table["needs"] for table in tables}
    assert needs["gavali/table6"] == ["ravdess"]


def test_a_dry_run_needs_no_corpus_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["reproduce", "wagner/table3", "--dry-run", "--output", str(tmp_path / "work")]
    assert main([*words, "--tflops", "100", "--price-per-hour", "3"]) == 0
    text = capsys.readouterr().out
    assert "train wagner/w2v2-L-robust dimensions on msp-podcast/train" in text
    assert "at 100 TFLOP/s sustained, which is assumed" in text
    assert "sizes as the papers print them: msp-podcast, iemocap, cmu-mosi, esc50" in text
    assert not (tmp_path / "work").exists()
    assert main([*words, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["tflops"] == 30
    assert data["work"][-1]["title"] == "all"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "needs a TABLE"),
        (["wagner/fig99"], "no table 'wagner/fig99'"),
        (["gavali/table4"], "gavali/table4 needs --corpus ravdess=PATH"),
        (["gavali/table4", "--corpus", "ravdess=/nowhere"], "/nowhere does not exist"),
        (["gavali/table4", "--seeds", "0"], "--seeds 0: at least one"),
        (["gavali/table4", "--dry-run", "--tflops", "0"], "--tflops 0 is not positive"),
        (["gavali/table4", "--dry-run", "--set", "gavali/*:epochs=1"], "epochs is not known"),
    ],
)
def test_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
