"""An object store that fails as it is told: `faulty:///folder` is the local /folder, with faults.

The environment variable SERVAL_FAULTS names a folder that all processes of a test share. It holds
the plan (which faults strike which operations), one counter for each fault, and a log of all
operations. So "kill the driver at its 7th put, after it took effect" means the same however many
processes there are, and a fault that struck once does not strike the resumed run again.

In a test of one process, with the fixture `faults` of tests/conftest.py:

    faults.plan(Fault(effect="reset", operation="read", first=2, last=3))
    storage.read_bytes(f"{faults.uri}/file")       # the 2nd and the 3rd read fail

In subprocesses, and in the Ray workers that they start, `faulty://` is known where this folder is
on the PYTHONPATH (the entry point in faulty-0.dist-info tells fsspec), which `faults.environment`
sees to:

    faults.plan(Fault(effect="kill", operation="create", first=7, last=7, when="after",
                      role="driver"))
    subprocess.run(["serval", "score", ...], env=faults.environment)    # dies of SIGKILL
    faults.operations()     # what was done up to there: [Operation(kind, path, role, pid), ...]

A clean run's `operations()` lists the points at which a second run can be killed: the operation at
place n (from 1) of those that match a fault's `operation`, `path` and `role` is what `first=n,
last=n` names. With several workers their order varies from run to run.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

VARIABLE = "SERVAL_FAULTS"

Kind = Literal["info", "list", "read", "put", "create"]
Role = Literal["driver", "worker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of trouble, and the operations that it strikes.

    Attributes:
        effect: "os_error", "timeout" and "reset" raise OSError, TimeoutError and
            ConnectionResetError; "truncate" gives back the first half of what was read, without an
            error; "slow" waits delay_s; "kill" and "stop" are SIGKILL and SIGSTOP of the process
            that does the operation.
        operation: info (also exists), list, read (each range is one), put, create; None: any.
        path: only operations on paths that contain this.
        role: only those of the "driver" or of a Ray "worker"; None: of both.
        when: "before" the operation took effect, or "after": the answer alone is lost.
        first: the number, from 1, of the first matching operation that is struck.
        last: that of the last one; None: all after the first too.
        probability: share of the operations from first to last that are struck, drawn with `seed`.
    """

    effect: Literal["os_error", "timeout", "reset", "truncate", "slow", "kill", "stop"]
    operation: Kind | None = None
    path: str = ""
    role: Role | None = None
    when: Literal["before", "after"] = "before"
    first: int = 1
    last: int | None = None
    probability: float = 1.0
    seed: int = 0
    delay_s: float = 0.0

    def matches(self, operation: Operation) -> bool:
        return (
            self.operation in (None, operation.kind)
            and self.role in (None, operation.role)
            and self.path in operation.path
        )

    def strikes(self, number: int) -> bool:
        if number < self.first or (self.last is not None and number > self.last):
            return False
        return random.Random(f"{self.seed}/{number}").random() < self.probability


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation that some process was about to do."""

    kind: Kind
    path: str
    role: Role
    pid: int


class Faults:
    """The plan and the shared state of one test, in `folder`."""

    def __init__(self, folder: Path, uri: str) -> None:
        """Take `folder` for the state, and `uri` as the faulty:// folder that a test may use."""
        self.folder = folder
        self.uri = uri
        self.plan()

    def plan(self, *faults: Fault) -> None:
        """Replace the plan; counting begins anew, and the log of operations is emptied."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in self.folder.iterdir():
            file.unlink()
        plan = self.folder / "plan.new"
        plan.write_text(json.dumps([asdict(fault) for fault in faults]))
        plan.replace(self.folder / "plan.json")

    def operations(self) -> list[Operation]:
        """Return what was done since the plan was made, in order, struck or not."""
        log = self.folder / "operations.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        return [Operation(**json.loads(line)) for line in lines]

    @property
    def environment(self) -> dict[str, str]:
        """The environment for a subprocess that is to know faulty:// and this plan."""
        paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ,
            VARIABLE: str(self.folder),
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        }


class FaultyFileSystem(AbstractFileSystem):
    """A local folder that behaves as an object store does, with the faults that are planned."""

    protocol = "faulty"
    root_marker = "/"
    creates_if_absent = True
    """Serval asks this of filesystems that it does not know: mode="create" is atomic here."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._local = LocalFileSystem()

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        with _faults("info", path):
            return self._local.info(path)

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        path = self._strip_protocol(path)
        with _faults("list", path):
            return self._local.ls(path, detail=detail)

    def find(self, path: str, **kwargs: Any) -> list[str]:
        path = self._strip_protocol(path)
        with _faults("list", path):
            return self._local.find(path)

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        path = self._strip_protocol(path)
        with _faults("read", path) as struck:
            data = self._local.cat_file(path, start=start, end=end)
        return data[: len(data) // 2] if "truncate" in struck else data

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if mode != "rb":
            raise NotImplementedError("files of an object store are put whole")
        with _faults("read", path):
            return self._local.open(path, mode)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        path = self._strip_protocol(path)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # Beside the folder, not in it: an object store shows no half-written objects.
        temporary = Path(os.environ[VARIABLE]) / f"{uuid.uuid4().hex}.tmp"
        temporary.write_bytes(value)
        try:
            if mode == "create":
                with _faults("create", path):
                    os.link(temporary, path)
            else:
                with _faults("put", path):
                    temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def put_file(self, lpath: str, rpath: str, **kwargs: Any) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes())


def role() -> Role:
    """Tell whether this process is one of Ray's workers."""
    return "worker" if sys.argv[0].endswith("default_worker.py") else "driver"


@contextmanager
def _faults(kind: Kind, path: str) -> Iterator[set[str]]:
    """Do the planned harm around one operation; yields the effects that the reader sees to."""
    operation = Operation(kind=kind, path=path, role=role(), pid=os.getpid())
    struck = _count(operation)
    for fault in struck:
        if fault.when == "before":
            _harm(fault, operation)
    try:
        yield {fault.effect for fault in struck}
    finally:  # "there is no such file" is an answer too
        for fault in struck:
            if fault.when == "after":
                _harm(fault, operation)


def _count(operation: Operation) -> list[Fault]:
    """Log the operation, add it to the counters, and return the faults that strike it."""
    folder = Path(os.environ[VARIABLE])
    struck = []
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (folder / "operations.jsonl").open("a") as log:
            log.write(json.dumps(asdict(operation)) + "\n")
        for place, content in enumerate(json.loads((folder / "plan.json").read_text())):
            fault = Fault(**content)
            if fault.matches(operation):
                # A byte for each: another thread may kill this process at any moment.
                with (folder / f"counter-{place}").open("ab") as counter:
                    counter.write(b".")
                if fault.strikes((folder / f"counter-{place}").stat().st_size):
                    struck.append(fault)
    return struck


def _harm(fault: Fault, operation: Operation) -> None:
    text = f"planned fault {fault.when} {operation.kind} of {operation.path}"
    match fault.effect:
        case "os_error":
            raise OSError(5, text)
        case "timeout":
            raise TimeoutError(text)
        case "reset":
            raise ConnectionResetError(104, text)
        case "slow":
            time.sleep(fault.delay_s)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)  # a signal to oneself may arrive a moment later
