"""Hands shards to Ray actors; gets over deaths, over shards that kill, and over slow workers.

    waiting ──▶ in flight ──▶ done        up to SHARDS_IN_FLIGHT on each worker
                    │ ▲
     failed or its  ▼ │ alone on a worker, so that guilt is exact from here on
     worker died  suspects
                    │ MAX_ATTEMPTS failures (of several conditions, each is tried for itself then)
                    ▼
                quarantine ──▶ once more, without the guilty segments ──▶ done, or given up

At least once is enough here: the ledger lets one attempt at a shard count, whoever repeats it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence

import ray
from ray.exceptions import RayError, RayTaskError

from orchestration.actors import SHARDS_IN_FLIGHT
from orchestration.commits import shard_name
from orchestration.quarantine import Quarantine
from orchestration.shard_plan import Exclusion, ShardPlan, ShardTask, new_attempt
from orchestration.shard_report import ShardReport
from orchestration.stragglers import ShardTimes
from orchestration.workers import (
    ActorHandle,
    Call,
    ObjectRef,
    Worker,
    explain,
    raise_if_input,
)
from ser_model.schema import UnfinishedError

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""Failures of a shard before its segments are tried one by one."""

LOOK_EVERY_S = 0.5
"""How often stragglers and absent workers are looked for while nothing else happens."""

PATIENCE_S = 900.0
"""How long a run waits with no worker up: a cloud takes minutes to replace a machine."""

TELL_ABSENCE_AFTER_S = 30.0
"""A worker that died and loads its model again takes less, mostly; nobody need know."""

RESUME = "run the same command again to resume"


class Dispatcher:
    """Keeps every actor busy until all shards are scored or given up."""

    def __init__(self, actors: Sequence[ActorHandle], plan: ShardPlan) -> None:
        """Dispatch shards of `plan` to handles of ScoringActor, whether they are up yet or not."""
        self._plan = plan
        self._workers = [Worker(actor=actor) for actor in actors]
        self._waiting: deque[ShardTask] = deque()
        self._suspects: deque[ShardTask] = deque()
        self._quarantines: dict[ShardTask, Quarantine] = {}
        self._open: set[ShardTask] = set()
        self._num_failures: Counter[ShardTask] = Counter()
        self._given_up: dict[ShardTask, str] = {}
        self._times = ShardTimes()
        self._last_up_s = time.monotonic()
        self._told_absence = False

    def run(self, tasks: Iterable[ShardTask]) -> Iterator[ShardReport]:
        """Yield the report of each shard as it is committed, in any order.

        It ends with the last shard; of a shard that two workers have, the slower is not waited for.

        Raises:
            InputError: as a worker raised it; no other attempt would end otherwise.
            UnfinishedError: the storage is gone, no worker is left, or some shards could not be
                scored; all others are committed.
        """
        self._waiting.extend(tasks)
        self._open.update(self._waiting)
        while self._open:
            try:
                self._await_workers()
                self._hand_out()
                report = self._collect()
            except RayError as error:
                raise UnfinishedError(f"the Ray cluster failed: {error}; {RESUME}") from error
            if report is not None:
                yield report
        if self._given_up:
            task, why = next(iter(self._given_up.items()))
            raise UnfinishedError(
                f"{len(self._given_up)} shards could not be scored, {shard_name(task.number)}: "
                f"{why}; what is scored is kept: {RESUME}"
            )

    def _await_workers(self) -> None:
        """Ask those that are down whether they are up again; end if there is none for long."""
        for worker in self._workers:
            worker.ask()
        if any(worker.is_up() for worker in self._workers):
            self._last_up_s = time.monotonic()
            self._told_absence = False
        elif not self._workers or time.monotonic() - self._last_up_s > PATIENCE_S:
            raise UnfinishedError(f"no worker is left: {RESUME}")
        elif not self._told_absence and time.monotonic() - self._last_up_s > TELL_ABSENCE_AFTER_S:
            logger.warning("no worker is up; waiting up to %.0f s for one to come back", PATIENCE_S)
            self._told_absence = True

    def _hand_out(self) -> None:
        # A shard to each worker, then a second and a third: the last shards are spread over all.
        for max_calls in range(1, SHARDS_IN_FLIGHT + 1):
            for worker in self._workers:
                if self._waiting and worker.has_room(max_calls):
                    self._score(worker, self._waiting.popleft())
        for worker in self._workers:
            if not worker.is_idle():
                continue
            if self._suspects:
                self._examine(worker, self._suspects.popleft())
            elif (straggler := self._find_straggler()) is not None:
                logger.info("%s is slow: another worker tries it", shard_name(straggler.number))
                self._score(worker, straggler)

    def _score(self, worker: Worker, task: ShardTask) -> None:
        quarantine = self._quarantines.get(task)
        ref = worker.actor.score_shard.remote(
            task.number,
            self._plan.shard(task.number),
            task.conditions,
            new_attempt(),
            quarantine.excluded if quarantine else {},
        )
        worker.calls[ref] = Call(
            task=task, submitted_s=time.monotonic(), alone=task in self._num_failures
        )

    def _examine(self, worker: Worker, task: ShardTask) -> None:
        """Give a worker a suspect, or the next segment of one that is in quarantine."""
        quarantine = self._quarantines.get(task)
        segment_id = quarantine.next_segment() if quarantine else None
        if segment_id is None:
            self._score(worker, task)
            return
        shard = self._plan.shard(task.number)
        ref = worker.actor.try_segment.remote(shard, segment_id, task.conditions)
        worker.calls[ref] = Call(
            task=task, submitted_s=time.monotonic(), alone=True, segment_id=segment_id
        )

    def _find_straggler(self) -> ShardTask | None:
        """Return the shard that is overdue the most, of those that only one worker has."""
        now_s = time.monotonic()
        calls = self._calls()
        num_calls = Counter(call.task for call in calls)
        overdue = {
            call.task: self._times.overdue(
                now_s - call.submitted_s, self._num_segments_of(call.task)
            )
            for call in calls
            if num_calls[call.task] == 1 and call.segment_id is None and call.task in self._open
        }
        task = max(overdue, key=overdue.__getitem__, default=None)
        return task if task is not None and overdue[task] >= 1 else None

    def _num_segments_of(self, task: ShardTask) -> int:
        """Return the segments of a task, once for each condition."""
        return self._plan.num_segments_of(task.number) * len(task.conditions)

    def _calls(self) -> list[Call]:
        return [call for worker in self._workers for call in worker.calls.values()]

    def _collect(self) -> ShardReport | None:
        """Wait a moment for a call to end; None where it brought no report that counts."""
        refs = [ref for worker in self._workers for ref in worker.refs()]
        if not refs:
            time.sleep(LOOK_EVERY_S)
            return None
        ended, _ = ray.wait(refs, num_returns=1, timeout=LOOK_EVERY_S)
        if not ended:
            return None
        worker = next(worker for worker in self._workers if ended[0] in worker.refs())
        if ended[0] == worker.loading:
            if not worker.end_loading():
                logger.warning("a worker that cannot load its model is given up")
                self._workers.remove(worker)
                self._take_back(worker.calls.values())
            return None
        return self._end_call(worker, ended[0])

    def _end_call(self, worker: Worker, ref: ObjectRef) -> ShardReport | None:
        call = worker.calls.pop(ref)
        try:
            report: ShardReport | None = ray.get(ref)  # type: ignore[assignment]  # a list only for a list
        except RayTaskError as error:
            raise_if_input(error)
            # Storage is patient with itself: what it raises at last, other workers meet too.
            if isinstance(error.cause, UnfinishedError):
                raise error.cause from error
            if isinstance(error.cause, OSError):
                raise UnfinishedError(f"{error.cause}: {RESUME}") from error
            # It may have left the device in a bad state, and what follows would fail by that.
            self._take_back(worker.restart())
            self._fail(call, explain(error))
            return None
        except RayError as error:
            # Its other shards end likewise, each by itself.
            worker.mark_down()
            self._fail(call, explain(error))
            return None
        if call.segment_id is not None:
            self._quarantines[call.task].acquit(call.segment_id)
            self._proceed(call.task)
            return None
        now_s = time.monotonic()
        # Of shards that overlap on a worker, each is charged with the time since the last one.
        duration_s = now_s - max(call.submitted_s, worker.last_end_s)
        self._times.add(duration_s, self._num_segments_of(call.task))
        worker.last_end_s = now_s
        if call.task not in self._open:
            return None  # another worker was faster
        self._open.remove(call.task)
        return report

    def _take_back(self, calls: Iterable[Call]) -> None:
        """Put back what a worker held that we ended ourselves; nobody is to blame."""
        for call in calls:
            if call.task in self._open and not self._is_in_flight(call.task):
                (self._suspects if call.alone else self._waiting).appendleft(call.task)

    def _is_in_flight(self, task: ShardTask) -> bool:
        return any(call.task == task for call in self._calls())

    def _fail(self, call: Call, why: Exclusion) -> None:
        """Blame a call's shard or segment, and decide how it is tried again."""
        task, name = call.task, shard_name(call.task.number)
        if task not in self._open:
            return
        if call.segment_id is not None:
            quarantine = self._quarantines[task]
            quarantine.fail(call.segment_id, why)
            logger.warning(
                "%s: segment %r failed alone: %s; %d segments left to try",
                *(name, call.segment_id, why.detail, quarantine.num_left),
            )
            self._proceed(task)
            return
        self._num_failures[task] += 1
        if self._is_in_flight(task):
            return  # a second worker has it still
        if task in self._quarantines:
            self._open.remove(task)
            self._given_up[task] = why.detail
            logger.error("%s is given up: %s", name, why.detail)
        elif self._num_failures[task] < MAX_ATTEMPTS:
            logger.warning("%s failed: %s; trying it again, alone", name, why.detail)
            self._suspects.append(task)
        elif len(task.conditions) > 1:
            self._divide(task, why)
        else:
            quarantine = Quarantine(self._plan.shard(task.number).segment_ids)
            self._quarantines[task] = quarantine
            logger.warning(
                "%s failed %d times (at last: %s); trying its %d segments one by one",
                *(name, self._num_failures[task], why.detail, quarantine.num_segments),
            )
            self._suspects.append(task)

    def _divide(self, task: ShardTask, why: Exclusion) -> None:
        """Try each condition for itself: what is guilty under one may be scored under another."""
        logger.warning(
            "%s failed %d times (at last: %s); trying its %d conditions one by one",
            *(shard_name(task.number), self._num_failures[task], why.detail, len(task.conditions)),
        )
        self._open.remove(task)
        parts = task.by_condition()
        self._open.update(parts)
        self._num_failures.update(dict.fromkeys(parts, 0))  # suspects from the beginning
        self._suspects.extend(parts)

    def _proceed(self, task: ShardTask) -> None:
        """Go on with a shard in quarantine before any other suspect."""
        quarantine = self._quarantines[task]
        if quarantine.next_segment() is None:
            logger.warning(
                "%s: all segments tried, %d of %d excluded (%s); scoring the others once more",
                *(shard_name(task.number), len(quarantine.excluded), quarantine.num_segments),
                ", ".join(quarantine.excluded) or "none",
            )
        self._suspects.appendleft(task)
