"""An Airflow DAG (3.0 or newer) that runs `serval nightly` on a worker with Serval installed.

A night that could not finish (exit code 4) is tried again and resumes. A night whose answer is no
(1), whose configuration is wrong (2) or that rejected too many segments (3) fails at once: the next
try would say the same.
"""

from __future__ import annotations

import datetime
import subprocess

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

CONFIGURATION = "/etc/serval/nightly.yaml"
FINAL = {
    1: "the candidate was refused, or drift raised an alarm: see the night's page",
    2: "wrong configuration or input: see the last line of the log",
    3: "more segments were rejected than max_rejected allows",
}


@task(retries=3, retry_delay=datetime.timedelta(minutes=10))
def run_night(night: str) -> None:
    """Run one night; its name is that of the DAG run's date, so that a cleared task resumes it."""
    command = ["serval", "nightly", CONFIGURATION, "--night", night]
    exit_code = subprocess.run(command, check=False).returncode  # noqa: S603 - fixed words and a date
    if exit_code in FINAL:
        raise AirflowFailException(f"exit code {exit_code}: {FINAL[exit_code]}")
    if exit_code != 0:
        raise AirflowException(f"exit code {exit_code}: could not finish; the next try resumes")


@dag(
    schedule="0 2 * * *",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=datetime.timedelta(hours=20),
    tags=["serval"],
)
def serval_nightly() -> None:
    """Score, audit, gate and report, every night."""
    run_night("{{ dag_run.run_after | ds }}")


serval_nightly()
