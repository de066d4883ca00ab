"""Scoring in this process, without Ray: one worker, its calls in threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from orchestration.actors import SHARDS_IN_FLIGHT, ScoringActor
from orchestration.shard_plan import ShardPlan, ShardTask, new_attempt
from orchestration.shard_report import ShardReport


def score_here(
    actor: ScoringActor, plan: ShardPlan, tasks: Iterable[ShardTask]
) -> Iterator[ShardReport]:
    """Yield the report of each shard as it is committed.

    Raises:
        Exception: what a call raised, when the other shards in work are done.
    """
    waiting = iter(tasks)
    running: set[Future[ShardReport]] = set()
    calls = ThreadPoolExecutor(SHARDS_IN_FLIGHT, thread_name_prefix="shard")
    try:
        while True:
            for task in islice(waiting, SHARDS_IN_FLIGHT - len(running)):
                shard = plan.shard(task.number)
                running.add(
                    calls.submit(
                        actor.score_shard, task.number, shard, task.conditions, new_attempt()
                    )
                )
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for call in done:
                if call.exception() is not None:
                    wait(running)  # what the others have in hand is worth its commits
                yield call.result()
    except BaseException:
        actor.stop()  # or the calls would go on to the ends of their shards
        raise
    finally:
        calls.shutdown(cancel_futures=True)
