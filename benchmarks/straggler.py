"""What one slow worker of several costs a run: the real dispatcher on a real Ray, fake scoring.

    python benchmarks/straggler.py [--workers 8] [--shards 96] [--shard-s 2] [--json]

Workers sleep instead of scoring, one shard at a time; the slow one sleeps ten times as long.
Printed are the seconds of a clean run, of one with the slow worker, of one in which no idle worker
helps, and what of the first is unavoidable: with 1 of W workers slow, W - 0.9 workers are left.
"""

from __future__ import annotations

import argparse
import logging
import math
import threading
import time

import pyarrow as pa
import ray
from machine import machine
from reporting import add_options, report

from orchestration import stragglers
from orchestration.actors import SHARDS_IN_FLIGHT
from orchestration.dispatch import Dispatcher
from orchestration.shard_plan import ShardPlan, ShardTask

SLOWER = 10
GOAL = 1.3
SEGMENTS_PER_SHARD = 256


class SleepingActor:
    """Takes as long for a shard as it is told, one after the other, as the model does."""

    def __init__(self, shard_s: float) -> None:
        """Take `shard_s` seconds for a shard."""
        self._shard_s = shard_s
        self._model = threading.Lock()

    def load(self) -> None:
        """Be up."""

    def score_shard(self, number: int, *_: object) -> int:
        """Sleep, and report the shard's number."""
        with self._model:
            time.sleep(self._shard_s)
        return number


def run(num_workers: int, num_shards: int, shard_s: float, *, num_slow: int) -> float:
    """Return the seconds of one run."""
    remote_actor = ray.remote(SleepingActor).options(num_cpus=0, max_concurrency=SHARDS_IN_FLIGHT)
    slow = [remote_actor.remote(shard_s * SLOWER) for _ in range(num_slow)]
    actors = slow + [remote_actor.remote(shard_s) for _ in range(num_workers - num_slow)]
    ray.get([actor.load.remote() for actor in actors])
    plan = ShardPlan(
        rows=pa.table({"segment_id": pa.nulls(SEGMENTS_PER_SHARD * num_shards)}),
        first_rows=range(0, SEGMENTS_PER_SHARD * num_shards + 1, SEGMENTS_PER_SHARD),
        make_shard=lambda _: None,
    )
    tasks = [ShardTask(number=number, conditions=("clean",)) for number in range(num_shards)]
    started = time.monotonic()
    numbers = list(Dispatcher(actors, plan).run(tasks))
    wall_s = time.monotonic() - started
    assert sorted(numbers) == list(range(num_shards))
    for actor in actors:
        ray.kill(actor)
    return wall_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--shards", type=int, default=96)
    parser.add_argument("--shard-s", type=float, default=2.0)
    add_options(parser)
    args = parser.parse_args()
    size = (args.workers, args.shards, args.shard_s)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    clean_s = run(*size, num_slow=0)
    slow_s = run(*size, num_slow=1)
    stragglers.HEDGE_AFTER = math.inf
    alone_s = run(*size, num_slow=1)
    ray.shutdown()
    unavoidable = args.workers / (args.workers - 1 + 1 / SLOWER)
    where = machine("cpu")
    result = {
        "workers": args.workers,
        "shards": args.shards,
        "shard_s": args.shard_s,
        "clean_s": round(clean_s, 2),
        "slow_worker_s": round(slow_s, 2),
        "slow_worker_without_help_s": round(alone_s, 2),
        "ratio": round(slow_s / clean_s, 3),
        "ratio_without_help": round(alone_s / clean_s, 3),
        "ratio_unavoidable": round(unavoidable, 3),
        "goal": GOAL,
        "machine": where,
    }
    lines = [
        f"{args.workers} workers, {args.shards} shards of {args.shard_s:g} s of sleep; "
        f"{where['cpu']}, {where['date']}",
        "",
        "| run | wall s | times as long |",
        "| --- | ---: | ---: |",
        f"| all as fast | {clean_s:.1f} | 1.00 |",
        f"| one {SLOWER} x slower (goal {GOAL}, unavoidable {unavoidable:.2f}) | {slow_s:.1f} "
        f"| {slow_s / clean_s:.2f} |",
        f"| one {SLOWER} x slower, nobody helps | {alone_s:.1f} | {alone_s / clean_s:.2f} |",
    ]
    report("\n".join(lines), result, args)


if __name__ == "__main__":
    main()
