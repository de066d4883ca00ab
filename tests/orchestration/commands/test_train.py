import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from orchestration.commands import train
from orchestration.commands.summary import Summary
from ser_model.schema import ConfigError

FIELDS = ("backbone.channels=[4,4]", "backbone.num_pools=1", "num_epochs=1", "batch_size=4")
OVERRIDES = [word for field in FIELDS for word in ("--set", field)]


def run(*words: str) -> Summary:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return train.run(parser.parse_args(words))


def test_a_model_is_trained_and_summed_up(
    tmp_path: Path, write_recording: Callable[..., str]
) -> None:
    lines = ["recording,speaker_id,split,arousal,dominance,valence"]
    for number in range(8):
        write_recording(tmp_path / f"{number}.wav", seed=number)
        split = "train" if number < 4 else "dev"
        lines.append(f"{number}.wav,{split},{split},{number % 4 + 1},{number % 3 + 1},{8 - number}")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("\n".join(lines))
    output = str(tmp_path / "model")
    words = ("demo", "--manifest", str(manifest), "--output", output, "--truth-range", "1:8")
    summary = run(*words, *OVERRIDES)
    assert summary.text.splitlines()[:2] == [
        "trained: recipe demo, dimensions, segments train 4, dev 4",
        "0 segments rejected, 0 without truth",
    ]
    assert summary.data["output"] == output
    assert summary.data["model_uri"] is None
    assert run(*words, *OVERRIDES).data["resumed"]


def test_list_names_every_recipe_on_a_line_of_its_own() -> None:
    assert "demo" in [line.split()[0] for line in run("--list").text.splitlines()]


def test_a_dry_run_prints_the_resolved_recipe() -> None:
    text = run("demo", "--dry-run", "--target", "emotion", *OVERRIDES).text
    recipe = yaml.safe_load(text)
    assert recipe["task"] == "emotion"
    assert recipe["backbone"]["channels"] == [4, 4]
    assert recipe["schedule"]["warmup"] == 0.2
    lines = text.splitlines()
    assert "task: emotion  # overridden, was dimensions" in lines
    assert "  channels: [4, 4]  # overridden, was [8, 16, 32, 64]" in lines
    assert "seed: 0" in lines


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "needs a RECIPE"),
        (("demo",), "needs --manifest M and --output DIR"),
        (("demo", "--dry-run", "--set", "sead=1"), "sead is not known"),
        (("nothing", "--dry-run"), "no recipe 'nothing'"),
    ],
)
def test_wrong_usage_is_named(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(*words)
