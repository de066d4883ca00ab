"""Score every segment of a source with one model, exactly once: plan, hand out, verify, sum up.

    plan_shards -> Ledger.start -> ScoringActor (on Ray, or one in here) -> Ledger.complete

The shard is the unit of work, retry, commit and resume. Whatever dies, the same command again goes
on where the commits end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestration.actors import ShardReport, StageTimes
from orchestration.durations import planned_audio_s
from orchestration.hardware import Hardware, choose_hardware
from orchestration.ledger import Ledger
from orchestration.model_uris import ResolvedModel, resolve_model
from orchestration.progress import Progress
from orchestration.score_summary import ScoreSummary, refuse_rejections
from orchestration.scoring_workers import identify, start_workers
from orchestration.segmenting import Segmenting, segmented_source
from orchestration.shard_plan import ShardPlan, ShardTask
from orchestration.shards import SEGMENTS_PER_SHARD, plan_shards
from orchestration.stopping import sigterm_as_unfinished
from ser_model import storage
from ser_model.batch_runner import Workload
from ser_model.models.onnx_model import ONNX_SCHEME
from ser_model.schema import CLEAN, MAX_SEGMENT_S, ConfigError, UnfinishedError

logger = logging.getLogger(__name__)


def score(
    source_uri: str,
    *,
    model_uri: str,
    output: str,
    devices: str = "auto",
    num_workers: int | str | None = None,
    num_decoders: int = 0,
    dtype: str = "auto",
    embeddings: bool = False,
    local: bool = False,
    max_rejected: float = 0.05,
    split: str | None = None,
    segments_per_shard: int = SEGMENTS_PER_SHARD,
    max_segment_s: float = MAX_SEGMENT_S,
    segmenting: Segmenting | None = None,
) -> ScoreSummary:
    """Score a source; resumes a run that was cut short, and does nothing for a complete one.

    Args:
        source_uri: what `plan_shards` takes.
        model_uri: what `resolve_model` takes.
        output: folder of the run, local or any URI.
        devices: "cpu", "cuda" (one worker a GPU), or "auto": cuda where there is one.
        num_workers: Ray actors, or "MINIMUM:MAXIMUM" for a cluster that grows (see `WorkerRange`);
            None for one a core, or one a GPU.
        num_decoders: parts of a shard that CPUs of the cluster read and decode for a worker at a
            time; 0 to read where it is scored.
        dtype: "float32", "bfloat16", or "auto": bfloat16 on GPUs, float32 on CPUs.
        embeddings: whether rows carry the pooled representation.
        local: score in this process, without Ray.
        max_rejected: the part of the segments that may be rejected, 0 to 1.
        split: score only this split of a manifest.
        segments_per_shard: size of shards that are cut from a manifest or a tar file.
        max_segment_s: longer segments are rejected unread.
        segmenting: how to cut the recordings of a manifest first; None for its own segments.

    Raises:
        InputError: source, model or an option cannot be used, or `output` holds another run.
        TooManyRejectedError: the run is complete, with more rejections than allowed.
        UnfinishedError: the run was stopped or shards failed; the same call resumes it.
    """
    started = time.monotonic()
    if not 0 <= max_rejected <= 1:
        raise ConfigError(f"--max-rejected {max_rejected} is not between 0 and 1")
    hardware = choose_hardware(
        devices,
        num_workers,
        dtype,
        local=local,
        num_decoders=num_decoders,
        float32_only=model_uri.startswith(ONNX_SCHEME),
    )
    source, run_uri = storage.absolute(source_uri), storage.absolute(output)
    try:
        with sigterm_as_unfinished():
            model = resolve_model(model_uri)
            if model.uri.startswith("random:"):
                logger.warning("!!! %s HAS RANDOM WEIGHTS: ITS SCORES MEAN NOTHING !!!", model.uri)
            if segmenting is None:
                segments, segments_split = source, split
            else:
                segments = segmented_source(source, run_uri, segmenting, split=split)
                segments_split = None  # applied already
            plan = plan_shards(
                segments,
                split=segments_split,
                segments_per_shard=segments_per_shard,
                max_segment_s=max_segment_s,
            )
            identity = identify(model, plan, hardware, embeddings=embeddings)
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
        times=totals.times,
        scoring_s=totals.scoring_s,
        num_workers=totals.num_workers,
    )
    refuse_rejections(summary, max_rejected)
    return summary


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """All that scoring takes."""

    plan: ShardPlan
    model: ResolvedModel
    ledger: Ledger
    hardware: Hardware


@dataclass(slots=True, kw_only=True)
class _Totals:
    """Adds up what this call did."""

    num_segments: int = 0
    num_rejections: int = 0
    audio_s: float = 0.0
    workload: Workload = field(default_factory=Workload)
    times: StageTimes = field(default_factory=StageTimes)
    scoring_s: float = 0.0
    num_workers: int = 0

    def add(self, report: ShardReport) -> None:
        self.num_segments += report.commit.num_segments
        self.num_rejections += report.commit.num_rejections
        self.audio_s += report.commit.audio_s
        self.workload += report.workload
        self.times += report.times

    def speed(self) -> dict[str, float]:
        """Return what run.json keeps of how long the model took, of all workers together."""
        return {"audio_s": self.audio_s, "model_s": self.times.score_s}


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
        work_s = planned_audio_s(job.plan)
        total_work_s = None if work_s is None else float(work_s[missing].sum())
        with (
            start_workers(
                job.model,
                job.ledger.run_uri,
                job.ledger.identity,
                job.hardware,
                num_shards=len(tasks),
            ) as workers,
            Progress("score", total=num_segments, total_work=total_work_s) as progress,
        ):
            started = time.monotonic()
            for report in workers.score(job.plan, tasks):
                job.ledger.note(report.commit)
                totals.add(report)
                progress.advance(
                    report.commit.num_segments,
                    work=0.0 if work_s is None else float(work_s[report.commit.shard]),
                    rejected=totals.num_rejections,
                    audio=f"{totals.audio_s / 3600:.2f} h",
                    speed=f"{totals.audio_s / (time.monotonic() - started):.0f} x real time",
                )
            totals.scoring_s = time.monotonic() - started
            totals.num_workers = workers.num_workers
    num_segments_by_shard = [job.plan.num_segments_of(n) for n in range(job.plan.num_shards)]
    note = {"speed": totals.speed()} if tasks else {}
    return job.ledger.complete(num_segments_by_shard, [CLEAN], note=note), totals
