"""The registry behind a tracking server that keeps the artifacts to itself."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.model_uris import resolve_model
from orchestration.promotion import promote
from orchestration.registry import list_models, register_model
from ser_model.models.storage import save_model, weights_sha256

STARTS_WITHIN_S = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def is_up(url: str) -> bool:
    try:
        return urllib.request.urlopen(f"{url}/health", timeout=1).status == 200
    except OSError:
        return False


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--workers", "1"),
        *("--artifacts-destination", str(tmp_path / "artifacts")),
    ]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            words, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            deadline = time.monotonic() + STARTS_WITHIN_S
            while not is_up(url):
                assert process.poll() is None, (tmp_path / "server.log").read_text()
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.5)
            monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
            yield url
        finally:
            os.killpg(process.pid, 15)
            process.wait()


@pytest.mark.slow
def test_a_model_goes_through_the_server_and_back(server: str, tmp_path: Path) -> None:
    model = resolve_model("random:demo?seed=4").load()
    save_model(model, str(tmp_path / "model"))
    assert register_model(str(tmp_path / "model"), name="served") == "1"
    assert promote("models:/served@candidate", "champion").uri == "models:/served/1"
    resolved = resolve_model("models:/served@champion")
    assert resolved.location.startswith("mlflow-artifacts:")
    assert weights_sha256(resolved.load()) == weights_sha256(model)
    assert list_models()[0].aliases == ("candidate", "champion")
