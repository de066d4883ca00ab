"""A driver dies of SIGKILL while its Ray worker scores on S3; the run ends as if it had not."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.commits import committed_shards
from orchestration.committed import committed_files, content_hash
from orchestration.scoring import ScoreSummary, score
from pipelines.pack import pack
from ser_model import storage
from ser_model.manifest import read_manifest, write_manifest
from ser_model.schema import CLEAN

NUM_SHARDS = 24
MODEL = "random:demo?seed=0"
DRIVER = """
import sys
from orchestration.scoring import score

source, model_uri, output = sys.argv[1:]
score(source, model_uri=model_uri, output=output, devices="cpu", num_workers=1)
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


def score_here(source: str, output: str) -> ScoreSummary:
    return score(source, model_uri=MODEL, output=output, devices="cpu", local=True)


def test_a_run_survives_the_death_of_its_driver(shards: str, s3: str, tmp_path: Path) -> None:
    run = f"{s3}/run"
    words = [sys.executable, "-c", DRIVER, shards, MODEL, run]
    driver = subprocess.Popen(words, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while len(committed_shards(run, CLEAN)) < 2 and time.monotonic() < deadline:
            assert driver.poll() is None, driver.communicate()[1].decode()
            time.sleep(0.05)
    finally:
        driver.kill()
        driver.communicate()
    assert 0 < len(committed_shards(run, CLEAN)) < NUM_SHARDS

    # Its worker may still be alive and commit a shard meanwhile: no harm is done.
    summary = score_here(shards, run)
    assert 0 < summary.num_scored_now < summary.num_segments

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
    score_here(shards, clean)
    assert content_hash(run) == content_hash(clean)
