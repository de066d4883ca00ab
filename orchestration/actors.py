"""The scoring worker: reads a shard, scores or transcribes it, commits it.

An ordinary class: `cluster` wraps it by ray.remote, tests and ``--local`` call it as it is. Only
shard descriptors go in and counts come out; weights and predictions never cross Ray.

Calls may overlap, and then so do the stages of their shards:

    call's thread      read, decode, augment ──▶ ReadAhead ┐
    scoring thread                                         └─▶ score ──┐
    a writing thread                                                   └─▶ write, commit

One thread alone touches the model, shard after shard in the order of the calls, so the device waits
for nothing while the next shard is read and the last one is written. Under several conditions a
shard is decoded once, and each condition is committed when it is done.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import groupby
from typing import Protocol, TypeAlias, cast

import torch

from orchestration.augmentation import CLEAN_ALONE, Augmentation
from orchestration.commits import Commit, RunIdentity
from orchestration.committing import Committing
from orchestration.hearing import ConditionAudio, Heard, Hearing
from orchestration.ledger import Ledger
from orchestration.read_ahead import ReadAhead, StoppedError
from orchestration.shard_plan import Exclusion, SegmentAudio, Shard, TextShard
from orchestration.shard_report import ShardReport, StageTimes
from orchestration.tables import Outcome
from ser_model.augment import Condition
from ser_model.batch_runner import Workload
from ser_model.batching import Item
from ser_model.models.base import Scorer
from ser_model.models.transcriber import Transcriber
from ser_model.predict import Predictor
from ser_model.schema import Rejection, SegmentError, Stage
from ser_model.transcribe import TranscriptRunner

Runner: TypeAlias = Predictor | TranscriptRunner
"""What takes segments through a model."""

Done: TypeAlias = Callable[[str, list[Outcome]], None]
"""Takes the outcomes of a condition when the scoring thread has all of them."""

SHARDS_IN_FLIGHT = 3
"""Shards that a worker has been given: one is read, one scored, one written."""


class ModelSource(Protocol):
    """Where a model comes from: a small record that workers fetch the weights by."""

    def load(self) -> Scorer | Transcriber:
        """Fetch and build the model."""


class ScoringActor:
    """Scores shards of one run with one model on one device; or transcribes them."""

    def __init__(
        self,
        *,
        model: ModelSource,
        run_uri: str,
        identity: RunIdentity,
        device: str,
        augmentation: Augmentation = CLEAN_ALONE,
    ) -> None:
        """Describe the work; model and conditions are loaded by the first call."""
        self._model = model
        self._augmentation = augmentation
        self._ledger = Ledger(run_uri, identity)
        self._device = device
        self._scoring = ThreadPoolExecutor(1, thread_name_prefix="score")
        self._writing = ThreadPoolExecutor(SHARDS_IN_FLIGHT, thread_name_prefix="write")
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

    @cached_property
    def _conditions(self) -> Mapping[str, Condition]:
        return self._augmentation.load()

    def load(self) -> None:
        """Load the model now, so that what is wrong with it shows before any shard is handed out.

        Raises:
            ModelError: as the model's source raises it.
            ConfigError: a condition cannot be made here.
        """
        self._scoring.submit(lambda: (self._conditions, self._runner)).result()

    def score_shard(
        self,
        number: int,
        shard: Shard,
        conditions: tuple[str, ...],
        attempt: str,
        excluded: Mapping[str, Exclusion] | None = None,
    ) -> ShardReport:
        """Score one shard under some conditions and commit each of them.

        Args:
            number: the shard's number in the plan.
            shard: where its audio is.
            conditions: names of the conditions to score it under, each once.
            attempt: a name that no other attempt has.
            excluded: segments that are rejected unseen, by their ids.
        """
        excluded = excluded or {}
        wanted = shard
        if excluded:
            wanted = shard.only([i for i in shard.segment_ids if i not in excluded])

        def commit(condition: str, outcomes: list[Outcome]) -> Commit:
            return self._ledger.commit(
                condition=condition,
                shard=number,
                attempt=attempt,
                segment_ids=shard.segment_ids,
                outcomes=[*outcomes, *_unseen(excluded, condition)],
            )

        with Committing(self._writing, commit) as committing:
            workload, times = self._score(wanted, conditions, committing.put)
        times += StageTimes(write_s=committing.write_s, score_s=-committing.waited_s)
        return ShardReport(commits=committing.commits, workload=workload, times=times)

    def try_segment(self, shard: Shard, segment_id: str, conditions: tuple[str, ...]) -> None:
        """Read and score one segment alone, and forget the outcome: does the worker live?"""
        self._score(shard.only([segment_id]), conditions, _forget)

    def stop(self) -> None:
        """Let go of the shards in work, within a batch; their calls raise StoppedError."""
        self._stopped = True
        for audio in self._reading.copy():
            audio.stop()

    def _score(
        self, shard: Shard, conditions: tuple[str, ...], done: Done
    ) -> tuple[Workload, StageTimes]:
        """Read a shard here while the scoring thread scores it."""
        audio = ReadAhead()
        hearing = Hearing(
            [self._conditions[name] for name in conditions], seed=self._augmentation.seed
        )
        self._reading.add(audio)
        try:
            transcripts = shard.transcripts if isinstance(shard, TextShard) else {}
            scoring = self._scoring.submit(self._predict, audio, transcripts, done)
            self._read(shard, hearing, audio)
            workload, score_s = scoring.result()
        finally:
            self._reading.discard(audio)
        times = StageTimes(
            read_s=hearing.read_s,
            augment_s=hearing.augment_s,
            score_s=score_s,
            starved_s=audio.starved_s,
        )
        return workload, times

    def _audio(self, shard: Shard) -> Iterator[SegmentAudio]:
        """Read and decode a shard; by others where there are any."""
        return shard.read()

    def _read(self, shard: Shard, hearing: Hearing, audio: ReadAhead) -> None:
        """Put all of a shard into the queue, under all conditions."""
        try:
            for heard in hearing.hear(self._audio(shard)):
                audio.put(heard)
            audio.close()
        except StoppedError:
            pass  # scoring failed: its own error says why
        except BaseException as error:  # noqa: BLE001  raised again by the scoring thread
            audio.close(error)

    def _predict(
        self, audio: ReadAhead, transcripts: Mapping[str, str | None], done: Done
    ) -> tuple[Workload, float]:
        """Score a queue of audio until it is closed; runs in the scoring thread.

        Returns:
            What went through the model, and the seconds that it took.
        """
        started, before = time.monotonic(), self._runner.workload
        made: defaultdict[str, list[Outcome]] = defaultdict(list)
        try:
            for (condition, window), heard in groupby(audio, key=_condition_and_window):
                if window is None:
                    done(condition, made.pop(condition, []))
                    continue
                outcomes = made[condition]
                for outcome in self._runner.predict(_scorable(heard, transcripts, outcomes)):
                    outcomes.append(outcome)
                    if self._stopped:
                        raise StoppedError
        finally:
            audio.stop()
        score_s = time.monotonic() - started - audio.starved_s
        return self._runner.workload - before, score_s


def _forget(_condition: str, _outcomes: list[Outcome]) -> None:
    """Take the outcomes of a segment that was only tried."""


def _condition_and_window(heard: Heard) -> tuple[str, int | None]:
    """Return what is the same for all that is batched together; no window for an end."""
    return heard.condition, heard.window if isinstance(heard, ConditionAudio) else None


def _scorable(
    heard: Iterable[Heard],
    transcripts: Mapping[str, str | None],
    outcomes: list[Outcome],
) -> Iterator[Item]:
    """Yield what can be scored; append the rejections of what cannot to `outcomes`."""
    for item in heard:
        assert isinstance(item, ConditionAudio)
        if isinstance(item.audio, SegmentError):
            outcomes.append(
                Rejection(
                    segment_id=item.segment_id,
                    condition=item.condition,
                    stage=item.audio.stage,
                    reason=item.audio.reason,
                    detail=item.audio.detail,
                )
            )
        else:
            yield item.segment_id, item.condition, item.audio, transcripts.get(item.segment_id)


def _unseen(excluded: Mapping[str, Exclusion], condition: str) -> Iterator[Rejection]:
    """Yield the rejections of segments that are not scored."""
    for segment_id, exclusion in excluded.items():
        yield Rejection(
            segment_id=segment_id,
            condition=condition,
            stage=Stage.SCORE,
            reason=exclusion.reason,
            detail=exclusion.detail,
        )
