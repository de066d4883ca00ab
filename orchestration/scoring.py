"""Score every segment of a source with one model, exactly once: plan, hand out, verify, sum up.

    plan_shards -> Ledger.start -> ScoringActor (on Ray, or one in here) -> Ledger.complete

The shard is the unit of work, retry, commit and resume. Whatever dies, the same command again goes
on where the commits end.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch

from orchestration.actors import ScoringActor, ShardReport
from orchestration.cluster import start_actors
from orchestration.commits import RunIdentity
from orchestration.dispatch import Dispatcher, ShardTask, new_attempt
from orchestration.hardware import Hardware, choose_hardware
from orchestration.ledger import Ledger
from orchestration.progress import Progress
from orchestration.registry import ResolvedModel, resolve_model
from orchestration.shard_plan import ShardPlan
from orchestration.shards import SEGMENTS_PER_SHARD, plan_shards
from ser_model import storage
from ser_model.predict import Workload
from ser_model.schema import CLEAN, ConfigError, TooManyRejectedError, UnfinishedError

logger = logging.getLogger(__name__)

THREADS_PER_WORKER = 1
"""Threads of a worker's arithmetic; more workers use more cores, and change no result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSummary:
    """The end of a run.

    Attributes:
        run: folder of the run.
        model_uri: the model, pinned to a version.
        num_segments: segments x conditions in the run.
        num_predictions: those with a score.
        num_rejections: those without.
        num_rejections_by_reason: the latter by reason code.
        audio_s: seconds of audio that were scored, over all of the run's resumptions.
        content_sha256: hash of all rows.
        num_scored_now: segments that this call scored; the others were committed before.
        audio_scored_now_s: the audio of those.
        wall_s: how long this call took.
        padding_waste: the part of this call's arithmetic that went into padding, 0 to 1.
    """

    run: str
    model_uri: str
    num_segments: int
    num_predictions: int
    num_rejections: int
    num_rejections_by_reason: Mapping[str, int]
    audio_s: float
    content_sha256: str
    num_scored_now: int
    audio_scored_now_s: float
    wall_s: float
    padding_waste: float

    @property
    def times_real_time(self) -> float:
        """Seconds of audio that this call scored in a second."""
        return self.audio_scored_now_s / self.wall_s


def score(
    source_uri: str,
    *,
    model_uri: str,
    output: str,
    devices: str = "auto",
    num_workers: int | None = None,
    dtype: str = "auto",
    embeddings: bool = False,
    local: bool = False,
    max_rejected: float = 0.05,
    split: str | None = None,
    segments_per_shard: int = SEGMENTS_PER_SHARD,
) -> ScoreSummary:
    """Score a source; resumes a run that was cut short, and does nothing for a complete one.

    Args:
        source_uri: what `plan_shards` takes.
        model_uri: what `resolve_model` takes.
        output: folder of the run, local or any URI.
        devices: "cpu", "cuda" (one worker a GPU), or "auto": cuda where there is one.
        num_workers: Ray actors; None for one a core, or one a GPU.
        dtype: "float32", "bfloat16", or "auto": bfloat16 on GPUs, float32 on CPUs.
        embeddings: whether rows carry the pooled representation.
        local: score in this process, without Ray.
        max_rejected: the part of the segments that may be rejected, 0 to 1.
        split: score only this split of a manifest.
        segments_per_shard: size of shards that are cut from a manifest or a tar file.

    Raises:
        InputError: source, model or an option cannot be used, or `output` holds another run.
        TooManyRejectedError: the run is complete, with more rejections than allowed.
        UnfinishedError: the run was stopped or shards failed; the same call resumes it.
    """
    started = time.monotonic()
    if not 0 <= max_rejected <= 1:
        raise ConfigError(f"--max-rejected {max_rejected} is not between 0 and 1")
    hardware = choose_hardware(devices, num_workers, dtype, local=local)
    source, run_uri = _absolute(source_uri), _absolute(output)
    try:
        plan = plan_shards(source, split=split, segments_per_shard=segments_per_shard)
        model = resolve_model(model_uri)
        if model.uri.startswith("random:"):
            logger.warning("!!! %s HAS RANDOM WEIGHTS: ITS SCORES MEAN NOTHING !!!", model.uri)
        identity = _identify(model, plan, hardware.dtype, embeddings=embeddings)
        job = _Job(plan=plan, model=model, ledger=Ledger(run_uri, identity), hardware=hardware)
        run, totals = _finish(job, {"source": source, "split": split})
    except OSError as error:
        raise UnfinishedError(f"{error}: run the same command again to resume") from error
    summary = ScoreSummary(
        run=output,
        model_uri=model.uri,
        **run["counts"],
        content_sha256=run["content_sha256"],
        num_scored_now=totals.num_segments,
        audio_scored_now_s=totals.audio_s,
        wall_s=time.monotonic() - started,
        padding_waste=totals.workload.padding_waste,
    )
    _refuse_rejections(summary, max_rejected)
    return summary


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """All that scoring takes."""

    plan: ShardPlan
    model: ResolvedModel
    ledger: Ledger
    hardware: Hardware

    def actor_arguments(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "run_uri": self.ledger.run_uri,
            "identity": self.ledger.identity,
            "device": self.hardware.device,
        }


@dataclass(slots=True, kw_only=True)
class _Totals:
    """Adds up what this call did."""

    num_segments: int = 0
    num_rejections: int = 0
    audio_s: float = 0.0
    workload: Workload = field(default_factory=Workload)

    def add(self, report: ShardReport) -> None:
        self.num_segments += report.commit.num_segments
        self.num_rejections += report.commit.num_rejections
        self.audio_s += report.commit.audio_s
        self.workload += report.workload


def _identify(
    model: ResolvedModel, plan: ShardPlan, dtype: str, *, embeddings: bool
) -> RunIdentity:
    return RunIdentity(
        model_uri=model.uri,
        model_version=model.version,
        weights_sha256=model.weights_sha256,
        dtype=dtype,
        embeddings=embeddings,
        num_threads=THREADS_PER_WORKER,
        source_sha256=plan.sha256(),
        num_segments=plan.num_segments,
        num_shards=plan.num_shards,
    )


def _finish(job: _Job, description: Mapping[str, object]) -> tuple[dict[str, Any], _Totals]:
    """Score what is not committed yet, then verify the whole and complete the run."""
    totals = _Totals()
    run = job.ledger.start(description)
    if run["status"] == "complete":
        return run, totals
    missing = sorted(set(range(job.plan.num_shards)) - job.ledger.committed(CLEAN))
    tasks = [ShardTask(number=number, condition=CLEAN) for number in missing]
    num_segments = sum(job.plan.num_segments_of(number) for number in missing)
    if num_segments < job.plan.num_segments:
        num_done = job.plan.num_segments - num_segments
        logger.info("resuming: %d of %d segments are done", num_done, job.plan.num_segments)
    if tasks:
        with _workers(job, tasks) as reports, Progress("score", total=num_segments) as progress:
            started = time.monotonic()
            for report in reports:
                totals.add(report)
                progress.advance(
                    report.commit.num_segments,
                    rejected=totals.num_rejections,
                    audio=f"{totals.audio_s / 3600:.2f} h",
                    speed=f"{totals.audio_s / (time.monotonic() - started):.0f} x real time",
                )
    num_segments_by_shard = [job.plan.num_segments_of(n) for n in range(job.plan.num_shards)]
    return job.ledger.complete(num_segments_by_shard, [CLEAN]), totals


@contextmanager
def _workers(job: _Job, tasks: Sequence[ShardTask]) -> Iterator[Iterator[ShardReport]]:
    """Start what scores, and yield the reports of the shards as they are committed."""
    if job.hardware.num_workers == 0:
        num_threads = torch.get_num_threads()
        try:
            with _sigterm_as_unfinished():
                yield _score_here(job, tasks)
        finally:
            torch.set_num_threads(num_threads)
    else:
        num_workers = min(job.hardware.num_workers, len(tasks))
        with (
            start_actors(job.actor_arguments(), num_workers, job.hardware.device) as actors,
            _sigterm_as_unfinished(),
        ):
            yield Dispatcher(actors, job.plan).run(tasks)


def _score_here(job: _Job, tasks: Sequence[ShardTask]) -> Iterator[ShardReport]:
    actor = ScoringActor(**job.actor_arguments())
    for task in tasks:
        shard = job.plan.shard(task.number)
        yield actor.score_shard(task.number, shard, task.condition, new_attempt())


@contextmanager
def _sigterm_as_unfinished() -> Iterator[None]:
    """End cleanly on SIGTERM, as schedulers send it: actors are let go, the exit code is 4.

    SIGINT needs nothing: Python raises KeyboardInterrupt.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  signal's signature
        raise UnfinishedError("stopped by SIGTERM: run the same command again to resume")

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _refuse_rejections(summary: ScoreSummary, max_rejected: float) -> None:
    rejected = summary.num_rejections / summary.num_segments
    if rejected > max_rejected:
        reasons = ", ".join(
            f"{number} {reason}" for reason, number in summary.num_rejections_by_reason.items()
        )
        raise TooManyRejectedError(
            f"{summary.num_rejections} of {summary.num_segments} segments were rejected "
            f"({rejected:.1%}, allowed are {max_rejected:.1%}): {reasons}; the run is complete: "
            f"see `serval export {summary.run} rejections.csv --rejections`"
        )


def _absolute(uri: str) -> str:
    """Return a path that means the same in workers, whatever folder they run in."""
    return uri if storage.is_absolute(uri) else str(Path(uri).absolute())
