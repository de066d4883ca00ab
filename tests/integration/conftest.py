"""MLflow tracking servers: one on files, and one as infra/mlflow runs it, on PostgreSQL and S3."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

STARTS_WITHIN_S = 120
MODELS_BUCKET = "serval-models"
MLFLOW = Path(__file__).resolve().parents[2] / "infra" / "mlflow"
UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A PostgreSQL server with an empty database `mlflow`.

    Attributes:
        programs: the folder of psql, pg_dump and the others of its version.
        environment: how libpq, which all clients use, reaches it.
    """

    programs: Path
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingServer:
    """An MLflow server that asks who is there.

    Attributes:
        uri: of the server.
        bucket: the S3 bucket of its artifacts, on the server of the fixture `s3_server`.
        environment: what a client needs: the URI, a name and a password (an administrator's).
        postgres: where its tables are.
    """

    uri: str
    bucket: str
    environment: Mapping[str, str]
    postgres: Postgres


@contextmanager
def running_mlflow(
    folder: Path, words: Sequence[str], environment: Mapping[str, str]
) -> Iterator[str]:
    """Run `mlflow server` on a free port with further words; yield its URI once it answers."""
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", *words]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", **environment},
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + STARTS_WITHIN_S
            while not is_up(uri):
                assert process.poll() is None, (folder / "server.log").read_text()
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.5)
            yield uri
        finally:
            os.killpg(process.pid, 15)
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def is_up(uri: str) -> bool:
    try:
        return urllib.request.urlopen(f"{uri}/health", timeout=1).status == 200
    except OSError:
        return False


@pytest.fixture
def server_on_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A tracking server that keeps everything in local files and lets everybody in."""
    words = ["--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path}/server.db"]
    words += ["--artifacts-destination", str(tmp_path / "artifacts")]
    with running_mlflow(tmp_path, words, {}) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        yield uri


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Run PostgreSQL in a folder of its own, reached through a socket in that folder."""
    programs = postgres_programs()
    user = {"user": UNPRIVILEGED, "extra_groups": ()} if os.getuid() == 0 else {}
    # Not below pytest's own folders: these are root's alone, and too long for a socket's name.
    with tempfile.TemporaryDirectory(prefix="serval-postgres-") as folder:
        if user:
            shutil.chown(folder, UNPRIVILEGED)
        data = f"{folder}/data"
        quick = ["--username", "mlflow", "--auth", "trust", "--no-sync"]
        initdb = [str(programs / "initdb"), "--pgdata", data, *quick]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)
        command = [str(programs / "postgres"), "-D", data, "-k", folder, "-h", "", "-F"]
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **user)
        try:
            environment = {"PGHOST": folder, "PGUSER": "mlflow", "PGDATABASE": "mlflow"}
            server = Postgres(programs=programs, environment=environment)
            ready = [str(programs / "pg_isready"), "--quiet"]
            while subprocess.run(ready, env=environment).returncode:
                assert process.poll() is None, Path(folder, "log").read_text()
                time.sleep(0.1)
            subprocess.run([str(programs / "createdb"), "mlflow"], env=environment, check=True)
            yield server
        finally:
            process.send_signal(2)  # SIGINT: clients are cut off, and what is written is kept
            process.wait()


def postgres_programs() -> Path:
    """Find PostgreSQL, or install it where this is root's own Debian; skip without one."""
    if (found := newest_postgres()) is None and os.getuid() == 0 and shutil.which("apt-get"):
        # With a runlevel of 1 Debian starts no server of its own.
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for words in (["update"], ["install", "--yes", "--no-install-recommends", "postgresql"]):
            subprocess.run(["apt-get", "-qq", *words], env=quiet, capture_output=True, check=False)
        found = newest_postgres()
    if found is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    return found


def newest_postgres() -> Path | None:
    """Return the folder of the programs, from the PATH or where Debian keeps all versions."""
    if (on_path := shutil.which("initdb")) is not None:
        return Path(on_path).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


@contextmanager
def running_as_deployed(folder: Path, postgres: Postgres) -> Iterator[TrackingServer]:
    """Run what the manifest runs, but for the port; the fixture `s3_server` has its bucket."""
    container = deployed_container()
    account = ("admin", "correct horse battery staple")
    environment = {
        **{variable["name"]: variable["value"] for variable in container["env"]},
        **postgres.environment,
        "MLFLOW_AUTH_CONFIG_PATH": str(MLFLOW / "basic_auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": account[0],
        "MLFLOW_AUTH_ADMIN_PASSWORD": account[1],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of the tests",
    }
    assert container["args"][0] == "server"
    with running_mlflow(folder, container["args"][1:], environment) as uri:
        yield TrackingServer(
            uri=uri,
            bucket=MODELS_BUCKET,
            environment={
                "MLFLOW_TRACKING_URI": uri,
                "MLFLOW_TRACKING_USERNAME": account[0],
                "MLFLOW_TRACKING_PASSWORD": account[1],
            },
            postgres=postgres,
        )


def deployed_container() -> dict[str, Any]:
    manifests = yaml.safe_load_all((MLFLOW / "kubernetes.yaml").read_text())
    (deployment,) = (each for each in manifests if each["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return container


@pytest.fixture(scope="session")
def start_tracking_server() -> Callable[[Path, Postgres], Any]:
    """Return what runs another server, on another database, as a context manager."""
    return running_as_deployed


@pytest.fixture(scope="session")
def tracking_server(
    postgres: Postgres, s3_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TrackingServer]:
    """One server for all tests that need one; a client has to be given its `environment`."""
    import boto3

    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=MODELS_BUCKET)
    s3.put_bucket_versioning(Bucket=MODELS_BUCKET, VersioningConfiguration={"Status": "Enabled"})
    with running_as_deployed(tmp_path_factory.mktemp("mlflow"), postgres) as server:
        yield server


@pytest.fixture
def tracked(tracking_server: TrackingServer, monkeypatch: pytest.MonkeyPatch) -> TrackingServer:
    """The same server, with this process and those that it starts as its clients."""
    for name, value in tracking_server.environment.items():
        monkeypatch.setenv(name, value)
    return tracking_server
