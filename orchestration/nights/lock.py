"""Keeps nights on one output folder apart: a lock with an owner and an expiry, in any storage.

Locks are numbered files, OUTPUT/locks/000001.json and so on; the one with the highest number is the
lock. It is free when it says that it is released, when it has expired, or when its owner was a
process of this machine that is no more: whoever wants it then creates the next number, which the
storage lets exactly one do. Nothing is ever deleted. The owner alone rewrites its file, to put the
expiry off while it lives.

A lock cannot hold back an owner that was asleep (a suspended machine, a store out of reach) and
wakes up behind its expiry. So the owner asks `Lock.check` before every stage, and stops where the
time that it is sure of is over. Within a stage two nights may overlap, which costs time and no
more: runs are committed shard by shard, and every other file is replaced whole.

What is assumed: the clocks of two machines differ by less than MAX_CLOCK_SKEW_S. For so long a lock
is left alone after its expiry.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ser_model import storage
from ser_model.models.configuration import build
from ser_model.schema import RunError, UnfinishedError

logger = logging.getLogger(__name__)

LOCKS_FOLDER = "locks"

LOCK_TTL_S = 600.0
"""How long a lock outlives an owner that was killed. It is renewed every third of it, and each try
lasts for `retrying.DEADLINE_S`: an outage of some minutes costs no night."""

MAX_CLOCK_SKEW_S = 60.0
"""By how much the clocks of two machines may differ; with NTP they differ by far less."""

_LOCK_NAME = re.compile(r"(\d{6,})\.json")

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRecord:
    """What a lock's file says.

    Attributes:
        night: name of the night that the lock is held for.
        host: of the owner.
        pid: of the owner, in its process space.
        process_space: in which `pid` means one process: see `_process_space`.
        token: that no other owner has: two may have the same host and pid, in containers.
        since: when it was taken, UTC, ISO 8601.
        expires: from when on it is free if nobody renews it, likewise.
        released: whether the owner is done.
    """

    night: str
    host: str
    pid: int
    process_space: str
    token: str
    since: str
    expires: str
    released: bool = False

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        return storage.to_json_bytes(dataclasses.asdict(self))


class Lock:
    """A lock that this process took, and holds for as long as `check` passes.

    Threads share no more than `_record`, which is replaced whole: so there is nothing that a signal
    that ends the night could leave locked.
    """

    def __init__(
        self, folder: str, number: int, record: LockRecord, ttl_s: float, clock: Clock
    ) -> None:
        """Own the lock with this number; `_take` makes sure that it is so."""
        self._uri = _lock_uri(folder, number)
        self._next_uri = _lock_uri(folder, number + 1)
        self._record = record
        self._ttl_s = ttl_s
        self._clock = clock

    def check(self) -> None:
        """Make sure that the lock is still held: one look for the next number.

        Raises:
            UnfinishedError: another night took it, or it could not be renewed in time.
        """
        if storage.exists(self._next_uri):
            raise UnfinishedError(
                f"the night lost its lock {self._uri}: it expired, and another night took it; run "
                "the same command again when that one has ended"
            )
        if self._clock() >= _time(self._record.expires):
            raise UnfinishedError(
                f"the night lost its lock {self._uri}: it could not be renewed until "
                f"{self._record.expires}; run the same command again"
            )

    def renew(self) -> None:
        """Put the expiry off.

        Raises:
            UnfinishedError: the lock is lost, or the store did not answer (StorageError).
        """
        self.check()
        before = self._record
        record = replace(before, expires=_after(self._clock(), self._ttl_s))
        storage.write_atomic(self._uri, record.to_bytes())
        # Later than that, somebody may have read the old expiry and be about to take the lock.
        if self._clock() < _time(before.expires):
            self._record = record

    def renew_until(self, stopped: threading.Event) -> None:
        """Renew every third of the time to live, until `stopped` is set or the lock is lost."""
        while not stopped.wait(self._ttl_s / 3):
            try:
                self.renew()
            except (storage.StorageError, OSError) as error:
                logger.warning("could not renew the night's lock, trying again: %s", error)
            except UnfinishedError as error:
                logger.error("%s", error)
                return

    def release(self) -> None:
        """Let the next night take the lock at once; where that fails, it has to wait."""
        try:
            storage.write_atomic(self._uri, replace(self._record, released=True).to_bytes())
        except (storage.StorageError, OSError) as error:
            logger.warning(
                "could not release the night's lock, it expires at %s: %s",
                self._record.expires,
                error,
            )


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@contextmanager
def held_lock(
    output: str, *, night: str, ttl_s: float = LOCK_TTL_S, clock: Clock = utc_now
) -> Iterator[Lock]:
    """Hold the lock of a folder of nights; a thread renews it meanwhile.

    Args:
        output: folder of the nights.
        night: name of the night, for whoever finds the lock held.
        ttl_s: after how many seconds without being renewed the lock is free.
        clock: tells the time, in UTC.

    Raises:
        UnfinishedError: another night holds it. The input is right and the answer is not no: the
            same command does its work later, which is what exit code 4 tells schedulers.
        RunError: the lock's file is damaged.
    """
    lock = _take(output, night, ttl_s, clock)
    stopped = threading.Event()
    # A daemon: a night that ends by a defect must not be kept alive by its lock.
    heartbeat = threading.Thread(
        target=lock.renew_until, args=(stopped,), name="night-lock", daemon=True
    )
    heartbeat.start()
    try:
        yield lock
    finally:
        stopped.set()
        heartbeat.join()  # or it could renew what is released
        lock.release()


def _take(output: str, night: str, ttl_s: float, clock: Clock) -> Lock:
    folder = storage.join(output, LOCKS_FOLDER)
    owner = LockRecord(
        night=night,
        host=socket.gethostname(),
        pid=os.getpid(),
        process_space=_process_space(),
        token=uuid.uuid4().hex,
        since="",
        expires="",
    )
    while True:  # each further round, another night has taken and left the lock meanwhile
        highest = _highest_number(folder)
        if highest:
            _refuse_held(_lock_uri(folder, highest), clock())
        now = clock()
        record = replace(owner, since=_after(now, 0.0), expires=_after(now, ttl_s))
        if storage.create_if_absent(_lock_uri(folder, highest + 1), record.to_bytes()):
            return Lock(folder, highest + 1, record, ttl_s, clock)


def _highest_number(folder: str) -> int:
    """Return the number of the lock, 0 for none: one request for each thousand nights on S3."""
    matches = map(_LOCK_NAME.fullmatch, storage.list_names(folder))
    return max((int(match[1]) for match in matches if match), default=0)


def _refuse_held(uri: str, now: datetime) -> None:
    try:
        found = build(LockRecord, storage.read_json(uri))
        free_from = _time(found.expires) + timedelta(seconds=MAX_CLOCK_SKEW_S)
    except ValueError as error:
        raise RunError(f"{uri} is damaged: {error}; remove it when no night is running") from error
    if not found.released and now < free_from and not _is_gone(found):
        raise UnfinishedError(
            f"another night holds the lock {uri}: {found.night} by {found.host} pid {found.pid} "
            f"since {found.since}, expires at {found.expires} unless it is renewed; run the same "
            "command again then"
        )


def _is_gone(owner: LockRecord) -> bool:
    """Tell whether an owner is known to be dead, so that nobody need wait for the expiry."""
    if not owner.process_space or owner.process_space != _process_space():
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's process has the number now, or is the owner
        return False
    return False


def _process_space() -> str:
    """Name the boot of a machine and the container in it; "" where the system does not tell.

    Host names do not do: containers may share one, and have processes of their own.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _lock_uri(folder: str, number: int) -> str:
    return storage.join(folder, f"{number:06d}.json")


def _after(time: datetime, seconds: float) -> str:
    return (time + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return time
