"""Options for Beam's runners are ones that Beam knows, and a job server runs the audit alike."""

import hashlib
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.auditing import audit_runs
from pipelines.runner import pipeline_options
from ser_model.schema import DIMENSIONS

ROOT = Path(__file__).resolve().parents[2]
BEAM = ROOT / "infra" / "beam"
FILES = sorted(BEAM.glob("*.args"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_beam_knows_every_option(path: Path) -> None:
    words = path.read_text().split()
    known = pipeline_options(words).get_all_options(drop_default=True)
    assert {word.removeprefix("--").partition("=")[0] for word in words} <= known.keys()
    assert known["runner"] in words[0]
    assert "FnApiRunner" not in known["runner"]


def test_a_misspelt_option_would_be_found() -> None:
    assert "paralelism" not in pipeline_options(["--paralelism=3"]).get_all_options()


def test_the_readme_names_every_file() -> None:
    text = (BEAM / "README.md").read_text()
    assert len(FILES) == 4
    assert set(re.findall(r"`([a-z-]+\.args)`", text)) == {path.name for path in FILES}


def test_the_image_copies_what_is_there() -> None:
    sources = re.findall(r"^COPY (.+) \S+$", (BEAM / "Dockerfile").read_text(), re.MULTILINE)
    assert sources
    for source in " ".join(sources).split():
        assert (ROOT / source).exists()


def write_corpus(folder: Path) -> tuple[str, str]:
    random = np.random.default_rng(0)
    ids = [f"segment {number}" for number in range(400)]
    truth = {dimension: random.uniform(0, 1, 400) for dimension in DIMENSIONS}
    predicted = {name: np.clip(v + random.normal(0, 0.1, 400), 0, 1) for name, v in truth.items()}
    metadata = {"segment_id": ids, "speaker_id": [f"s{n % 20}" for n in range(400)], **truth}
    metadata["sex"] = [("female", "male")[n % 2] for n in range(400)]
    uris = (str(folder / "predictions.parquet"), str(folder / "metadata.parquet"))
    pq.write_table(pa.table({"segment_id": ids, **predicted}), uris[0])
    pq.write_table(pa.table(metadata), uris[1])
    return uris


def hashes(output: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in output.glob("*.parquet")
    }


@pytest.mark.slow
def test_a_job_server_runs_the_audit_to_the_same_bytes(tmp_path: Path) -> None:
    """The protocol that Flink, Spark and Dataflow are spoken to in, workers and all."""
    predictions, metadata = write_corpus(tmp_path)
    audit_runs([predictions], metadata, str(tmp_path / "here"), num_replicates=50)
    command = [sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main"]
    command += ["--port_file", str(tmp_path / "port"), "--port", "0"]
    server = subprocess.Popen(command)
    try:
        while not (tmp_path / "port").exists() and server.poll() is None:
            time.sleep(0.1)
        port = (tmp_path / "port").read_text().strip()
        options = ["--runner=PortableRunner", f"--job_endpoint=localhost:{port}"]
        options += ["--environment_type=LOOPBACK", f"--temp_location={tmp_path}/temporary"]
        audit_runs(
            [predictions],
            metadata,
            str(tmp_path / "there"),
            num_replicates=50,
            beam_options=options,
        )
    finally:
        server.terminate()
        server.wait()
    assert hashes(tmp_path / "there") == hashes(tmp_path / "here")
