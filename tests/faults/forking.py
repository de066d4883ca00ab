"""Runs that may be killed, each in a process of its own that starts in no time.

A server imports what scoring needs once, and forks for each run. It never computes anything
itself, so that there are no threads yet that a fork would lose.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping
from typing import Any


class ForkServer:
    """Starts runs; a context manager."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start the server; its runs know faulty:// if `environment` is that of `Faults`."""
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            env={**environment, "OMP_WAIT_POLICY": "passive"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(timeout=60)
        self._server.stdout.close()

    def start(
        self, faults_folder: str, commits_per_roll_up: int, *, job: str = "score", **options: Any
    ) -> int:
        """Begin `score(**options)`, or another job, and return its process id."""
        order = {"faults": faults_folder, "per_roll_up": commits_per_roll_up, "options": options}
        return int(self._ask({"run": {**order, "job": job}}))

    def wait(self, pid: int) -> int:
        """Wait for a run to end or stop: 0, 1 after an error, or minus the signal that did it."""
        return int(self._ask({"wait": pid}))

    def _ask(self, question: Mapping[str, Any]) -> str:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(f"{json.dumps(question)}\n")
        self._server.stdin.flush()
        return self._server.stdout.readline()


def _serve() -> None:
    import orchestration.scoring
    import orchestration.transcribing  # noqa: F401  so that runs find both imported

    for line in sys.stdin:
        question = json.loads(line)
        if "wait" in question:
            status = os.waitpid(question["wait"], os.WUNTRACED)[1]
            stopped = os.WIFSTOPPED(status)
            answer = -os.WSTOPSIG(status) if stopped else os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                os._exit(_run(question["run"]))
        print(answer, flush=True)  # noqa: T201  the protocol


def _run(order: Mapping[str, Any]) -> int:
    from faulty import VARIABLE

    from orchestration import rollups
    from orchestration.scoring import score
    from orchestration.transcribing import transcribe

    os.dup2(2, 1)  # nothing of a run may look like an answer of the server
    os.environ[VARIABLE] = order["faults"]
    rollups.COMMITS_PER_ROLL_UP = order["per_roll_up"]
    try:
        {"score": score, "transcribe": transcribe}[order["job"]](**order["options"])
    except BaseException:  # noqa: BLE001  of a fork, none may leave the fork
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    _serve()
