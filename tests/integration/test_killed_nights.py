"""`serval nightly` is killed, really, in the middle of whatever it does, until it has survived."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.demo.corpus import make_corpus, quick_corpus
from orchestration.model_uris import resolve_model
from orchestration.nights.record import find_night
from orchestration.registry import find_alias, register_model
from ser_model import storage
from ser_model.models.storage import save_model

FIRST_KILL_S, LATER_EACH_TIME_S = 3.0, 1.5


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small corpus, two models that know nothing of it, and a configuration."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    make_corpus(str(tmp_path / "corpus"), quick_corpus(0))
    for seed in (1, 2):
        path = str(tmp_path / f"model {seed}")
        save_model(resolve_model(f"random:demo?seed={seed}").load(), path)
        register_model(path, name="killed")
    (tmp_path / "nightly.yaml").write_text(
        """
output: nights
model: killed
candidate: "2"
corpora:
  - {name: demo, source: corpus/manifest.csv, split: test}
scoring: {devices: cpu, workers: 1}
audit: {replicates: 200}
"""
    )
    return tmp_path


def nightly(folder: Path, output: str) -> subprocess.Popen[str]:
    path = folder / f"{output}.yaml"
    path.write_text(
        (folder / "nightly.yaml").read_text().replace("output: nights", f"output: {output}")
    )
    command = [sys.executable, "-m", "orchestration.cli", "nightly", str(path), "--night", "1"]
    # A group of its own: what it started is killed with it, as with a container.
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.slow
def test_a_night_that_is_killed_again_and_again_decides_as_one_that_is_not(folder: Path) -> None:
    from orchestration.promotion import promote

    promote("models:/killed/1", "champion")
    whole = nightly(folder, "whole")
    _, errors = whole.communicate(timeout=300)
    assert whole.returncode in (0, 1), errors
    expected = find_night(str(folder / "whole"), "1")
    assert expected is not None
    promote("models:/killed/1", "champion", override="again")
    wait_s, num_kills = FIRST_KILL_S, 0
    while True:
        process = nightly(folder, "killed")
        try:
            _, errors = process.communicate(timeout=wait_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            num_kills += 1
            wait_s += LATER_EACH_TIME_S
            continue
        break
    assert num_kills >= 3
    night = find_night(str(folder / "killed"), "1")
    assert night is not None, errors
    assert process.returncode == whole.returncode == night.exit_code
    assert (night.outcome, night.is_promoted) == (expected.outcome, expected.is_promoted)
    ours, theirs = (storage.read_json(str(n.corpora[0].gate)) for n in (night, expected))
    assert ours["comparisons"] == theirs["comparisons"]
    champion = find_alias("killed", "champion")
    assert champion is not None
    assert champion.version == ("2" if night.is_promoted else "1")
