"""What scoring and transcribing have in common: hand out shards, verify, sum up.

    Ledger.start -> ScoringActor (on Ray, or one in here) -> Ledger.complete

The shard is the unit of work, retry, commit and resume. Whatever dies, the same command again goes
on where the commits end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from orchestration.augmentation import CLEAN_ALONE, Augmentation, in_order, recorded
from orchestration.commits import read_run
from orchestration.durations import Seconds, planned_audio_s
from orchestration.hardware import Hardware
from orchestration.ledger import Ledger
from orchestration.progress import Progress
from orchestration.scoring_workers import ResolvedSource, start_workers
from orchestration.segmenting import Segmenting, segmented_source
from orchestration.shard_plan import ShardPlan, ShardTask
from orchestration.shard_report import ShardReport, StageTimes
from orchestration.stopping import sigterm_as_unfinished
from ser_model.batch_runner import Workload
from ser_model.schema import ConfigError, UnfinishedError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All that it takes.

    Attributes:
        verb: what is done, for people: "score" or "transcribe".
        plan: the segments.
        model: what they go through.
        ledger: where the outcomes go.
        hardware: what it runs on.
        augmentation: the conditions.
    """

    verb: str
    plan: ShardPlan
    model: ResolvedSource
    ledger: Ledger
    hardware: Hardware
    augmentation: Augmentation = CLEAN_ALONE


@dataclass(slots=True, kw_only=True)
class Totals:
    """Adds up what this call did."""

    num_segments: int = 0
    num_rejections: int = 0
    audio_s: float = 0.0
    workload: Workload = field(default_factory=Workload)
    times: StageTimes = field(default_factory=StageTimes)
    scoring_s: float = 0.0
    num_workers: int = 0

    def add(self, report: ShardReport) -> None:
        """Add what became of a shard."""
        self.num_segments += report.num_segments
        self.num_rejections += sum(commit.num_rejections for commit in report.commits)
        self.audio_s += report.audio_s
        self.workload += report.workload
        self.times += report.times

    def speed(self) -> dict[str, float]:
        """Return what run.json keeps of how long the model took, of all workers together."""
        return {"audio_s": self.audio_s, "model_s": self.times.score_s}


@contextmanager
def resumable() -> Iterator[None]:
    """Let SIGTERM, and storage that fails for good, end a command as one that can be resumed."""
    try:
        with sigterm_as_unfinished():
            yield
    except OSError as error:
        raise UnfinishedError(f"{error}: run the same command again to resume") from error


def check_max_rejected(max_rejected: float) -> None:
    """Raise ConfigError where this is no part of the whole."""
    if not 0 <= max_rejected <= 1:
        raise ConfigError(f"--max-rejected {max_rejected} is not between 0 and 1")


def segments_of(
    source: str, run_uri: str, segmenting: Segmenting | None, *, split: str | None
) -> tuple[str, str | None]:
    """Return the source of the segments, and which split of it is still to be chosen.

    Args:
        source: as the caller named it.
        run_uri: folder of the run; the segments that are cut are kept there.
        segmenting: how to cut the recordings first; None for the source's own segments.
        split: only this split; None for all.
    """
    if segmenting is None:
        return source, split
    return segmented_source(source, run_uri, segmenting, split=split), None


def summary_fields(
    job: Job, run: Mapping[str, Any], totals: Totals, *, output: str, started_s: float
) -> dict[str, Any]:
    """Return the fields of a RunSummary, and the counts of run.json among them.

    Args:
        job: what was done.
        run: the content of run.json.
        totals: what this call did of it.
        output: folder of the run, as the caller named it.
        started_s: when the call began, by time.monotonic().
    """
    return {
        **run["counts"],
        "run": output,
        "model_uri": job.model.uri,
        "content_sha256": run["content_sha256"],
        "num_scored_now": totals.num_segments,
        "audio_scored_now_s": totals.audio_s,
        "wall_s": time.monotonic() - started_s,
        "padding_waste": totals.workload.padding_waste,
        "times": totals.times,
        "scoring_s": totals.scoring_s,
        "num_workers": totals.num_workers,
    }


def finish(job: Job, description: Mapping[str, object]) -> tuple[dict[str, Any], Totals]:
    """Do what is not committed yet, then verify the whole and complete the run.

    Args:
        job: what to do.
        description: what run.json says beside the identity.

    Returns:
        The content of run.json, and what this call did.

    Raises:
        InputError: the model cannot be loaded, or the folder holds another run.
        UnfinishedError: the run was stopped or shards failed; the same call resumes it.
    """
    totals = Totals()
    run = job.ledger.start(description)
    if set(job.augmentation.names) <= _complete_conditions(run):
        return run, totals
    job.augmentation.record(job.ledger.run_uri)
    tasks = _missing(job)
    if tasks:
        _work(job, tasks, totals)
    num_segments_by_shard = [job.plan.num_segments_of(n) for n in range(job.plan.num_shards)]
    # Read again, for another driver may have added conditions of its own meanwhile.
    names = in_order({*_complete_conditions(read_run(job.ledger.run_uri)), *job.augmentation.names})
    note: dict[str, object] = {"speed": totals.speed()} if tasks else {}
    if len(names) > 1:
        note["augmentation"] = recorded(job.ledger.run_uri)
    return job.ledger.complete(num_segments_by_shard, names, note=note), totals


def _complete_conditions(run: Mapping[str, Any]) -> set[str]:
    """Return the conditions that a run.json says are complete."""
    return set(run["conditions"]) if run["status"] == "complete" else set()


def _missing(job: Job) -> list[ShardTask]:
    """Return what is not committed yet: shards, each with the conditions that it lacks."""
    done = {name: job.ledger.committed(name) for name in job.augmentation.names}
    lacking = (
        (number, tuple(name for name, shards in done.items() if number not in shards))
        for number in range(job.plan.num_shards)
    )
    return [ShardTask(number=number, conditions=names) for number, names in lacking if names]


def _work(job: Job, tasks: list[ShardTask], totals: Totals) -> None:
    """Let workers do the tasks, and show how it goes."""
    num_segments = sum(_num_segments(job.plan, task) for task in tasks)
    num_planned = job.plan.num_segments * len(job.augmentation.names)
    if num_segments < num_planned:
        logger.info("resuming: %d of %d segments are done", num_planned - num_segments, num_planned)
    shards_s = planned_audio_s(job.plan)
    work_s = None if shards_s is None else _by_task(shards_s, tasks)
    with (
        start_workers(
            job.model,
            job.ledger.run_uri,
            job.ledger.identity,
            job.hardware,
            num_shards=len(tasks),
            augmentation=job.augmentation,
        ) as workers,
        Progress(job.verb, total=num_segments, total_work=work_s) as progress,
    ):
        started = time.monotonic()
        for report in workers.score(job.plan, tasks):
            for commit in report.commits:
                job.ledger.note(commit)
            totals.add(report)
            progress.advance(
                report.num_segments,
                work=0.0 if shards_s is None else shards_s[report.shard] * len(report.commits),
                rejected=totals.num_rejections,
                audio=f"{totals.audio_s / 3600:.2f} h",
                speed=f"{totals.audio_s / (time.monotonic() - started):.0f} x real time",
            )
        totals.scoring_s = time.monotonic() - started
        totals.num_workers = workers.num_workers


def _num_segments(plan: ShardPlan, task: ShardTask) -> int:
    return plan.num_segments_of(task.number) * len(task.conditions)


def _by_task(shards_s: Seconds, tasks: Iterable[ShardTask]) -> float:
    """Return the audio of tasks, each condition as long as the clean audio."""
    return float(sum(shards_s[task.number] * len(task.conditions) for task in tasks))
