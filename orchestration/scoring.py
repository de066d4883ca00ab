"""Score every segment of a source with one model, exactly once.

    resolve_model, plan_shards -> run_job.finish (hand out, verify, sum up) -> ScoreSummary

`transcribing` does the same with models that transcribe.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from orchestration.augmentation import resolve_augmentation
from orchestration.hardware import choose_hardware
from orchestration.ledger import Ledger
from orchestration.model_uris import ResolvedModel, resolve_model
from orchestration.run_job import (
    Job,
    check_max_rejected,
    finish,
    resumable,
    segments_of,
    summary_fields,
)
from orchestration.score_summary import ScoreSummary, refuse_rejections
from orchestration.scoring_workers import identify
from orchestration.segmenting import Segmenting
from orchestration.shard_plan import TRANSCRIPT
from orchestration.shards import SEGMENTS_PER_SHARD, check_transcripts, plan_shards
from orchestration.transcripts import with_transcripts
from ser_model import storage
from ser_model.models.onnx_model import ONNX_SCHEME
from ser_model.schema import MAX_SEGMENT_S, ConfigError

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
    transcripts_uri: str | None = None,
    conditions: Sequence[str] = (),
    noise_uri: str | None = None,
    seed: int = 0,
) -> ScoreSummary:
    """Score a source; resumes a run that was cut short, and does nothing for a complete one.

    A run that lacks a condition, complete or not, gets it; what it has is not scored again.

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
        transcripts_uri: run of `serval transcribe`, or table, whose transcripts stand in for the
            source's.
        conditions: names of conditions and of sets to score under beside clean.
        noise_uri: the noise folder of the conditions that need one.
        seed: of all that is random in conditions.

    Raises:
        InputError: source, model or an option cannot be used, or `output` holds another run.
        TooManyRejectedError: the run is complete, with more rejections than allowed.
        UnfinishedError: the run was stopped or shards failed; the same call resumes it.
    """
    started_s = time.monotonic()
    check_max_rejected(max_rejected)
    hardware = choose_hardware(
        devices,
        num_workers,
        dtype,
        local=local,
        num_decoders=num_decoders,
        float32_only=model_uri.startswith(ONNX_SCHEME),
    )
    source, run_uri = storage.absolute(source_uri), storage.absolute(output)
    with resumable():
        augmentation = resolve_augmentation(conditions, noise_uri=noise_uri, seed=seed)
        model = resolve_model(model_uri)
        if model.uri.startswith("random:"):
            logger.warning("!!! %s HAS RANDOM WEIGHTS: ITS SCORES MEAN NOTHING !!!", model.uri)
        _check_text_options(model, segmenting, transcripts_uri)
        segments, segments_split = segments_of(source, run_uri, segmenting, split=split)
        plan = plan_shards(
            segments,
            split=segments_split,
            segments_per_shard=segments_per_shard,
            max_segment_s=max_segment_s,
            transcripts=model.uses_text,
        )
        if transcripts_uri is not None:
            plan = plan.with_transcripts(with_transcripts(plan.rows, transcripts_uri)[TRANSCRIPT])
        if model.needs_transcript:
            check_transcripts(transcripts_uri or source, plan)
        identity = identify(model, plan, hardware, embeddings=embeddings)
        ledger = Ledger(run_uri, identity)
        job = Job(
            verb="score",
            plan=plan,
            model=model,
            ledger=ledger,
            hardware=hardware,
            augmentation=augmentation,
        )
        run, totals = finish(
            job, {"source": source, "split": split, "transcripts": transcripts_uri}
        )
    summary = ScoreSummary(
        **summary_fields(job, run, totals, output=output, started_s=started_s),
        counts_by_condition=run.get("counts_by_condition", {}),
    )
    refuse_rejections(summary, max_rejected)
    return summary


def _check_text_options(
    model: ResolvedModel, segmenting: Segmenting | None, transcripts_uri: str | None
) -> None:
    if transcripts_uri is not None and not model.uses_text:
        raise ConfigError(f"{model.uri} reads no text: leave --transcripts out")
    if model.uses_text and segmenting is not None and transcripts_uri is None:
        raise ConfigError(
            f"{model.uri} reads text, and a transcript is of a whole segment: leave --window and "
            "--vad out, or give --transcripts of a run of `serval transcribe` with the same"
        )
