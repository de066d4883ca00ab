"""The driver dies of SIGKILL while it scores on S3; the same command ends as if it had not."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.commits import committed_shards
from orchestration.ledger import committed_files, content_hash
from orchestration.scoring import score
from pipelines.pack import pack
from ser_model import storage
from ser_model.manifest import read_manifest, write_manifest
from ser_model.schema import CLEAN

NUM_SHARDS = 24
DRIVER = """
import logging
import sys
from orchestration.scoring import score

logging.basicConfig(level=logging.INFO)
source, output = sys.argv[1:]
score(source, model_uri="random:demo?seed=0", output=output, devices="cpu", num_workers=1)
"""


@pytest.fixture
def shards(s3: str, write_recording) -> str:
    rows = []
    for number in range(NUM_SHARDS):
        write_recording(f"{s3}/corpus/{number}.wav", duration_s=2.0, seed=number)
        rows += [
            {"recording": f"{number}.wav", "start_s": start_s, "end_s": start_s + 1}
            for start_s in (0.0, 1.0)
        ]
    write_manifest(f"{s3}/corpus/manifest.parquet", pa.Table.from_pylist(rows))
    pack(read_manifest(f"{s3}/corpus/manifest.parquet"), f"{s3}/shards", segments_per_shard=2)
    return f"{s3}/shards"


def start_driver(source: str, output: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", DRIVER, source, output], stderr=subprocess.PIPE)


def test_a_run_survives_the_death_of_its_driver(shards: str, s3: str, tmp_path: Path) -> None:
    run = f"{s3}/run"
    driver = start_driver(shards, run)
    try:
        deadline = time.monotonic() + 120
        while len(committed_shards(run, CLEAN)) < 2 and time.monotonic() < deadline:
            assert driver.poll() is None, driver.communicate()[1].decode()
            time.sleep(0.05)
    finally:
        driver.kill()
        driver.communicate()
    num_before = len(committed_shards(run, CLEAN))
    assert 0 < num_before < NUM_SHARDS

    again = start_driver(shards, run)
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors.decode()
    assert "resuming" in errors.decode()

    committed = committed_files(run)
    ids = Counter(
        segment_id
        for uri in committed.predictions
        for segment_id in storage.read_table(uri)["segment_id"].to_pylist()
    )
    assert sorted(ids) == sorted(
        read_manifest(f"{shards}/manifest.parquet")["segment_id"].to_pylist()
    )
    assert set(ids.values()) == {1}
    clean = str(tmp_path / "clean")
    score(shards, model_uri="random:demo?seed=0", output=clean, devices="cpu", local=True)
    assert content_hash(run) == content_hash(clean)
