"""The storage policies allow what Serval's commands ask of S3, and nothing that they never do."""

import fnmatch
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from aiobotocore.client import AioBaseClient

from orchestration.auditing import audit_runs
from orchestration.scoring import score
from pipelines.transforms import spilling
from ser_model import storage
from ser_model.schema import DIMENSIONS

STORAGE = Path(__file__).resolve().parents[2] / "infra" / "storage"
POLICIES = sorted(STORAGE.glob("*.json"))
ACTIONS = {
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "GetObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
}
Request = tuple[str, str]
"""An action and the resource that it is for."""


def statements(role: str) -> list[dict[str, Any]]:
    policy = json.loads((STORAGE / f"{role}.json").read_text())
    assert policy["Version"] == "2012-10-17"
    return policy["Statement"]


def allows(role: str, request: Request) -> bool:
    action, resource = request
    return any(
        action in each["Action"]
        and any(fnmatch.fnmatchcase(resource, pattern) for pattern in each["Resource"])
        for each in statements(role)
    )


@pytest.mark.parametrize("role", [path.stem for path in POLICIES])
def test_a_policy_names_its_actions_and_one_folder_to_write(role: str) -> None:
    writes: set[str] = set()
    for each in statements(role):
        assert each.keys() == {"Sid", "Effect", "Action", "Resource"}
        assert each["Effect"] == "Allow"
        assert set(each["Action"]) <= {*ACTIONS.values(), "s3:AbortMultipartUpload"}
        for resource in each["Resource"]:
            assert resource.startswith("arn:aws:s3:::")
            assert ("s3:ListBucket" in each["Action"]) == ("/" not in resource)
            if "s3:DeleteObject" in each["Action"]:
                assert resource.endswith("/spill-*")
        if "s3:PutObject" in each["Action"]:
            writes |= set(each["Resource"])
    assert len(writes) == 1


def test_the_readme_names_every_policy() -> None:
    assert {path.stem for path in POLICIES} == {"scorer", "auditor", "nightly", "mlflow"}
    text = (STORAGE.parent / "README.md").read_text()
    for path in POLICIES:
        assert f"storage/{path.name}" in text


def test_a_role_cannot_touch_what_is_not_its_own() -> None:
    arn = "arn:aws:s3:::"
    assert allows("nightly", ("s3:DeleteObject", f"{arn}runs/nights/1/a/spill-1/rows"))
    for role in ("scorer", "auditor", "nightly"):
        assert not allows(role, ("s3:PutObject", f"{arn}corpora/manifest.parquet"))
        assert not allows(role, ("s3:GetObject", f"{arn}serval-models/1/model.safetensors"))
        for folder in ("scores", "audits", "nights"):
            name = f"{arn}runs/{folder}/1/run.json"
            assert not allows(role, ("s3:DeleteObject", name))
    assert not allows("auditor", ("s3:PutObject", f"{arn}runs/scores/1/run.json"))
    assert not allows("scorer", ("s3:PutObject", f"{arn}runs/nights/1/night.json"))
    assert not allows("mlflow", ("s3:GetObject", f"{arn}corpora/manifest.parquet"))


@pytest.fixture
def requests(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Request]]:
    """What is asked of S3 from here on, in the buckets that the policies are about."""
    s3 = fsspec.filesystem("s3")
    for bucket in ("corpora", "runs"):
        s3.mkdir(bucket)
    seen: list[Request] = []
    call = AioBaseClient._make_api_call

    async def recorded(self: Any, operation: str, parameters: dict[str, Any]) -> Any:
        bucket = f"arn:aws:s3:::{parameters['Bucket']}"
        keys = [parameters["Key"]] if "Key" in parameters else []
        if operation == "DeleteObjects":
            operation, keys = (
                "DeleteObject",
                [each["Key"] for each in parameters["Delete"]["Objects"]],
            )
        names = [f"{bucket}/{key}" for key in keys] or [bucket]
        seen.extend((ACTIONS[operation], name) for name in names)
        return await call(self, operation, parameters)

    monkeypatch.setattr(AioBaseClient, "_make_api_call", recorded)
    yield seen
    monkeypatch.undo()
    for bucket in ("corpora", "runs"):
        s3.rm(bucket, recursive=True)


def test_the_roles_may_do_what_their_commands_ask_for(
    requests: list[Request], write_recording: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 40
    random = np.random.default_rng(0)
    for number in range(4):
        write_recording(f"s3://corpora/{number}.wav", duration_s=12.0, seed=number)
    manifest = {
        "recording": [f"{number % 4}.wav" for number in range(rows)],
        "start_s": [float(number // 4) for number in range(rows)],
        "end_s": [number // 4 + 1.0 for number in range(rows)],
        "segment_id": [f"segment {number}" for number in range(rows)],
        "speaker_id": [f"speaker {number % 4}" for number in range(rows)],
        **{dimension: random.uniform(0, 1, rows) for dimension in DIMENSIONS},
    }
    storage.write_table("s3://corpora/manifest.parquet", pa.table(manifest))
    requests.clear()
    score(
        "s3://corpora/manifest.parquet",
        model_uri="random:demo",
        output="s3://runs/scores/1",
        local=True,
    )
    assert_allowed("scorer", requests)
    requests.clear()
    monkeypatch.setattr(spilling, "BLOCK_BYTES", 1)  # as if there were more rows than fit a block
    audit_runs(["s3://runs/scores/1"], "s3://corpora/manifest.parquet", "s3://runs/audits/1")
    assert_allowed("auditor", requests)
    assert "s3:DeleteObject" in {action for action, _ in requests}


def assert_allowed(role: str, requests: list[Request]) -> None:
    assert {action for action, _ in requests} >= {"s3:ListBucket", "s3:GetObject", "s3:PutObject"}
    refused = sorted({request for request in requests if not allows(role, request)})
    assert not refused
