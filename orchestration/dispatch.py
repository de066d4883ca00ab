"""Hands shards to Ray actors and gets over their death.

At least once is enough here: the ledger lets one attempt at a shard count, whoever repeats it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import ray
from ray.exceptions import RayError, RayTaskError

from orchestration.actors import ShardReport
from orchestration.commits import shard_name
from orchestration.shard_plan import ShardPlan, ShardTask, new_attempt
from ser_model.schema import InputError, UnfinishedError

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""Attempts at one shard before it is left for the next run."""

SHARDS_IN_FLIGHT = 2
"""Shards that an actor has been given: one that it scores, one so that it need not wait."""

MAX_LOADS = 60
LOAD_AGAIN_AFTER_S = 0.5
"""An actor that died is asked this often whether it is back; the wait is 30 s at least."""

ActorHandle: TypeAlias = Any
"""Ray's handle of an actor, which has no useful static type."""

ObjectRef: TypeAlias = Any
"""Ray's name of a result that is still to come."""


@dataclass(slots=True, kw_only=True)
class _Worker:
    """An actor, and what it has been given.

    Attributes:
        actor: Ray's handle.
        tasks: the shards that it holds, in the order in which it scores them.
        loading: after its death, the call that tells when it is back.
        num_loads: calls of that kind since its death.
    """

    actor: ActorHandle
    tasks: dict[ObjectRef, ShardTask] = field(default_factory=dict)
    loading: ObjectRef | None = None
    num_loads: int = 0

    def refs(self) -> list[ObjectRef]:
        return [*self.tasks, *([] if self.loading is None else [self.loading])]

    def has_room(self) -> bool:
        return self.loading is None and len(self.tasks) < SHARDS_IN_FLIGHT

    def load(self) -> None:
        self.loading = self.actor.load.remote()
        self.num_loads += 1


class Dispatcher:
    """Keeps every actor busy until all shards are scored or given up."""

    def __init__(self, actors: Sequence[ActorHandle], plan: ShardPlan) -> None:
        """Dispatch shards of `plan` to handles of ScoringActor."""
        self._plan = plan
        self._waiting: deque[ShardTask] = deque()
        self._workers = [_Worker(actor=actor) for actor in actors]
        self._num_failures: Counter[ShardTask] = Counter()
        self._given_up: dict[ShardTask, str] = {}

    def run(self, tasks: Iterable[ShardTask]) -> Iterator[ShardReport]:
        """Yield the report of each shard as it is committed, in any order.

        Raises:
            InputError: as a worker raised it; no other attempt would end otherwise.
            UnfinishedError: some shards failed again and again; all others are committed.
        """
        self._waiting.extend(tasks)
        self._submit()
        while self._waiting or any(worker.tasks for worker in self._workers):
            if not self._workers:
                raise UnfinishedError("no worker is left: run the same command again to resume")
            refs = [ref for worker in self._workers for ref in worker.refs()]
            report = self._collect(ray.wait(refs, num_returns=1)[0][0])
            self._submit()
            if report is not None:
                yield report
        if self._given_up:
            task, why = next(iter(self._given_up.items()))
            raise UnfinishedError(
                f"{len(self._given_up)} shards failed {MAX_ATTEMPTS} times each, "
                f"{shard_name(task.number)} by {why}; what is scored is kept: run the same command "
                "again to resume"
            )

    def _submit(self) -> None:
        """Give out shards, one to each worker, then a second one to each."""
        for _ in range(SHARDS_IN_FLIGHT):
            for worker in self._workers:
                if self._waiting and worker.has_room():
                    task = self._waiting.popleft()
                    shard = self._plan.shard(task.number)
                    ref = worker.actor.score_shard.remote(
                        task.number, shard, task.condition, new_attempt()
                    )
                    worker.tasks[ref] = task

    def _collect(self, ref: ObjectRef) -> ShardReport | None:
        """Take what a call ended with; None where it was not a shard's report."""
        worker = next(worker for worker in self._workers if ref in worker.refs())
        if ref == worker.loading:
            self._end_loading(worker)
            return None
        try:
            report: ShardReport = ray.get(ref)  # type: ignore[assignment]  # a list only for a list
        except RayTaskError as error:
            _raise_if_input(error)
            self._blame(worker.tasks.pop(ref), repr(error.cause))
            return None
        except RayError as error:
            self._mourn(worker, error)
            return None
        del worker.tasks[ref]
        return report

    def _mourn(self, worker: _Worker, error: RayError) -> None:
        """Take back what a dead worker held, and wait until Ray has started it again.

        Without the wait, shards that are handed to it now would fail by no fault of their own.
        """
        first, *others = worker.tasks.values()
        worker.tasks.clear()
        self._waiting.extendleft(reversed(others))
        # Shards are scored in the order of submission: only the first can have killed the worker.
        self._blame(first, f"the death of its worker ({type(error).__name__})")
        worker.load()

    def _end_loading(self, worker: _Worker) -> None:
        loading: ObjectRef = worker.loading
        worker.loading = None
        try:
            ray.get(loading)
            worker.num_loads = 0
        except RayError as error:
            _raise_if_input(error)
            if worker.num_loads < MAX_LOADS:
                time.sleep(LOAD_AGAIN_AFTER_S)
                worker.load()
            else:
                logger.warning("a worker does not come back: %s", error)
                self._workers.remove(worker)

    def _blame(self, task: ShardTask, why: str) -> None:
        self._num_failures[task] += 1
        if self._num_failures[task] < MAX_ATTEMPTS:
            logger.warning("%s failed by %s; trying again", shard_name(task.number), why)
            self._waiting.append(task)
        else:
            self._given_up[task] = why


def _raise_if_input(error: RayError) -> None:
    """Raise what a worker raised, where it means that the input is broken."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, InputError):
        raise error.cause from error
