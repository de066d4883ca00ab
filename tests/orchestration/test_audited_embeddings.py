"""Embeddings on their way from a run, or from another tool's file, into the audit."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.auditing import audit_runs
from orchestration.commits import RunIdentity
from orchestration.found_runs import find_run
from orchestration.ledger import Ledger
from ser_model import storage
from ser_model.schema import CLEAN, EMBEDDING, Prediction, RunError

NUM = 40
IDS = [f"segment {number:02}" for number in range(NUM)]
IDENTITY = RunIdentity(
    model_uri="models:/demo/1",
    model_version="1",
    weights_sha256="abc",
    dtype="float32",
    embeddings=True,
    num_threads=1,
    source_sha256="def",
    num_segments=NUM,
    num_shards=1,
)


@pytest.fixture
def metadata(tmp_path):
    table = pa.table(
        {
            "segment_id": IDS,
            "speaker_id": [f"speaker {number % 8}" for number in range(NUM)],
            "corpus": ["first", "second"] * (NUM // 2),
            "arousal": np.random.default_rng(0).uniform(0, 1, NUM),
        }
    )
    uri = str(tmp_path / "metadata.parquet")
    storage.write_table(uri, table)
    return uri


def write_run(folder: Path, *, embeddings: bool) -> str:
    """A run whose embeddings tell the corpora apart."""
    ledger = Ledger(str(folder), dataclasses.replace(IDENTITY, embeddings=embeddings))
    ledger.start({"source": "manifest.csv"})
    random = np.random.default_rng(1)
    outcomes = [
        Prediction(
            segment_id=segment_id,
            condition=CLEAN,
            duration_s=1.0,
            dimensions=tuple(random.uniform(0, 1, 3).tolist()),
            embedding=(float(number % 2), *random.normal(0, 0.01, 3)) if embeddings else None,
        )
        for number, segment_id in enumerate(IDS)
    ]
    ledger.commit(condition=CLEAN, shard=0, attempt="a", segment_ids=IDS, outcomes=outcomes)
    ledger.complete([NUM], [CLEAN])
    return str(folder)


def test_a_run_that_kept_embeddings_is_asked_what_its_neighbours_share(tmp_path, metadata):
    run = write_run(tmp_path / "run", embeddings=True)
    audited = audit_runs([run], metadata, str(tmp_path / "audit"), num_replicates=50)
    table = pq.read_table(tmp_path / "audit" / "embeddings.parquet")
    assert table["segment_id"].to_pylist() == IDS
    rows = {row["metric"]: row for row in audited.statistics.to_pylist()}
    # Neighbours are of other speakers, and speakers 0, 2, 4, 6 are of the first corpus.
    assert rows["neighbour_share[corpus]"]["value"] == 1.0
    assert rows["neighbour_share_by_chance[corpus]"]["value"] == pytest.approx(15 / 35)
    assert rows["neighbour_share[speaker_id]"]["value"] < 0.5


def test_a_run_that_kept_none_has_none(tmp_path, metadata):
    run = write_run(tmp_path / "run", embeddings=False)
    assert not find_run(run).has_embeddings()
    audited = audit_runs([run], metadata, str(tmp_path / "audit"), num_replicates=2)
    assert pq.read_table(tmp_path / "audit" / "embeddings.parquet").num_rows == 0
    assert not any("neighbour" in row["metric"] for row in audited.statistics.to_pylist())


def test_files_of_other_tools_show_what_they_have(tmp_path):
    columns = {"segment_id": IDS[:2], "arousal": [0.1, 0.2]}
    plain, rich = (str(tmp_path / name) for name in ("plain.parquet", "rich.parquet"))
    storage.write_table(plain, pa.table(columns))
    vectors = pa.array([[1.0, 2.0], [3.0, 4.0]], EMBEDDING.type)
    storage.write_table(rich, pa.table({**columns, "embedding": vectors}))
    Path(tmp_path, "table.csv").write_text("segment_id,embedding\na,1\n")
    Path(tmp_path, "broken.parquet").write_bytes(b"PAR1 and nothing else")
    found = {
        name: find_run(str(tmp_path / name)).has_embeddings()
        for name in ("plain.parquet", "rich.parquet", "table.csv", "broken.parquet")
    }
    assert found == {
        "plain.parquet": False,
        "rich.parquet": True,
        "table.csv": False,
        "broken.parquet": False,
    }


def test_a_file_that_cannot_be_read_is_said_to_be_so_by_the_audit(tmp_path, metadata):
    Path(tmp_path, "broken.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(RunError, match=r"broken.parquet cannot be read"):
        audit_runs([str(tmp_path / "broken.parquet")], metadata, str(tmp_path / "audit"))
