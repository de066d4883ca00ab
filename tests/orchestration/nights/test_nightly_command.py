"""`serval nightly` as it is typed: what it prints, and its exit codes."""

import json
from pathlib import Path

import pytest

from orchestration.cli import main
from orchestration.nights.config import example
from orchestration.promotion import promote
from orchestration.registry import set_alias


def test_init_prints_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nightly", "--init"]) == 0
    assert capsys.readouterr().out == example()


def test_a_dry_run_tells_and_writes_nothing(nights, capsys) -> None:
    config = nights.write_config("notify: {webhook_variable: SERVAL_WEBHOOK}")
    first = nights.register(nights.right)
    words = ["nightly", str(nights.folder / "nightly.yaml"), "--dry-run", "--night", "1"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert f"candidate  {first}\n" in told
    assert "champion   none yet: the candidate becomes it without a gate" in told
    assert "corpus tones: 96 segments\n" in told
    assert "candidate  would be scored: " in told
    assert "told: the webhook in SERVAL_WEBHOOK, when bad" in told
    assert not Path(config.output).exists()


def test_a_dry_run_knows_what_is_scored_and_what_the_gate_asks(story, capsys) -> None:
    promote(story.versions[0], "champion", override="again")
    set_alias(story.nights.model, "candidate", "2")
    words = ["nightly", str(story.nights.folder / "nightly.yaml"), "--dry-run"]
    assert main([*words, "--night", "9"]) == 0
    told = capsys.readouterr().out
    assert "candidate  is scored already: " in told
    assert "gate       concordance_cc may be worse by 0.02; " in told
    assert main([*words, "--night", "no name"]) == 2
    assert main([*words, "--night", "9", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["corpora"][0]["runs"]["champion"]["is_scored"] is True


def test_a_refused_candidate_ends_with_1_and_says_why(story, capsys) -> None:
    promote(story.versions[0], "champion", override="again")
    set_alias(story.nights.model, "candidate", "2")
    words = ["nightly", str(story.nights.folder / "nightly.yaml"), "--night", "9-refused"]
    assert main(words) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        f"night 9-refused: REFUSED: {story.versions[1]}; {story.versions[0]} stays champion"
    )
    assert any(line.startswith("    refused: CCC ") for line in lines)
    assert lines[-1] == f"all nights: {story.config.output}/index.html"
    assert main([*words, "--dry-run"]) == 0
    assert capsys.readouterr().out == ("night 9-refused is complete: it would only be told again\n")


def test_a_wrong_configuration_ends_with_2_and_names_the_line(tmp_path: Path, capsys) -> None:
    path = tmp_path / "nightly.yaml"
    path.write_text("output: a\nmodel: b\ncorpora:\n  - {nmae: c}\n")
    assert main(["nightly", str(path)]) == 2
    assert "nightly.yaml, line 4: corpora[0].nmae is not known" in capsys.readouterr().err
