"""Two nights with MLflow on PostgreSQL and S3, and with everything that they write on S3."""

from pathlib import Path
from typing import Any

import pytest

from orchestration import mlflow_store
from orchestration.demo.corpus import make_corpus, quick_corpus
from orchestration.model_uris import resolve_model
from orchestration.nightly import run_night
from orchestration.nights.config import read_nightly_config
from orchestration.nights.record import read_nights
from orchestration.registry import find_alias, register_model
from ser_model import storage
from ser_model.models.storage import save_model

pytestmark = pytest.mark.slow


def register(folder: Path, seed: int) -> None:
    path = str(folder / f"model {seed}")
    save_model(resolve_model(f"random:demo?seed={seed}").load(), path)
    register_model(path, name="nights")


def test_two_nights_on_postgresql_and_s3(tracked: Any, s3: str, tmp_path: Path) -> None:
    make_corpus(str(tmp_path / "corpus"), quick_corpus(0))
    config_file = tmp_path / "nightly.yaml"
    config_file.write_text(f"""
output: {s3}/nights
model: nights
corpora:
  - {{name: demo, source: corpus/manifest.csv, split: test}}
scoring: {{devices: cpu, local: true}}
audit: {{replicates: 200}}
""")
    config = read_nightly_config(str(config_file))
    register(tmp_path, 1)
    first = run_night(config, "1")
    assert (first.outcome, first.is_promoted, first.exit_code) == ("first", True, 0)
    register(tmp_path, 2)
    second = run_night(config, "2")
    # Neither knows anything of the corpus: that the candidate is no worse is not shown.
    assert (second.outcome, second.is_promoted, second.exit_code) == ("refused", False, 1)
    champion = find_alias("nights", "champion")
    assert champion is not None
    assert champion.version == "1"
    assert read_nights(config.output) == [first, second]
    page = storage.read_bytes(f"{s3}/nights/index.html").decode()
    assert "models:/nights/2" in page
    report = storage.read_bytes(str(second.corpora[0].report)).decode()
    assert f'href="{tracked.uri}/#/experiments/' in report
    assert f'href="{tracked.uri}/#/models/nights/versions/2"' in report
    client = mlflow_store.open_client()
    files = client.list_artifacts(str(second.mlflow_run), "demo")
    assert {"demo/gate.json", "demo/report.html"} <= {file.path for file in files}
    run = client.get_run(str(second.mlflow_run))
    assert run.data.tags["serval.outcome"] == "refused"
    assert "demo/candidate/concordance_cc/arousal" in run.data.metrics
