"""The commands `serval score` and `serval export`, from words to summary."""

import argparse
import json
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.cli import main
from orchestration.commands import export, score
from orchestration.commands.summary import Summary
from ser_model.augment import SETS, known_names
from ser_model.manifest import write_manifest
from ser_model.schema import TooManyRejectedError

MODEL = "random:demo?seed=0"


def run_command(module: object, *words: str) -> Summary:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return module.run(parser.parse_args(words))


@pytest.fixture
def manifest(tmp_path: Path, write_recording) -> str:
    write_recording(tmp_path / "talk.wav", duration_s=4.0)
    rows = [
        {"recording": name, "start_s": start_s, "end_s": start_s + 1, "split": split}
        for name, start_s, split in [
            ("talk.wav", 0.0, "test"),
            ("talk.wav", 1.0, "train"),
            ("gone.wav", 0.0, "test"),
        ]
    ]
    write_manifest(str(tmp_path / "manifest.csv"), pa.Table.from_pylist(rows))
    return str(tmp_path / "manifest.csv")


def test_scoring_and_exporting(manifest: str, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    words = [manifest, "--model", MODEL, "--output", run, "--local", "--max-rejected", "0.5"]
    summary = run_command(score, *words)
    assert "2 segments" in summary.text
    assert "1 recording_not_found" in summary.text
    assert "x real time" in summary.text
    assert summary.data["num_segments"] == 3
    assert summary.data["num_rejections_by_reason"] == {"recording_not_found": 1}
    assert "nothing was left to score" in run_command(score, *words).text

    file = str(tmp_path / "out.jsonl")
    assert run_command(export, run, file).text == f"2 predictions written to {file}"
    assert run_command(export, run, file, "--rejections").data["num_rows"] == 1


def test_a_split_and_the_limit_of_rejections(manifest: str, tmp_path: Path) -> None:
    words = [manifest, "--model", MODEL, "--output", str(tmp_path / "run"), "--local"]
    with pytest.raises(TooManyRejectedError, match="1 of 2 segments"):
        run_command(score, *words, "--split", "test")


def test_scoring_under_conditions_tells_of_each(manifest: str, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    words = [manifest, "--model", MODEL, "--output", run, "--local", "--max-rejected", "0.5"]
    run_command(score, *words)
    words += ["--condition", "severity", "--condition", "fade", "--seed", "4"]
    summary = run_command(score, *words)
    assert "18 segments" in summary.text
    assert "under 9 conditions, 9 rejected" in summary.text
    assert "\n  white-noise-5db: 2 scored, 1 rejected\n" in summary.text
    assert "24 of them now" in summary.text  # what was scored clean before is not scored again
    assert "augmenting" in summary.text
    assert summary.data["counts_by_condition"]["fade"]["num_predictions"] == 2

    file = tmp_path / "out.jsonl"
    assert run_command(export, run, str(file)).data["num_rows"] == 18
    conditions = [json.loads(line)["condition"] for line in file.read_text().splitlines()]
    assert Counter(conditions) == dict.fromkeys(("clean", "fade", *SETS["severity"]), 2)


@pytest.mark.parametrize("command", ["score", "plan"])
def test_the_conditions_are_listed_whatever_else_is_missing(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--list-conditions"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:-1] for line in lines if line.endswith(":")] == list(SETS)
    named = {line.split()[0] for line in lines if line.startswith("  ")}
    assert named == set(known_names())
    assert any(re.fullmatch(r"  music-20db +music .*\(needs --noise\)", line) for line in lines)
