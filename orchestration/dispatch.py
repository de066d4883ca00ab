"""Hands shards to Ray actors and gets over their death.

At least once is enough here: the ledger lets one attempt at a shard count, whoever repeats it.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import ray
from ray.exceptions import RayError, RayTaskError

from orchestration.actors import ScoringActor, ShardReport
from orchestration.commits import shard_name
from orchestration.shard_plan import ShardPlan
from ser_model.schema import InputError, UnfinishedError

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""Attempts at one shard before it is left for the next run."""

SHARDS_IN_FLIGHT = 2
"""Shards that an actor has been given: one that it scores, one so that it need not wait."""


OBJECT_STORE_BYTES = 100_000_000
"""Only shard descriptors and counts pass through Ray, so its default (30 % of memory) is waste."""

WAIT_LINE_EVERY_S = 30.0

ActorHandle: TypeAlias = Any
"""Ray's handle of an actor, which has no useful static type."""

ObjectRef: TypeAlias = Any
"""Ray's name of a result that is still to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """A shard that is to be scored under a condition."""

    number: int
    condition: str


def new_attempt() -> str:
    """Return a name that no other attempt has, on any machine."""
    return uuid.uuid4().hex[:16]


@contextmanager
def start_actors(
    arguments: Mapping[str, Any], num_workers: int, device: str
) -> Iterator[list[ActorHandle]]:
    """Start scoring actors; on leaving, end them, and Ray too where it was started here.

    A Ray that runs already in this process is used as it is, and RAY_ADDRESS, Ray's own variable,
    names a cluster; else Ray is started on this machine alone.

    Args:
        arguments: those of ScoringActor.
        num_workers: how many actors.
        device: "cuda" gives each actor a GPU.

    Raises:
        UnfinishedError: an actor could not be started, by a model that does not load, for example.
    """
    started_here = not ray.is_initialized()
    if started_here:
        _start_ray(num_workers)
    actors: list[ActorHandle] = []
    try:
        remote_actor = ray.remote(
            num_cpus=1,
            num_gpus=1 if device == "cuda" else 0,
            max_restarts=-1,
            # The dispatcher repeats a shard itself, under the name of a new attempt.
            max_task_retries=0,
        )(ScoringActor)
        actors += [remote_actor.remote(**arguments) for _ in range(num_workers)]
        _wait_until_ready(actors)
        yield actors
    finally:
        if started_here:
            ray.shutdown()
        else:
            for actor in actors:
                ray.kill(actor)


def _start_ray(num_workers: int) -> None:
    # Under `uv run` Ray would start every worker through uv; ours run in this environment as it is.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
        return
    ray.init(
        num_cpus=num_workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=OBJECT_STORE_BYTES,
    )


def _wait_until_ready(actors: Sequence[ActorHandle]) -> None:
    waiting = [actor.ready.remote() for actor in actors]
    try:
        while waiting:
            ready, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=WAIT_LINE_EVERY_S)
            ray.get(ready)
            if waiting:
                logger.info("waiting for %d of %d workers to start", len(waiting), len(actors))
    except RayError as error:
        raise UnfinishedError(f"a worker did not start: {error}") from error


class Dispatcher:
    """Keeps every actor busy until all shards are scored or given up."""

    def __init__(self, actors: Sequence[ActorHandle], plan: ShardPlan) -> None:
        """Dispatch shards of `plan` to handles of ScoringActor."""
        self._plan = plan
        self._waiting: deque[ShardTask] = deque()
        self._in_flight: dict[ActorHandle, dict[ObjectRef, ShardTask]] = {
            actor: {} for actor in actors
        }
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
        while any(self._in_flight.values()):
            refs = [ref for inside in self._in_flight.values() for ref in inside]
            ref = ray.wait(refs, num_returns=1)[0][0]
            report = self._collect(ref)
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
        for _ in range(SHARDS_IN_FLIGHT):
            for actor, inside in self._in_flight.items():
                if self._waiting and len(inside) < SHARDS_IN_FLIGHT:
                    task = self._waiting.popleft()
                    shard = self._plan.shard(task.number)
                    ref = actor.score_shard.remote(
                        task.number, shard, task.condition, new_attempt()
                    )
                    inside[ref] = task

    def _collect(self, ref: ObjectRef) -> ShardReport | None:
        actor = next(a for a, inside in self._in_flight.items() if ref in inside)
        try:
            report = cast(ShardReport, ray.get(ref))
        except RayTaskError as error:
            if isinstance(error.cause, InputError):
                raise error.cause from error
            self._blame(self._in_flight[actor].pop(ref), repr(error.cause))
            return None
        except RayError as error:
            self._mourn(actor, error)
            return None
        del self._in_flight[actor][ref]
        return report

    def _mourn(self, actor: ActorHandle, error: RayError) -> None:
        """Take back what a dead actor held; Ray starts it again by itself."""
        first, *others = self._in_flight[actor].values()
        self._in_flight[actor].clear()
        self._waiting.extendleft(reversed(others))
        # Shards are scored in the order of submission: only the first can have killed the actor.
        self._blame(first, f"the death of its worker ({type(error).__name__})")

    def _blame(self, task: ShardTask, why: str) -> None:
        self._num_failures[task] += 1
        if self._num_failures[task] < MAX_ATTEMPTS:
            logger.warning("%s failed by %s; trying again", shard_name(task.number), why)
            self._waiting.append(task)
        else:
            self._given_up[task] = why
