"""Late fusion: two models trained apart, which score as one."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from orchestration.commands import train
from orchestration.ensemble_training import train_ensemble
from orchestration.model_uris import resolve_model
from ser_model.manifest import write_manifest
from ser_model.models.storage import load_model
from ser_model.predict import Predictor
from ser_model.schema import CLEAN, ConfigError

RECIPE = "triantafyllopoulos/late-fusion"
TINY = (
    *("batch_size=4", "num_epochs=1", "max_steps=2", "num_seeds=1"),
    *("cnn14.backbone.channels=[4,8]", "cnn14.backbone.num_pools=2", "cnn14.head.num_hidden=8"),
    *("bert.backbone.pretrained=null", "bert.backbone.hidden_size=16"),
    *("bert.backbone.num_hidden_layers=1", "bert.backbone.num_attention_heads=2"),
    *("bert.backbone.intermediate_size=16", "bert.backbone.vocab_size=120"),
    *("bert.backbone.max_position_embeddings=16", "bert.backbone.max_tokens=16"),
)
EMOTIONS = ("anger", "joy")


@pytest.fixture
def manifest(tmp_path: Path, write_recording: Callable[..., str]) -> str:
    rows = []
    for number in range(12):
        name = f"{number}.wav"
        write_recording(tmp_path / name, duration_s=0.5 + number / 24, seed=number)
        rows.append(
            {
                "recording": name,
                "speaker_id": f"speaker {number % 4}",
                "split": "train" if number % 4 < 2 else "dev",
                "transcript": "glad " * (number % 5) + "sad",
                "emotion": EMOTIONS[number // 4 % 2],
                "arousal": number / 11,
                "dominance": number % 3 / 2,
                "valence": 1 - number / 11,
            }
        )
    write_manifest(str(tmp_path / "manifest.csv"), pa.Table.from_pylist(rows))
    return str(tmp_path / "manifest.csv")


def predict(model: object) -> list:
    random = np.random.default_rng(0)
    items = [
        (f"{number}", CLEAN, random.normal(0, 0.1, 6_000 + 800 * number).astype(np.float32), words)
        for number, words in enumerate(["glad", "sad sad", "glad sad glad", ""])
    ]
    return sorted(Predictor(model).predict(items), key=lambda outcome: outcome.segment_id)


def test_the_model_says_the_mean_of_what_its_members_say(manifest: str, tmp_path: Path) -> None:
    output = str(tmp_path / "model")
    summary = train_ensemble(RECIPE, manifest, output, overrides=TINY, devices="cpu")
    assert (summary.vote, summary.model_uri) == ("mean", None)
    assert [training.task for training in summary.trainings] == ["dimensions", "dimensions"]
    fused = predict(resolve_model(output).load())
    members = [predict(load_model(f"{output}/{name}")) for name in ("cnn14", "bert")]
    for outcome, *said in zip(fused, *members, strict=True):
        expected = np.mean([one.dimensions for one in said], axis=0)
        assert outcome.dimensions == pytest.approx(expected, abs=1e-6)
        assert said[0].dimensions != said[1].dimensions
    again = train_ensemble(RECIPE, manifest, output, overrides=TINY, devices="cpu")
    assert all(training.resumed for training in again.trainings)
    assert again.weights_sha256 == summary.weights_sha256


def test_emotions_are_trained_voted_on_and_registered_by_the_command(
    manifest: str, tmp_path: Path, mlflow_folder: Path
) -> None:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    output = str(tmp_path / "model")
    words = [RECIPE, "--manifest", manifest, "--output", output, "--target", "emotion"]
    words += ["--name", "late", "--devices", "cpu"]
    for override in TINY:
        words += ["--set", override]
    done = train.run(parser.parse_args(words))
    assert done.text.splitlines()[-2:] == [
        f"ensemble: {output}, a soft vote (sha256 {done.data['weights_sha256'][:12]})",
        "registered: models:/late/1",
    ]
    ensemble = resolve_model("models:/late@candidate").load()
    assert list(ensemble.members) == ["models:/late-cnn14/1", "models:/late-bert/1"]
    members = [predict(resolve_model(uri).load()) for uri in ensemble.members]
    for outcome, *said in zip(predict(ensemble), *members, strict=True):
        expected = np.mean([list(one.emotion_scores.values()) for one in said], axis=0)
        assert list(outcome.emotion_scores.values()) == pytest.approx(expected, abs=1e-6)


def test_it_is_listed_and_shown() -> None:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    listed = train.run(parser.parse_args(["--list"])).data["recipes"]
    assert list(listed) == sorted(listed)
    assert RECIPE in listed
    shown = train.run(parser.parse_args([RECIPE, "--dry-run", "--target", "emotion"]))
    assert "members: [triantafyllopoulos/cnn14, triantafyllopoulos/bert]" in shown.text
    assert "task: emotion  # overridden, was dimensions" in shown.text


def test_folds_are_for_the_members_alone(manifest: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="vote on what they predict of test: serval ensemble"):
        train_ensemble(
            RECIPE, manifest, str(tmp_path), overrides=[*TINY, "data.fold_by=speaker_id"]
        )
