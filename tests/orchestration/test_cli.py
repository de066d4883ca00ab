"""How `serval` ends where neither a summary nor an error of its own is printed to the end."""

import signal
import subprocess
import sys

import pytest

from orchestration.cli import main
from orchestration.commands import models


def test_a_reader_who_stops_reading_changes_no_exit_code() -> None:
    command = [sys.executable, "-m", "orchestration.cli", "nightly", "--init"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()  # long before anything is printed
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")


def test_an_end_by_somebody_elses_sigterm_handler_can_be_resumed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(_: object) -> None:
        sys.exit(signal.SIGTERM)

    monkeypatch.setattr(models, "run", end)
    assert main(["models", "list"]) == 4
    assert "stopped by SIGTERM: run the same command again" in capsys.readouterr().err


def test_another_exit_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "run", lambda _: sys.exit(7))
    with pytest.raises(SystemExit) as raised:
        main(["models", "list"])
    assert raised.value.code == 7
