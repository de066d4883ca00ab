"""Schedulers try again what can be resumed, and nothing else."""

import configparser
import datetime
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from ser_model.schema import InputError, TooManyRejectedError, UnfinishedError

ROOT = Path(__file__).resolve().parents[2]
NIGHTLY = ROOT / "infra/nightly"
REFUSED = 1
FINAL = {REFUSED, InputError.exit_code, TooManyRejectedError.exit_code}
AGAIN = UnfinishedError.exit_code


def cron_job() -> dict[str, Any]:
    account, job = yaml.safe_load_all((NIGHTLY / "cronjob.yaml").read_text())
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    return job


def fake_serval(folder: Path, exit_codes: list[int]) -> Path:
    """Put a `serval` into a folder that ends with these codes, one a call; return its calls."""
    calls = folder / "calls"
    program = folder / "serval"
    program.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\n"
        f"calls = pathlib.Path({str(calls)!r})\n"
        "done = calls.read_text().splitlines() if calls.exists() else []\n"
        "calls.write_text('\\n'.join([*done, ' '.join(sys.argv[1:])]) + '\\n')\n"
        f"sys.exit({exit_codes!r}[len(done)])\n"
    )
    program.chmod(0o755)
    return calls


def test_kubernetes_retries_what_can_be_resumed_alone() -> None:
    job = cron_job()["spec"]["jobTemplate"]["spec"]
    first, second = job["podFailurePolicy"]["rules"]
    assert first["action"] == "FailJob"
    assert set(first["onExitCodes"]["values"]) == FINAL
    assert first["onExitCodes"]["operator"] == "In"
    pod = job["template"]["spec"]
    assert first["onExitCodes"]["containerName"] == pod["containers"][0]["name"]
    assert second["action"] == "Ignore"
    # The API server refuses a podFailurePolicy with any other.
    assert pod["restartPolicy"] == "Never"
    assert job["backoffLimit"] > 0


def test_nights_never_overlap_and_end_before_the_date_changes() -> None:
    spec = cron_job()["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    minute, hour, *_ = spec["schedule"].split()
    assert spec["timeZone"] == "Etc/UTC"
    starts_s = int(hour) * 3600 + int(minute) * 60
    assert starts_s + spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] <= 24 * 3600


def test_secrets_are_referred_to() -> None:
    text = (NIGHTLY / "cronjob.yaml").read_text()
    assert "kind: Secret" not in text
    (container,) = cron_job()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "serval"}}]
    assert "env" not in container


def test_systemd_retries_what_can_be_resumed_alone() -> None:
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.read(NIGHTLY / "systemd/serval-nightly.service")
    service = unit["Service"]
    assert service["Restart"] == "on-failure"
    assert {int(code) for code in service["RestartPreventExitStatus"].split()} == FINAL
    assert service["EnvironmentFile"].startswith("-/etc/serval/")
    assert service["ProtectSystem"] == "strict"
    assert service["DynamicUser"] == "yes"


def workflow_script() -> str:
    workflow = yaml.safe_load((NIGHTLY / "github-workflow.yaml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    checkout, night = workflow["jobs"]["nightly"]["steps"]
    assert len(checkout["uses"].partition("@")[2]) == 40, "pinned by commit"
    return str(night["run"])


@pytest.mark.parametrize(
    ("exit_codes", "ends_with", "num_calls"),
    [
        ([0], 0, 1),
        *[([code], code, 1) for code in sorted(FINAL)],
        ([AGAIN, 0], 0, 2),
        ([AGAIN, REFUSED], REFUSED, 2),
        ([AGAIN, AGAIN, AGAIN], AGAIN, 3),
    ],
)
def test_the_workflow_retries_what_can_be_resumed_alone(
    tmp_path: Path, exit_codes: list[int], ends_with: int, num_calls: int
) -> None:
    calls = fake_serval(tmp_path, exit_codes)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", workflow_script()]
    done = subprocess.run(words, env=os.environ | {"PATH": path}, check=False, capture_output=True)
    assert done.returncode == ends_with
    assert calls.read_text().splitlines() == ["nightly nightly.yaml"] * num_calls


class TaskError(Exception):
    """Stands for Airflow's exception that is tried again."""


class FinalError(TaskError):
    """Stands for Airflow's exception that is not."""


@pytest.fixture
def dag_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load the DAG with a stand-in for Airflow, which calls nothing and keeps the options."""

    def decorator(**options: object) -> Callable[[Callable[..., None]], Callable[..., None]]:
        def keep(function: Callable[..., None]) -> Callable[..., None]:
            def call(*words: str) -> None:
                return None

            vars(call).update(options=options, function=function)
            return call

        return keep

    sdk, exceptions = ModuleType("airflow.sdk"), ModuleType("airflow.sdk.exceptions")
    vars(sdk).update(dag=decorator, task=decorator)
    vars(exceptions).update(AirflowException=TaskError, AirflowFailException=FinalError)
    for module in (ModuleType("airflow"), sdk, exceptions):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    spec = importlib.util.spec_from_file_location("airflow_dag", NIGHTLY / "airflow_dag.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("exit_code", range(5))
def test_airflow_retries_what_can_be_resumed_alone(
    dag_module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exit_code: int
) -> None:
    calls = fake_serval(tmp_path, [exit_code])
    monkeypatch.setenv("PATH", str(tmp_path))
    run_night = dag_module.run_night.function
    if exit_code == 0:
        run_night("2026-11-21")
    else:
        with pytest.raises(TaskError, match=f"exit code {exit_code}") as raised:
            run_night("2026-11-21")
        assert isinstance(raised.value, FinalError) == (exit_code in FINAL)
    assert calls.read_text() == "nightly /etc/serval/nightly.yaml --night 2026-11-21\n"


def test_the_dag_runs_one_night_at_a_time(dag_module: ModuleType) -> None:
    options = dag_module.serval_nightly.options
    assert options["max_active_runs"] == 1
    assert options["catchup"] is False
    assert options["start_date"].tzinfo is datetime.UTC
    assert dag_module.run_night.options["retries"] > 0


@pytest.mark.slow
def test_airflow_itself_takes_the_dag(tmp_path: Path) -> None:
    """In an environment of its own: Airflow's pins are not Serval's."""
    environment = tmp_path / "airflow"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [environment / "bin/pip", "install", "--quiet", "--only-binary", ":all:"]
    subprocess.run([*pip, "apache-airflow==3.3.2"], check=True)
    script = (
        f"import sys; sys.path.insert(0, {str(NIGHTLY)!r}); import airflow_dag\n"
        "dag = airflow_dag.serval_nightly()\n"
        "assert dag.max_active_runs == 1 and not dag.catchup\n"
        "assert dag.task_dict['run_night'].retries == 3\n"
    )
    variables = os.environ | {"AIRFLOW_HOME": str(tmp_path / "home"), "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run([environment / "bin/python", "-B", "-c", script], check=True, env=variables)
