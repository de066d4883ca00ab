"""Scoring in this process, without Ray: one worker, its calls in threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from queue import Empty, SimpleQueue

from orchestration.actors import SHARDS_IN_FLIGHT, ScoringActor
from orchestration.shard_plan import ShardPlan, ShardTask, new_attempt
from orchestration.shard_report import ShardReport

SIGNALS_EVERY_S = 0.5
"""A signal that comes just before a wait begins is taken when the wait ends."""


def score_here(
    actor: ScoringActor, plan: ShardPlan, tasks: Iterable[ShardTask]
) -> Iterator[ShardReport]:
    """Yield the report of each shard as it is committed.

    Raises:
        Exception: what a call raised, when the other shards in work are done.
    """
    waiting = iter(tasks)
    running: set[Future[ShardReport]] = set()
    ended: SimpleQueue[Future[ShardReport]] = SimpleQueue()
    calls = ThreadPoolExecutor(SHARDS_IN_FLIGHT, thread_name_prefix="shard")
    try:
        while True:
            for task in islice(waiting, SHARDS_IN_FLIGHT - len(running)):
                shard = plan.shard(task.number)
                call = calls.submit(
                    actor.score_shard, task.number, shard, task.conditions, new_attempt()
                )
                running.add(call)
                call.add_done_callback(ended.put)
            if not running:
                return
            call = _next(ended)
            running.remove(call)
            if call.exception() is not None:
                wait(running)  # what the others have in hand is worth its commits
            yield call.result()
    except BaseException:
        actor.stop()  # or the calls would go on to the ends of their shards
        raise
    finally:
        calls.shutdown(cancel_futures=True)


def _next(ended: SimpleQueue[Future[ShardReport]]) -> Future[ShardReport]:
    """Wait for a call to end, and let SIGTERM end the wait.

    Not with futures.wait: what a signal's handler raises within a condition variable leaves its
    lock in disorder, and a wait without an end can miss the signal altogether.
    """
    while True:
        try:
            return ended.get(timeout=SIGNALS_EVERY_S)
        except Empty:
            continue
