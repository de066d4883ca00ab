"""`serval ensemble`, from words to summary."""

import argparse
import json
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.commands import ensemble, score
from orchestration.commands.summary import Summary
from orchestration.model_uris import size_on_disk
from ser_model.manifest import write_manifest
from ser_model.models.storage import WEIGHTS_NAME
from ser_model.schema import ConfigError


def run(module: object, *words: str) -> Summary:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    args = parser.parse_args(words)
    args.beam_options = ()
    return module.run(args)


@pytest.fixture
def manifest(tmp_path: Path, write_recording) -> str:
    rows = []
    for number in range(6):
        write_recording(tmp_path / f"{number}.wav", duration_s=1.0 + number / 4)
        values = {"arousal": number / 5, "dominance": 0.5 - number / 12, "valence": number % 2}
        speaker = {"speaker_id": f"speaker {number % 3}", "split": "dev"}
        rows.append({"recording": f"{number}.wav", **speaker, **values})
    write_manifest(str(tmp_path / "manifest.parquet"), pa.Table.from_pylist(rows))
    return str(tmp_path / "manifest.parquet")


def test_runs_are_searched_and_voted_on(manifest: str, tmp_path: Path) -> None:
    runs = [str(tmp_path / f"run-{seed}") for seed in range(3)]
    for seed, folder in enumerate(runs):
        words = ["--model", f"random:demo?seed={seed}", "--output", folder, "--local"]
        run(score, manifest, *words)
    options = ["--metadata", manifest, "--size", "2,3", "--replicates", "20"]
    found = run(ensemble, "search", *runs, *options)
    assert "mean vote: 4 combinations of 3 members on 6 dev segments of 3 speakers" in found.text
    members = json.loads(json.dumps(found.data))["members"]
    assert [member["name"] for member in members] == [f"demo/random-{n}" for n in range(3)]
    for member in members:
        assert member["model_s"] > 0
        assert member["audio_s_per_s"] == pytest.approx(9.75 / member["model_s"])
        assert member["weights_bytes"] is None  # there is no file of random weights

    voted = run(ensemble, "vote", *runs, "--output", str(tmp_path / "vote"))
    assert voted.text.splitlines()[:2] == [
        "mean vote of 3 members on 6 segments: 6 predictions, 0 rejected",
        "  demo/random-0: 0 rejected",
    ]
    assert voted.data["num_predictions"] == 6


def test_sizes_are_numbers() -> None:
    with pytest.raises(ConfigError, match="--size '3,x' is not N or N,N"):
        run(ensemble, "search", "a.csv", "--metadata", "m.csv", "--size", "3,x")


def test_json_may_stand_behind_the_action() -> None:
    parser = argparse.ArgumentParser()
    ensemble.add_arguments(parser)
    assert parser.parse_args(["vote", "a", "b", "--output", "c", "--json"]).json


def test_the_size_of_weights_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / WEIGHTS_NAME).write_bytes(b"12345")
    assert size_on_disk(str(tmp_path)) == 5
    assert size_on_disk(f"onnx:{tmp_path / WEIGHTS_NAME}") == 5
    assert size_on_disk(str(tmp_path / "gone")) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'none.db'}")
    assert size_on_disk("models:/nobody/1") is None
    assert not (tmp_path / "none.db").exists()
