from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.commands import pack
from orchestration.commands.summary import Summary
from ser_model import storage
from ser_model.schema import ConfigError, ManifestError

WriteRecording = Callable[..., str]


def run(*words: str) -> Summary:
    parser = argparse.ArgumentParser()
    pack.add_arguments(parser)
    args = parser.parse_args(words)
    args.beam_options = ()
    return pack.run(args)


@pytest.fixture
def manifest_uri(tmp_path: Path, write_recording: WriteRecording) -> str:
    for number in range(3):
        write_recording(tmp_path / f"{number}.wav", seed=number)
    uri = tmp_path / "manifest.csv"
    lines = ["0.wav,train,7", "1.wav,test,1", "2.wav,test,4", "absent.wav,test,2"]
    uri.write_text("\n".join(["recording,split,arousal", *lines]))
    return str(uri)


def test_summary(manifest_uri: str, tmp_path: Path) -> None:
    output = str(tmp_path / "shards")
    summary = run(manifest_uri, "--output", output, "--segments-per-shard", "2")
    assert summary.text.splitlines() == [
        f"packed 3 of 4 segments into 2 shards: {output}",
        "rejected 1: recording_not_found 1",
    ]
    assert summary.data == {
        "output": output,
        "num_shards": 2,
        "num_segments": 4,
        "num_packed": 3,
        "num_rejected": 1,
        "rejections": {"recording_not_found": 1},
    }
    # The truth stays on its own scale: the audit is told what it is.
    packed = storage.read_table(storage.join(output, "manifest.parquet"))
    assert packed["arousal"].to_pylist() == [7.0, 1.0, 4.0, 2.0]


def test_one_split(manifest_uri: str, tmp_path: Path) -> None:
    output = str(tmp_path / "shards")
    assert run(manifest_uri, "--output", output, "--split", "test").data["num_segments"] == 3
    with pytest.raises(ManifestError, match="no row of split 'dev'"):
        run(manifest_uri, "--output", str(tmp_path / "other"), "--split", "dev")


def test_wrong_usage(manifest_uri: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        run(manifest_uri, "--output", str(tmp_path / "x"), "--segments-per-shard", "0")
    with pytest.raises(ManifestError, match="does not exist"):
        run(str(tmp_path / "absent.csv"), "--output", str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()
