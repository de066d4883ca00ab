"""Votes on the segments of a shard: a prediction where every member has one, else a rejection.

A segment that a member rejected, or of which it gives no value (null, NaN, infinity), is rejected
in the ensemble: its `detail` names each such member, its stage and reason are the first one's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.transforms.members import MEMBER_ROWS, probabilities
from pipelines.transforms.tables import array, floats, to_table
from ser_model.schema import (
    DIMENSIONS,
    Prediction,
    Reason,
    Rejection,
    RunError,
    Stage,
)
from ser_model.voting import Vote, combine

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Who votes, and how.

    Attributes:
        vote: one of ser_model.voting.VOTES.
        members: their names.
        targets: the emotions, sorted; or the dimensions, in their order.
    """

    vote: Vote
    members: tuple[str, ...]
    targets: tuple[str, ...]

    @property
    def is_of_emotions(self) -> bool:
        """Whether emotions are voted on, and not dimensions."""
        return self.vote != "mean"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberValues:
    """What all members say of some segments, in the order of the segments.

    Attributes:
        segment_ids: [N].
        values: values_MNK, of each target.
        choices: choices_MN, the emotion that each member names; None of dimensions.
        is_known: [M, N] whether a member has a value for every target.
        rows: MEMBER_ROWS, the members' rows of each segment one after another.
    """

    segment_ids: Sequence[str]
    values: NDArray[np.float64]
    choices: NDArray[np.intp] | None
    is_known: Mask
    rows: pa.Table


class CommitShard(Protocol):
    """Makes the outcomes of a shard under a condition count."""

    def __call__(
        self,
        *,
        condition: str,
        shard: int,
        attempt: str,
        segment_ids: Sequence[str],
        outcomes: Sequence[Prediction | Rejection],
    ) -> object:
        """Take a prediction or a rejection for each of the segments."""


def vote_on_shard(
    element: tuple[int, Iterable[pa.RecordBatch]],
    ensemble: Ensemble,
    conditions: Sequence[str],
    commit: CommitShard,
) -> None:
    """Vote on a shard, and commit it under each condition.

    Args:
        element: the number of the shard, and the MEMBER_ROWS of its segments.
        ensemble: who votes, and how.
        conditions: those of the members.
        commit: where the outcomes go.
    """
    shard, batches = element
    table = to_table(batches, MEMBER_ROWS)
    for condition in conditions:
        rows = table.filter(pc.equal(table["condition"], condition))
        values = member_values(rows, ensemble)
        commit(
            condition=condition,
            shard=shard,
            attempt=uuid4().hex[:16],
            segment_ids=values.segment_ids,
            outcomes=list(vote_outcomes(values, ensemble, condition)),
        )


def member_values(rows: pa.Table, ensemble: Ensemble) -> MemberValues:
    """Line up what members say of the same segments under one condition.

    Args:
        rows: MEMBER_ROWS, in any order, one of each member for each segment.
        ensemble: who votes, and how.

    Raises:
        RunError: a member does not have one row of each segment.
    """
    num_members = len(ensemble.members)
    rows = rows.sort_by([("segment_id", "ascending"), ("member", "ascending")]).combine_chunks()
    member = array(rows, "member").to_numpy()
    num_segments = rows.num_rows // num_members
    if not np.array_equal(member, np.tile(np.arange(num_members), num_segments)):
        raise RunError("the members' predictions changed while they were voted on; vote again")
    choices_MN = None
    if ensemble.is_of_emotions:
        values, choices = _emotions(rows, ensemble.targets)
        choices_MN = choices.reshape(num_segments, num_members).T
    else:
        values = np.stack([floats(rows, name) for name in ensemble.targets], axis=1)
    values_MNK = values.reshape(num_segments, num_members, -1).swapaxes(0, 1)
    return MemberValues(
        segment_ids=array(rows, "segment_id").take(_every(rows, num_members)).to_pylist(),
        values=values_MNK,
        choices=choices_MN,
        is_known=np.asarray(np.isfinite(values_MNK).all(axis=-1)),
        rows=rows,
    )


def vote_outcomes(
    values: MemberValues, ensemble: Ensemble, condition: str
) -> Iterator[Prediction | Rejection]:
    """Yield what the ensemble says of each segment, in their order."""
    is_known: Mask = np.asarray(values.is_known.all(axis=0))
    scores_NK = combine(ensemble.vote, values.values, values.choices).tolist()
    duration_s = floats(values.rows, "duration_s").reshape(len(is_known), len(ensemble.members))
    longest_s = np.where(np.isfinite(duration_s), duration_s, 0.0).max(axis=1).tolist()
    is_unknown_row = pa.array(np.repeat(~is_known, len(ensemble.members)))
    unknown = iter(values.rows.filter(is_unknown_row).to_pylist())
    for number, segment_id in enumerate(values.segment_ids):
        if not is_known[number]:
            rows = [next(unknown) for _ in ensemble.members]
            yield _reject(rows, values.is_known[:, number].tolist(), ensemble)
            continue
        scores = dict(zip(ensemble.targets, scores_NK[number], strict=True))
        arousal, dominance, valence = (scores.get(name, math.nan) for name in DIMENSIONS)
        yield Prediction(
            segment_id=segment_id,
            condition=condition,
            duration_s=longest_s[number],
            dimensions=None if ensemble.is_of_emotions else (arousal, dominance, valence),
            emotion_scores=scores if ensemble.is_of_emotions else None,
        )


def _reject(
    rows: Sequence[Mapping[str, Any]], is_known: Sequence[bool], ensemble: Ensemble
) -> Rejection:
    """Say which members reject a segment, and why."""
    what = "the emotion" if ensemble.is_of_emotions else " and ".join(ensemble.targets)
    reasons = []
    for name, row, known in zip(ensemble.members, rows, is_known, strict=True):
        if row["stage"] is not None:
            reasons.append((row["stage"], row["reason"], f"{name}: {row['detail']}"))
        elif not known:
            reasons.append((Stage.SCORE, Reason.SCORE_NOT_FINITE, f"{name}: no value of {what}"))
    stage, reason, _ = reasons[0]
    return Rejection(
        segment_id=rows[0]["segment_id"],
        condition=rows[0]["condition"],
        stage=Stage(stage),
        reason=Reason(reason),
        detail="; ".join(detail for _, _, detail in reasons),
    )


def _emotions(
    rows: pa.Table, categories: tuple[str, ...]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return [rows, K] probabilities, and [rows] the category that each row votes for.

    A row that names an emotion without probabilities is sure of it; one with probabilities alone
    votes for the highest, of equals for the first.
    """
    values = probabilities(rows, categories)
    at = pc.index_in(array(rows, "emotion"), pa.array(categories, pa.string()))
    named = pc.fill_null(at, -1).to_numpy(zero_copy_only=False).astype(np.intp)
    is_alone = np.isnan(values).all(axis=1) & (named >= 0)
    values[is_alone] = np.eye(len(categories))[named[is_alone]]
    return values, np.where(named >= 0, named, values.argmax(axis=1))


def _every(rows: pa.Table, num_members: int) -> pa.Array:
    return pa.array(np.arange(0, rows.num_rows, num_members))
