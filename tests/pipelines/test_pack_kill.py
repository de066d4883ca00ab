"""A pack that is killed and started again makes the very bytes of one that was not."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from ser_model.manifest import write_manifest

WriteRecording = Callable[..., str]

PACK = """
import os, signal, sys

source, output, kill_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
num_appeared = 0

def kill(event, args):
    # Every file appears by a rename or a link; this one is written, and never appears.
    global num_appeared
    if event in ("os.rename", "os.link") and output in str(args[1]):
        num_appeared += 1
        if num_appeared == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
from orchestration.cli import main
sys.exit(main(["pack", source, "--output", output, "--segments-per-shard", "4"]))
"""

NUM_FILES = 7  # pack-plan.json, manifest.parquet, 3 shards, rejections of the last one, pack.json


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Six recordings of two segments each, the last of which is no audio."""
    import numpy as np
    import soundfile as sf

    folder = tmp_path_factory.mktemp("corpus")
    rows = []
    for number in range(6):
        name = f"talk {number}.wav"
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, (88_200, 2))
        sf.write(folder / name, noise, 44_100)
        rows += [{"recording": name, "start_s": at, "end_s": at + 0.9} for at in (0.0, 1.0)]
    (folder / "talk 5.wav").write_text("no audio")
    write_manifest(str(folder / "manifest.csv"), pa.Table.from_pylist(rows))
    return str(folder / "manifest.csv")


def pack(source: str, output: Path, kill_at: int = 0) -> int:
    command = [sys.executable, "-c", PACK, source, str(output), str(kill_at)]
    return subprocess.run(command, capture_output=True, check=False).returncode


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if not path.name.startswith(".")  # a killed writer's temporary file
    }


@pytest.fixture(scope="module")
def clean(source: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("clean") / "packed"
    assert pack(source, folder) == 0
    assert len(hashes(folder)) == NUM_FILES
    return hashes(folder)


def test_killed_again_and_again_it_ends_with_the_same_bytes(
    source: str, clean: dict[str, str], tmp_path: Path
) -> None:
    """Start k dies before the k-th file that it makes appear."""
    output = tmp_path / "packed"
    nums_found = [0]
    for kill_at in range(1, NUM_FILES + 2):
        status = pack(source, output, kill_at)
        found = hashes(output) if output.exists() else {}
        assert found.items() <= clean.items(), "what is there is whole and right"
        nums_found.append(len(found))
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert status == 0
    assert hashes(output) == clean
    assert nums_found == sorted(nums_found), "nothing is lost by starting again"
    assert len(set(nums_found)) > 3, "it died in the middle"
