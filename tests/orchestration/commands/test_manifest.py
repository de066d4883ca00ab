from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.commands import manifest
from orchestration.commands.summary import Summary
from orchestration.readers.catalogue import READERS
from orchestration.readers.expectation import Expectation
from ser_model.manifest import read_manifest
from ser_model.schema import ConfigError, ManifestError

WriteRecording = Callable[..., str]


def run(*words: str) -> Summary:
    parser = argparse.ArgumentParser()
    manifest.add_arguments(parser)
    return manifest.run(parser.parse_args(words))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "a corpus"
    folder.mkdir()
    lines = [
        f"s{speaker}/{number}.wav,s{speaker},{'female' if speaker % 2 else 'male'},3,36.0"
        for speaker in range(10)
        for number in range(10)
    ]
    text = "\n".join(["file,speaker_id,sex,arousal,duration_s", *lines])
    (folder / "labels.csv").write_text(text)
    for line in lines:
        recording = folder / line.partition(",")[0]
        recording.parent.mkdir(exist_ok=True)
        recording.touch()
    return folder


def test_summary_and_manifest(corpus: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "m.csv")
    summary = run(str(corpus), "--output", output, "--split", "60:20:20", "--truth-range", "1:5")
    assert summary.text.splitlines() == [
        f"read {corpus} with the reader table",
        "100 segments, 100 recordings, 10 speakers, 1.0 hours",
        "segments by split: train 60, dev 20, test 20",
        f"manifest: {output}",
    ]
    assert summary.data == {
        "output": output,
        "reader": "table",
        "num_segments": 100,
        "num_recordings": 100,
        "num_speakers": 10,
        "hours": 1.0,
        "num_segments_by_split": {"train": 60, "dev": 20, "test": 20},
        "mismatches": [],
    }
    table = read_manifest(output)
    assert table["segment_id"][0].as_py() == "s0/0.wav"
    assert table["recording"][0].as_py() == str(corpus / "s0" / "0.wav")
    assert set(table["arousal"].to_pylist()) == {0.5}
    assert "a corpus/s0/0.wav" in Path(output).read_text()  # relative: the folder can move


def test_a_corpus_that_is_not_all_there_is_said_so(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expectation = Expectation(
        description="a corpus", num_segments=101, num_speakers=10, source="its authors"
    )
    monkeypatch.setattr(READERS["table"], "EXPECTED", (expectation,), raising=False)
    monkeypatch.setattr(READERS["table"], "TRUTH_RANGE", (1.0, 5.0), raising=False)
    output = str(tmp_path / "m.parquet")
    summary = run(str(corpus), "--output", output)
    sentence = (
        "expected 101 segments by 10 speakers (a corpus; its authors), found 100 by 10: "
        "files are missing or the release differs"
    )
    assert sentence in summary.text.splitlines()
    assert summary.data["mismatches"] == [sentence]
    assert set(read_manifest(output)["arousal"].to_pylist()) == {0.5}
    run(str(corpus), "--output", output, "--truth-range", "0:12")  # the user knows better
    assert set(read_manifest(output)["arousal"].to_pylist()) == {0.25}


def test_the_folder_can_move(corpus: Path, tmp_path: Path) -> None:
    run(str(corpus), "--output", str(corpus / "m.jsonl"), "--truth-range", "1:5")
    moved = corpus.rename(tmp_path / "moved")
    assert read_manifest(str(moved / "m.jsonl"))["recording"][0].as_py() == str(moved / "s0/0.wav")


def test_another_seed_is_another_split(corpus: Path, tmp_path: Path) -> None:
    splits = []
    for seed in ("0", "0", "1"):
        output = str(tmp_path / "m.parquet")
        words = ["--split", "60:20:20", "--truth-range", "1:5", "--seed", seed]
        run(str(corpus), "--output", output, *words)
        splits.append(read_manifest(output)["split"].to_pylist())
    assert splits[0] == splits[1] != splits[2]


def test_wrong_input_writes_nothing(corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.csv"
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a.wav").touch()
    for words, error, message in [
        (["--truth-range", "5"], ConfigError, "LOW:HIGH"),
        (["--split", "60:40"], ConfigError, "TRAIN:DEV:TEST"),
        ([], ManifestError, "arousal 3.0 is outside 0:1"),
    ]:
        with pytest.raises(error, match=message):
            run(str(corpus), "--output", str(output), *words)
    with pytest.raises(ManifestError, match="needs a column 'speaker_id'"):
        run(str(tmp_path / "plain"), "--output", str(output), "--split", "60:20:20")
    with pytest.raises(ManifestError, match="must end in"):
        run(str(tmp_path / "plain"), "--output", str(tmp_path / "m.txt"))
    assert not output.exists()
