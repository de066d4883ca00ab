import argparse
from pathlib import Path

import pytest

from orchestration.commands import models
from orchestration.commands.summary import Summary
from orchestration.model_uris import resolve_model
from ser_model.models.storage import save_model
from ser_model.schema import ModelError


def run(*words: str) -> Summary:
    parser = argparse.ArgumentParser()
    models.add_arguments(parser)
    return models.run(parser.parse_args(words))


def test_a_folder_is_imported_shown_promoted_and_listed(
    tmp_path: Path, mlflow_folder: Path
) -> None:
    save_model(resolve_model("random:demo?seed=5").load(), str(tmp_path))
    assert run("import", str(tmp_path), "--name", "imported").text == (
        "registered: models:/imported/1"
    )
    assert run("promote", "models:/imported@candidate", "--alias", "champion").text == (
        "champion: models:/imported/1"
    )
    shown = run("show", "models:/imported@champion")
    assert shown.data["uri"] == "models:/imported/1"
    assert "targets             arousal, dominance, valence" in shown.text.splitlines()
    assert "promotion.how       first" in shown.text.splitlines()
    listed = run("list")
    (line,) = [line for line in listed.text.splitlines() if "models:/imported/1" in line]
    assert line.split()[1:] == [
        "dimensions",
        str(shown.data["weights_sha256"])[:12],
        "candidate,",
        "champion",
    ]


def test_json_may_stand_behind_the_action() -> None:
    parser = argparse.ArgumentParser()
    models.add_arguments(parser)
    assert parser.parse_args(["list", "--json"]).json


def test_what_is_no_model_is_refused(tmp_path: Path, mlflow_folder: Path) -> None:
    with pytest.raises(ModelError, match=r"config.json cannot be read"):
        run("import", str(tmp_path), "--name", "nothing")
