"""Transcribe every segment of a source that has no transcript yet, exactly once.

    resolve_transcriber, plan_shards -> run_job.finish (hand out, verify, sum up) -> summary

The machinery is that of scoring: the same shards, workers, commits and rejections.
"""

from __future__ import annotations

import time

from orchestration.hardware import choose_hardware
from orchestration.ledger import Ledger
from orchestration.run_job import (
    Job,
    check_max_rejected,
    finish,
    resumable,
    segments_of,
    summary_fields,
)
from orchestration.score_summary import TranscribeSummary, refuse_rejections
from orchestration.scoring_workers import identify
from orchestration.segmenting import Segmenting
from orchestration.shard_plan import TRANSCRIPT
from orchestration.shards import SEGMENTS_PER_SHARD, plan_shards
from orchestration.transcriber_uris import resolve_transcriber
from orchestration.word_error_rates import word_errors_of_run
from ser_model import storage
from ser_model.schema import MAX_SEGMENT_S


def transcribe(
    source_uri: str,
    *,
    model_uri: str,
    output: str,
    replace: bool = False,
    devices: str = "auto",
    num_workers: int | str | None = None,
    num_decoders: int = 0,
    dtype: str = "auto",
    local: bool = False,
    max_rejected: float = 0.05,
    split: str | None = None,
    segments_per_shard: int = SEGMENTS_PER_SHARD,
    max_segment_s: float = MAX_SEGMENT_S,
    segmenting: Segmenting | None = None,
) -> TranscribeSummary:
    """Transcribe a source; resumes a run that was cut short, and does nothing for a complete one.

    Transcripts that the source has are taken over as they are. With `replace` the model transcribes
    all segments, and the source's transcripts are the references of a word error rate.

    Args:
        source_uri: what `plan_shards` takes.
        model_uri: what `resolve_transcriber` takes.
        output: folder of the run, local or any URI.
        replace: transcribe also what has a transcript.
        devices: as in `scoring.score`; so are all others.
        num_workers: likewise.
        num_decoders: likewise.
        dtype: likewise.
        local: likewise.
        max_rejected: likewise.
        split: likewise.
        segments_per_shard: likewise.
        max_segment_s: likewise.
        segmenting: likewise.

    Raises:
        InputError: source, model or an option cannot be used, or `output` holds another run.
        TooManyRejectedError: the run is complete, with more rejections than allowed.
        UnfinishedError: the run was stopped or shards failed; the same call resumes it.
    """
    started_s = time.monotonic()
    check_max_rejected(max_rejected)
    hardware = choose_hardware(devices, num_workers, dtype, local=local, num_decoders=num_decoders)
    source, run_uri = storage.absolute(source_uri), storage.absolute(output)
    with resumable():
        model = resolve_transcriber(model_uri)
        segments, segments_split = segments_of(source, run_uri, segmenting, split=split)
        plan = plan_shards(
            segments,
            split=segments_split,
            segments_per_shard=segments_per_shard,
            max_segment_s=max_segment_s,
            transcripts=not replace,
        )
        identity = identify(model, plan, hardware, product="transcripts")
        ledger = Ledger(run_uri, identity)
        job = Job(verb="transcribe", plan=plan, model=model, ledger=ledger, hardware=hardware)
        run, totals = finish(job, {"source": source, "split": split, "replace": replace})
        references = _references(segments, segments_split) if replace else {}
        errors = word_errors_of_run(run_uri, references) if references else None
    summary = TranscribeSummary(
        **summary_fields(job, run, totals, output=output, started_s=started_s),
        word_errors=errors,
    )
    refuse_rejections(summary, max_rejected)
    return summary


def _references(source: str, split: str | None) -> dict[str, str]:
    """Return the transcripts that a source has, by segment_id."""
    rows = plan_shards(source, split=split, transcripts=True).rows
    rows = rows.filter(rows[TRANSCRIPT].is_valid())
    return dict(zip(rows["segment_id"].to_pylist(), rows[TRANSCRIPT].to_pylist(), strict=True))
