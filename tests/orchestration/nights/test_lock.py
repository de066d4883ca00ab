"""Of two nights on one folder one holds the lock, whoever dies, sleeps or comes at one time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from chaos_proxy import Chaos

from orchestration.nights.lock import LOCK_TTL_S, MAX_CLOCK_SKEW_S, Lock, held_lock, utc_now
from ser_model import storage
from ser_model.schema import RunError, UnfinishedError


class Clock:
    """Shows the time that it was told to."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lock_json(folder: str, number: int) -> dict[str, Any]:
    return storage.read_json(storage.join(folder, "locks", f"{number:06d}.json"))


def lock_names(folder: str) -> list[str]:
    return storage.list_names(storage.join(folder, "locks"))


def test_a_second_night_is_refused_and_told_of_the_first(folder: str, clock: Clock) -> None:
    with (
        held_lock(folder, night="2026-11-21", clock=clock) as lock,
        pytest.raises(UnfinishedError) as raised,
        held_lock(folder, night="2026-11-22", clock=clock),
    ):
        pass
    message = str(raised.value)
    assert raised.value.exit_code == 4
    assert "another night holds the lock" in message
    assert f"2026-11-21 by {os.uname().nodename} pid {os.getpid()}" in message
    assert "since 2026-11-21T02:00:00.000+00:00" in message
    assert "expires at 2026-11-21T02:10:00.000+00:00" in message
    assert message.endswith("run the same command again then")
    assert isinstance(lock, Lock)


def test_a_released_lock_is_free_at_once(folder: str, clock: Clock) -> None:
    for number in (1, 2, 3):
        with held_lock(folder, night=f"night {number}", clock=clock) as lock:
            lock.check()
            assert not lock_json(folder, number)["released"]
        assert lock_json(folder, number)["released"]
    assert lock_names(folder) == ["000001.json", "000002.json", "000003.json"]


def test_a_night_that_fails_releases_its_lock(folder: str, clock: Clock) -> None:
    with pytest.raises(RunError, match="no audit"), held_lock(folder, night="1", clock=clock):
        raise RunError("no audit")
    assert lock_json(folder, 1)["released"]


def test_an_expired_lock_is_taken_over_and_its_owner_refused(folder: str, clock: Clock) -> None:
    # No beat comes by itself: the thread waits in true time.
    with held_lock(folder, night="former", clock=clock) as former:
        clock.advance(LOCK_TTL_S + MAX_CLOCK_SKEW_S - 1)
        with (
            pytest.raises(UnfinishedError, match="another night holds"),
            held_lock(folder, night="too early", clock=clock),
        ):
            pass
        clock.advance(1)
        with held_lock(folder, night="next", clock=clock) as owner:
            owner.check()
            for act in (former.check, former.renew):
                with pytest.raises(UnfinishedError, match="another night took it"):
                    act()
            former.release()  # of its own file alone
            owner.check()
            with (
                pytest.raises(UnfinishedError, match="next by"),
                held_lock(folder, night="third", clock=clock),
            ):
                pass


def test_an_owner_that_slept_stops_though_nobody_took_its_lock(folder: str, clock: Clock) -> None:
    with held_lock(folder, night="1", clock=clock) as lock:
        clock.advance(LOCK_TTL_S - 0.002)
        lock.check()
        clock.advance(0.002)
        for act in (lock.check, lock.renew):
            with pytest.raises(UnfinishedError, match="could not be renewed until"):
                act()


def test_a_renewed_lock_is_held_on(folder: str, clock: Clock) -> None:
    with held_lock(folder, night="1", clock=clock) as lock:
        for _ in range(4):
            clock.advance(LOCK_TTL_S / 2)
            lock.renew()
        lock.check()
        assert lock_json(folder, 1)["expires"] == "2026-11-21T02:30:00.000+00:00"
        assert lock_json(folder, 1)["since"] == "2026-11-21T02:00:00.000+00:00"
        with (
            pytest.raises(UnfinishedError, match="another night holds"),
            held_lock(folder, night="2", clock=clock),
        ):
            pass


def test_a_renewal_that_arrives_behind_the_expiry_does_not_count(
    folder: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = storage.write_atomic

    def write_slowly(uri: str, data: bytes) -> None:
        write(uri, data)
        clock.advance(0.5 * LOCK_TTL_S)

    with held_lock(folder, night="1", clock=clock) as lock:
        clock.advance(0.6 * LOCK_TTL_S)
        with monkeypatch.context() as patch:
            patch.setattr(storage, "write_atomic", write_slowly)
            lock.renew()
        with pytest.raises(UnfinishedError, match="could not be renewed"):
            lock.check()


def test_a_thread_renews_the_lock(folder: str) -> None:
    with held_lock(folder, night="1", ttl_s=3.0) as lock:
        taken = lock_json(folder, 1)
        while lock_json(folder, 1)["expires"] == taken["expires"]:
            threading.Event().wait(0.05)
        lock.check()
    assert "night-lock" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.usefixtures("short_deadline")
def test_a_store_out_of_reach_costs_the_lock_only_at_its_expiry(
    chaotic_s3: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    stopped = threading.Event()
    with held_lock(chaotic_s3.uri, night="1", clock=clock) as lock:
        chaotic_s3.proxy.chaos = Chaos(slow_down=1.0)
        with pytest.raises(storage.StorageError):
            lock.renew()
        chaotic_s3.proxy.calm()
        lock.check()
        chaotic_s3.proxy.chaos = Chaos(slow_down=1.0)
        lock._ttl_s = 0.003  # of the beats
        beats = threading.Thread(target=lock.renew_until, args=(stopped,))
        beats.start()
        while caplog.text.count("could not renew the night's lock") < 2:
            threading.Event().wait(0.05)
        clock.advance(LOCK_TTL_S)
        chaotic_s3.proxy.calm()
        beats.join()  # by itself: the lock is lost
        assert "could not be renewed until 2026-11-21T02:10:00.000+00:00" in caplog.text
        with pytest.raises(UnfinishedError, match="could not be renewed"):
            lock.check()


@pytest.mark.usefixtures("short_deadline")
def test_a_lock_that_cannot_be_released_leaves_the_night_as_it_is(
    chaotic_s3: Any, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with held_lock(chaotic_s3.uri, night="1", clock=clock):
        chaotic_s3.proxy.chaos = Chaos(slow_down=1.0)
    assert "could not release the night's lock, it expires at 2026-11-21T02:10" in caplog.text
    chaotic_s3.proxy.calm()
    clock.advance(LOCK_TTL_S + MAX_CLOCK_SKEW_S)
    with held_lock(chaotic_s3.uri, night="2", clock=clock) as lock:
        lock.check()


def test_an_answer_that_is_lost_does_not_lose_the_lock(chaotic_s3: Any, clock: Clock) -> None:
    chaotic_s3.proxy.chaos = Chaos(lose=0.4)
    for number in range(1, 6):
        with held_lock(chaotic_s3.uri, night=str(number), clock=clock) as lock:
            lock.check()
    assert len(lock_names(chaotic_s3.uri)) == 5
    assert chaotic_s3.proxy.struck["lose"] > 0


def test_of_threads_at_the_same_moment_one_wins(folder: str, clock: Clock) -> None:
    """Their tokens alone tell them apart: night, host, pid and time are the same."""
    num_threads, num_rounds = 6, 12
    barrier = threading.Barrier(num_threads)
    winners: list[list[str]] = [[] for _ in range(num_rounds)]

    def compete(name: str) -> None:
        for number in range(num_rounds):
            with ExitStack() as stack:
                barrier.wait()
                try:
                    stack.enter_context(held_lock(folder, night="1", clock=clock))
                    winners[number].append(name)
                except UnfinishedError as error:
                    assert "another night holds the lock" in str(error)
                barrier.wait()  # the winner holds on until all have tried

    with ThreadPoolExecutor(num_threads) as threads:
        list(threads.map(compete, "abcdef"))
    assert [len(names) for names in winners] == [1] * num_rounds
    assert len(lock_names(folder)) == num_rounds


OF_ALL_PROCESSES = pytest.mark.parametrize("folder", ["local", "s3"], indirect=True)

HOLD = """
import sys
from contextlib import ExitStack
from orchestration.nights.lock import held_lock
from ser_model.schema import UnfinishedError

folder = sys.argv[1]
print("ready", flush=True)
with ExitStack() as held:
    for line in sys.stdin:
        try:
            held.enter_context(held_lock(f"{folder}/{line.strip()}", night="other process"))
            print("won", flush=True)
        except UnfinishedError:
            print("refused", flush=True)
"""


@pytest.fixture
def holder(folder: str) -> Iterator[Any]:
    """Start processes that take the locks which they are told to, and hold on to them."""
    with ExitStack() as stack:

        def start() -> subprocess.Popen[str]:
            pipe = subprocess.PIPE
            command = [sys.executable, "-c", HOLD, folder]
            process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout.readline() == "ready\n"
            return process

        yield start


def tell(process: subprocess.Popen[str], name: str) -> None:
    process.stdin.write(f"{name}\n")
    process.stdin.flush()


@OF_ALL_PROCESSES
def test_of_processes_at_the_same_moment_one_wins(holder: Any) -> None:
    processes = [holder(), holder()]
    for number in range(15):
        for process in processes:
            tell(process, f"round {number}")
        answers = sorted(process.stdout.readline() for process in processes)
        assert answers == ["refused\n", "won\n"]


def kill_a_holder(holder: Any) -> int:
    owner = holder()
    tell(owner, "output")
    assert owner.stdout.readline() == "won\n"
    owner.kill()
    owner.wait()
    return owner.pid


@OF_ALL_PROCESSES
def test_the_lock_of_a_killed_process_of_this_machine_is_free(folder: str, holder: Any) -> None:
    kill_a_holder(holder)
    output = storage.join(folder, "output")
    with held_lock(output, night="next") as lock:
        lock.check()
    assert not lock_json(output, 1)["released"]


@OF_ALL_PROCESSES
@pytest.mark.parametrize("process_space", ["", "another boot pid:[1]"])
def test_the_lock_of_a_killed_owner_elsewhere_is_taken_over_when_it_expires(
    folder: str, holder: Any, clock: Clock, process_space: str
) -> None:
    pid = kill_a_holder(holder)
    output = storage.join(folder, "output")
    uri = storage.join(output, "locks", "000001.json")
    storage.write_json(uri, {**lock_json(output, 1), "process_space": process_space})
    clock.time = utc_now()
    with (
        pytest.raises(UnfinishedError, match=f"other process by .* pid {pid} "),
        held_lock(output, night="next", clock=clock),
    ):
        pass
    clock.advance(LOCK_TTL_S + MAX_CLOCK_SKEW_S)
    with held_lock(output, night="next", clock=clock) as lock:
        lock.check()


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"{}",
        b'{"night": "1", "host": "h", "pid": 1, "process_space": "", "token": "", "since": "", '
        b'"expires": ""}',
    ],
)
def test_a_damaged_lock_is_named(folder: str, clock: Clock, content: bytes) -> None:
    uri = storage.join(folder, "locks", "000001.json")
    storage.write_atomic(uri, content)
    with (
        pytest.raises(RunError, match=r"000001\.json is damaged: .*; remove it"),
        held_lock(folder, night="1", clock=clock),
    ):
        pass


def test_other_files_are_no_locks(folder: str, clock: Clock) -> None:
    storage.write_atomic(storage.join(folder, "locks", "README.md"), b"")
    storage.write_atomic(storage.join(folder, "locks", "9.json"), b"")
    with held_lock(folder, night="1", clock=clock) as lock:
        lock.check()
    assert "000001.json" in lock_names(folder)
