"""The instrument itself: faults strike what they are told to strike, and nothing else."""

import signal
import subprocess
import sys

import fsspec
import pytest
from faulty import Fault, Faults

CREATE = """
import sys
import fsspec
filesystem, key = fsspec.core.url_to_fs(sys.argv[1])
for number in range(5):
    filesystem.pipe_file(f"{key}/{number}", b"x", mode="create")
"""


def test_without_a_plan_it_is_a_folder(faults: Faults) -> None:
    filesystem, key = fsspec.core.url_to_fs(f"{faults.uri}/a b")
    filesystem.pipe_file(f"{key}/100%.txt", b"0123456789")
    assert filesystem.cat_file(f"{key}/100%.txt", 2, 5) == b"234"
    assert filesystem.info(f"{key}/100%.txt")["size"] == 10
    assert [entry.rpartition("/")[2] for entry in filesystem.ls(key, detail=False)] == ["100%.txt"]
    with pytest.raises(FileExistsError):
        filesystem.pipe_file(f"{key}/100%.txt", b"", mode="create")
    kinds = [operation.kind for operation in faults.operations()]
    assert kinds == ["put", "read", "info", "list", "create"]
    assert {operation.role for operation in faults.operations()} == {"driver"}


def test_faults_strike_by_number_kind_and_path(faults: Faults) -> None:
    filesystem, key = fsspec.core.url_to_fs(faults.uri)
    filesystem.pipe_file(f"{key}/a", b"1234")
    faults.plan(
        Fault(effect="reset", operation="read", path="/a", first=2, last=2),
        Fault(effect="truncate", operation="read", path="/a", first=3, last=3),
        Fault(effect="timeout", operation="put", when="after"),
    )
    assert filesystem.cat_file(f"{key}/a") == b"1234"
    with pytest.raises(ConnectionResetError):
        filesystem.cat_file(f"{key}/a")
    assert filesystem.cat_file(f"{key}/a") == b"12"
    with pytest.raises(TimeoutError):
        filesystem.pipe_file(f"{key}/b", b"arrived")
    assert filesystem.cat_file(f"{key}/b") == b"arrived"


def test_chance_is_seeded(faults: Faults) -> None:
    def struck(seed: int) -> list[int]:
        fault = Fault(effect="os_error", probability=0.3, seed=seed)
        return [number for number in range(1, 1001) if fault.strikes(number)]

    assert struck(0) == struck(0) != struck(1)
    assert 250 < len(struck(0)) < 350


@pytest.mark.parametrize(("when", "num_there"), [("before", 2), ("after", 3)])
def test_a_kill_strikes_one_run_of_several_processes(
    faults: Faults, when: str, num_there: int
) -> None:
    faults.plan(Fault(effect="kill", operation="create", first=3, last=3, when=when))
    words = [sys.executable, "-c", CREATE, faults.uri]
    killed = subprocess.run(words, env=faults.environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    filesystem, key = fsspec.core.url_to_fs(faults.uri)
    assert len(filesystem.ls(key)) == num_there
    subprocess.run([*words[:-1], f"{faults.uri}/again"], env=faults.environment, check=True)
    assert len(filesystem.ls(f"{key}/again")) == 5
