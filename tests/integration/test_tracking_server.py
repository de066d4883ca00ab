"""The registry behind tracking servers: on local files, and on PostgreSQL and S3 as deployed."""

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest
import torch

from orchestration import mlflow_store
from orchestration.model_uris import resolve_model
from orchestration.promotion import promote
from orchestration.registry import list_models, register_model
from ser_model.models.storage import save_model, weights_sha256
from ser_model.schema import ModelError

pytestmark = pytest.mark.slow

README = Path(__file__).resolve().parents[2] / "infra" / "mlflow" / "README.md"


def write_model(folder: Path, seed: int) -> str:
    save_model(resolve_model(f"random:demo?seed={seed}").load(), str(folder))
    return str(folder)


def versions_of(name: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.version, each.aliases) for each in list_models() if each.name == name]


def test_a_model_goes_through_a_server_on_files_and_back(
    server_on_files: str, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "model", seed=4)
    assert register_model(folder, name="served") == "1"
    assert promote("models:/served@candidate", "champion").uri == "models:/served/1"
    resolved = resolve_model("models:/served@champion")
    assert resolved.location.startswith("mlflow-artifacts:")
    assert weights_sha256(resolved.load()) == weights_sha256(folder)
    assert versions_of("served") == [("1", ("candidate", "champion"))]


def test_a_champion_scores_from_postgresql_and_s3(tracked: Any, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", seed=4)
    assert register_model(folder, name="deployed") == "1"
    promote("models:/deployed@candidate", "champion")
    assert register_model(write_model(tmp_path / "next", seed=5), name="deployed") == "2"
    assert versions_of("deployed") == [("2", ("candidate",)), ("1", ("champion",))]
    champion = resolve_model("models:/deployed@champion")
    assert champion.uri == "models:/deployed/1"
    assert champion.location.startswith("mlflow-artifacts:")
    assert weights_sha256(folder) == champion.weights_sha256
    waveform, num_samples = torch.full((1, 8000), 0.1), torch.tensor([8000])
    expected = resolve_model("random:demo?seed=4").load()(waveform, num_samples).scores
    assert torch.equal(champion.load()(waveform, num_samples).scores, expected)
    keys = [each["Key"] for each in objects(tracked.bucket)]
    assert sum(key.endswith("model.safetensors") for key in keys) >= 2


def test_weights_that_were_changed_in_the_bucket_are_refused(tracked: Any, tmp_path: Path) -> None:
    register_model(write_model(tmp_path / "model", seed=6), name="changed")
    other = Path(write_model(tmp_path / "other", seed=7), "model.safetensors").read_bytes()
    (key,) = keys_of(resolve_model("models:/changed/1").location, "model.safetensors", tracked)
    boto3.client("s3").put_object(Bucket=tracked.bucket, Key=key, Body=other)
    with pytest.raises(ModelError, match="are not the ones registered"):
        resolve_model("models:/changed/1")


def test_a_run_keeps_its_metrics_and_files(tracked: Any) -> None:
    client = mlflow_store.open_client()
    params = {f"parameter.{number}": number for number in range(120)}
    run_id = mlflow_store.begin_run(client, name="a run", params=params, tags={"kind": "test"})
    for step in range(3):
        mlflow_store.log_metrics(client, run_id, {"loss": 1.0 / (1 + step)}, step=step)
    mlflow_store.log_files(client, run_id, {"notes.txt": b"what was seen"})
    mlflow_store.end_run(client, run_id)
    found = client.get_run(run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params["parameter.119"] == "119"
    assert [point.value for point in client.get_metric_history(run_id, "loss")] == [1.0, 0.5, 1 / 3]
    with mlflow_store.readable(f"{found.info.artifact_uri}/notes.txt") as file:
        assert Path(file).read_bytes() == b"what was seen"


def test_artifacts_may_go_to_the_bucket_directly(
    tracked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_store, "EXPERIMENT", "direct")
    location = f"s3://{tracked.bucket}/direct"
    mlflow_store.open_client().create_experiment("direct", artifact_location=location)
    folder = write_model(tmp_path / "model", seed=8)
    register_model(folder, name="direct")
    resolved = resolve_model("models:/direct/1")
    assert resolved.location.startswith(location)
    assert weights_sha256(resolved.load()) == weights_sha256(folder)


def test_who_has_no_account_gets_nothing(tracked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    with pytest.raises(ModelError, match=r"UNAUTHENTICATED.*set MLFLOW_TRACKING_USERNAME"):
        resolve_model("models:/deployed@champion")
    with pytest.raises(ModelError, match="UNAUTHENTICATED"):
        list_models()


def test_a_reader_scores_with_a_champion_and_cannot_replace_it(
    tracked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_model(write_model(tmp_path / "model", seed=9), name="guarded")
    promote("models:/guarded@candidate", "champion")
    register_model(write_model(tmp_path / "rival", seed=10), name="guarded")
    run_as_the_readme_says("curl", {"URI": tracked.uri, **tracked.environment})
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "scorer")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a-long-password-of-its-own")
    assert resolve_model("models:/guarded@champion").load() is not None
    with pytest.raises(ModelError, match="does not let this user do that"):
        promote("models:/guarded/2", "champion", override="I would like to")
    with pytest.raises(ModelError, match="does not let this user do that"):
        register_model(write_model(tmp_path / "third", seed=12), name="guarded")
    assert versions_of("guarded") == [("2", ("candidate",)), ("1", ("champion",))]


def test_a_registry_comes_back_from_its_dump_and_its_bucket(
    tracked: Any,
    start_tracking_server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = write_model(tmp_path / "model", seed=11)
    register_model(folder, name="precious")
    promote("models:/precious@candidate", "champion")
    location = resolve_model("models:/precious@champion").location
    run_as_the_readme_says("pg_dump", tracked.postgres.environment, tracked.postgres, tmp_path)
    # What is lost: the weights, and a database without this model.
    (key,) = keys_of(location, "model.safetensors", tracked)
    boto3.client("s3").delete_object(Bucket=tracked.bucket, Key=key)
    mlflow_store.open_client().delete_registered_model("precious")

    undelete(tracked.bucket)
    elsewhere = {**tracked.postgres.environment, "PGDATABASE": "restored"}
    restored = dataclasses.replace(tracked.postgres, environment=elsewhere)
    for program in ("createdb", "pg_restore", "mlflow db upgrade"):
        run_as_the_readme_says(program, elsewhere, restored, tmp_path)
    (tmp_path / "server").mkdir()
    with start_tracking_server(tmp_path / "server", restored) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        champion = resolve_model("models:/precious@champion")
        assert champion.location == location
        assert weights_sha256(champion.load()) == weights_sha256(folder)


def objects(bucket: str) -> Sequence[dict[str, Any]]:
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [each for page in pages for each in page.get("Contents", ())]


def keys_of(location: str, file: str, server: Any) -> list[str]:
    """Return the objects of this name that are behind a location of the tracking server."""
    folder = location.removeprefix("mlflow-artifacts:").strip("/")
    return [each["Key"] for each in objects(server.bucket) if each["Key"] == f"{folder}/{file}"]


def undelete(bucket: str) -> None:
    """Take away the newest version of whatever is deleted: the mark that says so."""
    s3 = boto3.client("s3")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for mark in page.get("DeleteMarkers", ()):
            if mark["IsLatest"]:
                s3.delete_object(Bucket=bucket, Key=mark["Key"], VersionId=mark["VersionId"])


def run_as_the_readme_says(
    program: str, environment: Mapping[str, str], postgres: Any = None, folder: Path | None = None
) -> None:
    """Run the command of infra/mlflow/README.md that begins so, word by word."""
    (command,) = re.findall(rf"^ +({program} (?:.*\\\n)*.*)$", README.read_text(), re.MULTILINE)
    programs = [] if postgres is None else [str(postgres.programs)]
    path = os.pathsep.join([*programs, str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env={**os.environ, **environment, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"},
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
