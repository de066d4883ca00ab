"""The command `serval probe text`, on pieces of the demo's corpus, from words to summary."""

import json
from pathlib import Path

import pytest

from orchestration.cli import main
from orchestration.demo.corpus import MANIFEST, CorpusConfig, make_corpus

CORPUS = CorpusConfig(seed=3, num_speakers={"train": 0, "dev": 0, "test": 1}, num_segments=3)
NUM_SEGMENTS = 18


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's corpus, made small, and a run over it."""
    folder = tmp_path_factory.mktemp("demo")
    make_corpus(str(folder / "corpus"), CORPUS)
    manifest, run = str(folder / "corpus" / MANIFEST), str(folder / "run")
    model = ("--model", "random:demo?seed=0")
    assert main(["score", manifest, *model, "--output", run, "--local"]) == 0
    return folder


def probe(corpus: Path, *options: str) -> int:
    manifest = str(corpus / "corpus" / MANIFEST)
    words = ["probe", "text", str(corpus / "run"), "--metadata", manifest, "--local"]
    return main([*words, "--replicates", "50", *options])


def test_a_probe_of_the_demos_corpus(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "probe")
    assert probe(corpus, "--output", output) == 0
    text = capsys.readouterr().out
    assert "linguistic probe of random:demo?seed=0" in text
    assert f"original speech: {NUM_SEGMENTS} of {NUM_SEGMENTS} segments" in text
    assert f"synthetic speech: {NUM_SEGMENTS} of {NUM_SEGMENTS} segments" in text
    assert "VADER" in text
    assert text.splitlines()[-2].startswith("meaning: ")
    assert probe(corpus, "--output", output, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["output"] == output
    assert data["counts"]["both"] == NUM_SEGMENTS
    assert {row["num_speakers"] for row in data["statistics"]} == {6}


def test_wrong_options_end_with_2(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "probe")
    for options, message in (
        (["--voice", "en-xx"], "no voice 'en-xx'"),
        (["--sentiment", "sentiment"], "row 1: sentiment 'neutral' is not a number"),
        (["--sentiment", "gone"], "neither a column"),
        (["--truth-range", "1"], "is not LOW:HIGH"),
        (["--model", "random:demo?seed=1"], "compares one model with itself"),
    ):
        assert probe(corpus, "--output", output, *options) == 2, options
        assert message in capsys.readouterr().err
    assert not Path(output).exists()
