"""The scoring worker: reads a shard, scores or transcribes it, commits it.

An ordinary class: `cluster` wraps it by ray.remote, tests and ``--local`` call it as it is. Only
shard descriptors go in and counts come out; weights and predictions never cross Ray.

Calls may overlap, and then so do the stages of their shards:

    call's thread      read and decode ──▶ ReadAhead ┐              ┌─▶ write, commit
    scoring thread                                   └─▶ score ─────┘

One thread alone touches the model, shard after shard in the order of the calls, so the device waits
for nothing while the next shard is read and the last one is written.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeAlias, cast

import torch

from orchestration.commits import Commit, RunIdentity
from orchestration.ledger import Ledger
from orchestration.read_ahead import ReadAhead, StoppedError
from orchestration.shard_plan import Exclusion, SegmentAudio, Shard, TextShard
from orchestration.tables import Outcome
from ser_model.batch_runner import Workload
from ser_model.batching import Item
from ser_model.models.base import Scorer
from ser_model.models.transcriber import Transcriber
from ser_model.predict import Predictor
from ser_model.schema import Rejection, SegmentError, Stage
from ser_model.transcribe import TranscriptRunner

Runner: TypeAlias = Predictor | TranscriptRunner
"""What takes segments through a model."""

SHARDS_IN_FLIGHT = 3
"""Shards that a worker has been given: one is read, one scored, one written."""


class ModelSource(Protocol):
    """Where a model comes from: a small record that workers fetch the weights by."""

    def load(self) -> Scorer | Transcriber:
        """Fetch and build the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """Seconds of a worker by what they were spent on; stages overlap, so they add up to more.

    Attributes:
        read_s: reading and decoding audio.
        score_s: the model.
        starved_s: the scoring thread waiting for audio of the shard in its hands.
        write_s: writing predictions and committing them.
    """

    read_s: float = 0.0
    score_s: float = 0.0
    starved_s: float = 0.0
    write_s: float = 0.0

    def __add__(self, other: StageTimes) -> StageTimes:
        return StageTimes(
            read_s=self.read_s + other.read_s,
            score_s=self.score_s + other.score_s,
            starved_s=self.starved_s + other.starved_s,
            write_s=self.write_s + other.write_s,
        )

    def limited_by(self, worker_s: float) -> str:
        """Return what took most of the time.

        Args:
            worker_s: how long all workers together were there.
        """
        shares = {
            "the model": self.score_s,
            "reading audio": self.starved_s,
            "writing and handing out shards": worker_s - self.score_s - self.starved_s,
        }
        return max(shares, key=shares.__getitem__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport:
    """What became of one attempt at a shard.

    Attributes:
        commit: the record that counts, of this attempt or of one that was faster.
        workload: what this attempt put through the model.
        times: what it took.
    """

    commit: Commit
    workload: Workload
    times: StageTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """What the scoring thread made of a shard."""

    outcomes: list[Outcome]
    workload: Workload
    score_s: float


class ScoringActor:
    """Scores shards of one run with one model on one device; or transcribes them."""

    def __init__(
        self, *, model: ModelSource, run_uri: str, identity: RunIdentity, device: str
    ) -> None:
        """Describe the work; the model is loaded by the first call."""
        self._model = model
        self._ledger = Ledger(run_uri, identity)
        self._device = device
        self._scoring = ThreadPoolExecutor(1, thread_name_prefix="score")
        self._stopped = False
        self._reading: set[ReadAhead] = set()

    @cached_property
    def _runner(self) -> Runner:
        # The number of threads is part of the run's identity, not of the machine: the order of sums
        # depends on it, and results must not depend on who scored which shard.
        identity = self._ledger.identity
        torch.set_num_threads(identity.num_threads)
        model = self._model.load()
        if identity.product == "transcripts":
            return TranscriptRunner(
                cast(Transcriber, model),
                name=identity.model_uri,
                device=self._device,
                dtype=identity.dtype,
            )
        return Predictor(
            cast(Scorer, model),
            device=self._device,
            dtype=identity.dtype,
            embeddings=identity.embeddings,
        )

    def load(self) -> None:
        """Load the model now, so that what is wrong with it shows before any shard is handed out.

        Raises:
            ModelError: as the model's source raises it.
        """
        self._scoring.submit(lambda: self._runner).result()

    def score_shard(
        self,
        number: int,
        shard: Shard,
        condition: str,
        attempt: str,
        excluded: Mapping[str, Exclusion] | None = None,
    ) -> ShardReport:
        """Score one shard under one condition and commit it.

        Args:
            number: the shard's number in the plan.
            shard: where its audio is.
            condition: the condition to score it under.
            attempt: a name that no other attempt has.
            excluded: segments that are rejected unseen, by their ids.
        """
        excluded = excluded or {}
        wanted = shard
        if excluded:
            wanted = shard.only([i for i in shard.segment_ids if i not in excluded])
        scored, times = self._score(wanted, condition)
        outcomes = [
            *scored.outcomes,
            *(
                Rejection(
                    segment_id=segment_id,
                    condition=condition,
                    stage=Stage.SCORE,
                    reason=exclusion.reason,
                    detail=exclusion.detail,
                )
                for segment_id, exclusion in excluded.items()
            ),
        ]
        started = time.monotonic()
        commit = self._ledger.commit(
            condition=condition,
            shard=number,
            attempt=attempt,
            segment_ids=shard.segment_ids,
            outcomes=outcomes,
        )
        times += StageTimes(write_s=time.monotonic() - started)
        return ShardReport(commit=commit, workload=scored.workload, times=times)

    def try_segment(self, shard: Shard, segment_id: str, condition: str) -> None:
        """Read and score one segment alone, and forget the outcome: does the worker live?"""
        self._score(shard.only([segment_id]), condition)

    def stop(self) -> None:
        """Let go of the shards in work, within a batch; their calls raise StoppedError."""
        self._stopped = True
        for audio in self._reading.copy():
            audio.stop()

    def _score(self, shard: Shard, condition: str) -> tuple[_Scored, StageTimes]:
        """Read a shard here while the scoring thread scores it."""
        audio = ReadAhead()
        self._reading.add(audio)
        try:
            transcripts = shard.transcripts if isinstance(shard, TextShard) else {}
            scoring = self._scoring.submit(self._predict, audio, condition, transcripts)
            read_s = self._read(shard, audio)
            scored = scoring.result()
        finally:
            self._reading.discard(audio)
        times = StageTimes(read_s=read_s, score_s=scored.score_s, starved_s=audio.starved_s)
        return scored, times

    def _audio(self, shard: Shard) -> Iterator[SegmentAudio]:
        """Read and decode a shard; by others where there are any."""
        return shard.read()

    def _read(self, shard: Shard, audio: ReadAhead) -> float:
        """Put all of a shard into the queue; return the seconds that reading took."""
        read_s, started = 0.0, time.monotonic()
        try:
            for item in self._audio(shard):
                read_s += time.monotonic() - started
                audio.put(item)
                started = time.monotonic()
            audio.close()
        except StoppedError:
            pass  # scoring failed: its own error says why
        except BaseException as error:  # noqa: BLE001  raised again by the scoring thread
            audio.close(error)
        return read_s

    def _predict(
        self, audio: ReadAhead, condition: str, transcripts: Mapping[str, str | None]
    ) -> _Scored:
        """Score a queue of audio until it is closed; runs in the scoring thread."""
        started, before = time.monotonic(), self._runner.workload
        outcomes: list[Outcome] = []
        try:
            for outcome in self._runner.predict(_scorable(audio, condition, transcripts, outcomes)):
                outcomes.append(outcome)
                if self._stopped:
                    raise StoppedError
        finally:
            audio.stop()
        return _Scored(
            outcomes=outcomes,
            workload=self._runner.workload - before,
            score_s=time.monotonic() - started - audio.starved_s,
        )


def _scorable(
    audio: ReadAhead,
    condition: str,
    transcripts: Mapping[str, str | None],
    outcomes: list[Outcome],
) -> Iterator[Item]:
    """Yield what can be scored; append the rejections of what cannot to `outcomes`."""
    for segment_id, waveform in audio:
        if isinstance(waveform, SegmentError):
            outcomes.append(
                Rejection(
                    segment_id=segment_id,
                    condition=condition,
                    stage=waveform.stage,
                    reason=waveform.reason,
                    detail=waveform.detail,
                )
            )
        else:
            yield segment_id, condition, waveform, transcripts.get(segment_id)
