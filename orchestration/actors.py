"""The scoring worker: reads a shard, scores it, commits it.

An ordinary class: `scoring` wraps it by ray.remote, tests and ``--local`` call it as it is. Only
shard descriptors go in and counts come out; audio, weights and predictions never cross Ray.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch

from orchestration.commits import Commit, RunIdentity
from orchestration.ledger import Ledger
from orchestration.shard_plan import Shard, Waveform
from ser_model.models.base import EmotionModel
from ser_model.predict import Predictor, Workload
from ser_model.schema import Rejection, SegmentError


class ModelSource(Protocol):
    """Where a model comes from: a small record that workers fetch the weights by."""

    def load(self) -> EmotionModel:
        """Fetch and build the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport:
    """What became of one attempt at a shard.

    Attributes:
        commit: the record that counts, of this attempt or of one that was faster.
        workload: what this attempt put through the model.
    """

    commit: Commit
    workload: Workload


class ScoringActor:
    """Scores shards of one run with one model on one device."""

    def __init__(
        self, *, model: ModelSource, run_uri: str, identity: RunIdentity, device: str
    ) -> None:
        """Describe the work; the model is loaded by the first call."""
        self._model = model
        self._ledger = Ledger(run_uri, identity)
        self._device = device

    @cached_property
    def _predictor(self) -> Predictor:
        # The number of threads is part of the run's identity, not of the machine: the order of sums
        # depends on it, and results must not depend on who scored which shard.
        identity = self._ledger.identity
        torch.set_num_threads(identity.num_threads)
        return Predictor(
            self._model.load(),
            device=self._device,
            dtype=identity.dtype,
            embeddings=identity.embeddings,
        )

    def load(self) -> None:
        """Load the model now, so that what is wrong with it shows before any shard is handed out.

        Raises:
            ModelError: as the model's source raises it.
        """
        _ = self._predictor

    def score_shard(self, number: int, shard: Shard, condition: str, attempt: str) -> ShardReport:
        """Score one shard under one condition and commit it.

        Args:
            number: the shard's number in the plan.
            shard: where its audio is.
            condition: the condition to score it under.
            attempt: a name that no other attempt has.
        """
        before = self._predictor.workload
        rejections: list[Rejection] = []
        predicted = self._predictor.predict(_read(shard, condition, rejections))
        outcomes = [*predicted, *rejections]
        commit = self._ledger.commit(
            condition=condition,
            shard=number,
            attempt=attempt,
            segment_ids=shard.segment_ids,
            outcomes=outcomes,
        )
        return ShardReport(commit=commit, workload=self._predictor.workload - before)


def _read(
    shard: Shard, condition: str, rejections: list[Rejection]
) -> Iterator[tuple[str, str, Waveform]]:
    """Yield what can be scored; append what cannot to `rejections`."""
    for segment_id, audio in shard.read():
        if isinstance(audio, SegmentError):
            rejections.append(
                Rejection(
                    segment_id=segment_id,
                    condition=condition,
                    stage=audio.stage,
                    reason=audio.reason,
                    detail=audio.detail,
                )
            )
        else:
            yield segment_id, condition, audio
