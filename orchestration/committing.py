"""Writes what was made of a shard, condition after condition, while the next one is scored."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from types import TracebackType
from typing import Self

from orchestration.commits import Commit
from orchestration.tables import Outcome

MAX_WAITING = 3
"""Conditions of a shard whose rows wait in memory for a slow store."""


class Committing:
    """Commits the conditions of one shard in threads; leaving it waits for all of them.

    Attributes:
        commits: the records that count, in the order of `put`; there when it is left.
        write_s: seconds that writing took, of all threads together.
        waited_s: seconds that `put` waited for the store.
    """

    def __init__(self, threads: Executor, commit: Callable[[str, list[Outcome]], Commit]) -> None:
        """Take the threads, and what commits the outcomes of a condition."""
        self._threads = threads
        self._commit = commit
        self._futures: list[Future[tuple[Commit, float]]] = []
        self.commits: tuple[Commit, ...] = ()
        self.write_s = 0.0
        self.waited_s = 0.0

    def put(self, condition: str, outcomes: list[Outcome]) -> None:
        """Commit a condition; waits where several are waiting already.

        Raises:
            Exception: as an earlier commit raised it.
        """
        if len(self._futures) >= MAX_WAITING:
            started = time.monotonic()
            self._futures[-MAX_WAITING].result()
            self.waited_s += time.monotonic() - started
        self._futures.append(self._threads.submit(self._timed, condition, outcomes))

    def _timed(self, condition: str, outcomes: list[Outcome]) -> tuple[Commit, float]:
        started = time.monotonic()
        commit = self._commit(condition, outcomes)
        return commit, time.monotonic() - started

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        wait(self._futures)
        if error is None:
            done = [future.result() for future in self._futures]
            self.commits = tuple(commit for commit, _ in done)
            self.write_s = sum(write_s for _, write_s in done)
