"""`serval gate` from runs to exit codes."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.auditing import audit_runs
from orchestration.cli import main

NUM_SPEAKERS, SEGMENTS_EACH = 30, 12
NOISE = {"champion": 0.1, "worse": 0.35}


@pytest.fixture(scope="module")
def audits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Audits of a champion, of the same predictions in another file, and of a worse model."""
    folder = tmp_path_factory.mktemp("audits")
    random = np.random.default_rng(0)
    speaker = np.repeat(np.arange(NUM_SPEAKERS), SEGMENTS_EACH)
    ids = [f"segment {number}" for number in range(len(speaker))]
    truth = random.uniform(0, 1, len(ids))
    metadata = {
        "segment_id": ids,
        "speaker_id": [f"speaker {number}" for number in speaker],
        "sex": np.where(speaker % 2, "female", "male"),
        "arousal": truth,
    }
    pq.write_table(pa.table(metadata), folder / "metadata.parquet")
    said = {name: truth + random.normal(0, noise, len(ids)) for name, noise in NOISE.items()}
    said["same"] = said["champion"]
    for name, arousal in said.items():
        file = str(folder / f"{name}.parquet")
        pq.write_table(pa.table({"segment_id": ids, "arousal": arousal}), file)
        audit_runs([file], str(folder / "metadata.parquet"), str(folder / name), num_replicates=200)
    audit_runs(
        [file], str(folder / "metadata.parquet"), str(folder / "seed"), num_replicates=200, seed=1
    )
    return folder


def gate(folder: Path, candidate: str, *options: str) -> int:
    sides = ["--candidate", str(folder / candidate), "--champion", str(folder / "champion")]
    return main(["gate", *sides, *options])


def test_the_same_predictions_pass(audits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate(audits, "same") == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].startswith("PASS:")
    decision = json.loads((audits / "same" / "gate.json").read_text())
    assert (decision["outcome"], decision["accepted"]) == ("pass", True)
    assert {one["worsening"] for one in decision["comparisons"]} == {0.0}
    assert decision["candidate"]["model_version"] == "same"
    assert decision["candidate"]["weights_sha256"] is None


def test_a_worse_model_is_refused(
    audits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "decision.json")
    assert gate(audits, "worse", "--output", output, "--json") == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed.pop("output") == output
    assert printed == json.loads(Path(output).read_text())
    assert printed["outcome"] == "fail"
    assert not (audits / "worse" / "gate.json").exists()


def test_a_better_model_passes(audits: Path) -> None:
    sides = ["--candidate", str(audits / "champion"), "--champion", str(audits / "worse")]
    assert main(["gate", *sides]) == 0


@pytest.mark.parametrize(
    ("candidate", "config", "message"),
    [
        ("seed", None, "seed is 1 in the one and 0 in the other"),
        ("nowhere", None, "is no audit: audit.json is not there"),
        ("same", "statistics: [{metric: concordance_cc}]", "statistics[0].margin is missing"),
        ("same", "gaps: [{metric: accuracy, margin: .1}]", "keeps no replicates of"),
    ],
)
def test_wrong_input_ends_with_2(
    audits: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    candidate: str,
    config: str | None,
    message: str,
) -> None:
    options = []
    if config is not None:
        (tmp_path / "gate.yaml").write_text(config)
        options = ["--config", str(tmp_path / "gate.yaml")]
    assert gate(audits, candidate, *options) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
