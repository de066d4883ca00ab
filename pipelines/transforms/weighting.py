"""Sums of speakers that count by weights: once as they are, and once for each replicate.

The totals are an array over replicates: element 0 counts every speaker once and is the estimate,
element b > 0 counts them by the Poisson weights of replicate b. So a thousand replicates cost one
pass over the speakers, and none over the segments.

Shape suffixes: B1 the estimate and the replicates, S speakers, K emotions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.audit_config import AuditConfig
from pipelines.transforms.speakers import sums_of
from pipelines.transforms.tables import array, floats, group_rows
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.dimension_sums import DimensionSums
from ser_model.metrics.moments import Floats
from ser_model.metrics.recall import Confusion
from ser_model.metrics.shifts import ShiftSums

SPEAKERS_PER_BLOCK = 1024
"""Speakers whose weights are in memory at a time: 8 MB at 1000 replicates. A constant, because the
order of a sum is part of the bytes."""

State = DimensionSums | Confusion | ShiftSums


def replicate_totals(rows: pa.Table, config: AuditConfig) -> State:
    """Return the totals [B1] of the speakers of one slice and target.

    Args:
        rows: merged SPEAKER_SUMS of one slice and target, sorted by speaker.
        config: seed of the weights, and B.
    """
    speaker_rows, speaker_of_row = group_rows(rows, ["speaker_id"])
    keys = speaker_keys(array(rows, "speaker_id").take(pa.array(speaker_rows)).to_pylist())

    def weigh(block: slice) -> NDArray[np.uint8]:
        weights_BS = poisson_weights(
            keys[block], seed=config.seed, num_replicates=config.num_replicates
        )
        return np.vstack([np.ones_like(weights_BS[:1]), weights_BS])

    return weighted_state(rows, speaker_of_row, weigh, 1 + config.num_replicates)


def weighted_state(
    rows: pa.Table,
    speaker_of_row: NDArray[np.intp],
    weigh: Callable[[slice], NDArray[Any]],
    num_weightings: int,
) -> State:
    """Return the totals [num_weightings] of speakers that count by weights.

    Args:
        rows: merged SPEAKER_SUMS of one target, one slice a speaker.
        speaker_of_row: [rows] number of the speaker; as often as there are pairs of emotions.
        weigh: returns [num_weightings, s] the weights of a block of s speakers.
        num_weightings: how many.
    """
    of_emotions = rows.num_rows > 0 and rows.column("target")[0].as_py() == "emotion"
    state: State | None = None
    num_speakers = int(speaker_of_row.max(initial=-1)) + 1
    for first in range(0, num_speakers, SPEAKERS_PER_BLOCK):
        last = min(first + SPEAKERS_PER_BLOCK, num_speakers)
        weights = weigh(slice(first, last))
        is_inside = (speaker_of_row >= first) & (speaker_of_row < last)
        block = rows.filter(pa.array(is_inside)).combine_chunks()
        speaker = speaker_of_row[is_inside] - first
        if of_emotions:
            of_block: State = _weighted_confusion(block, speaker, weights)
        else:
            of_block = sums_of(block).weighted_totals(weights[:, speaker])
        state = of_block if state is None else merge_states([state, of_block])
    return DimensionSums.zeros((num_weightings,)) if state is None else state


def merge_states(states: Iterable[State]) -> State:
    """Merge the totals of blocks, partitions or slices, in their order."""
    return reduce(_merge, states)


def _merge(left: State, right: State) -> State:
    if isinstance(left, DimensionSums) and isinstance(right, DimensionSums):
        return left.merge(right)
    if isinstance(left, ShiftSums) and isinstance(right, ShiftSums):
        return left.merge(right)
    assert isinstance(left, Confusion)
    assert isinstance(right, Confusion)
    return left.merge(right)


def _weighted_confusion(
    rows: pa.Table,
    speaker: NDArray[np.intp],
    weights_B1S: NDArray[Any],
) -> Confusion:
    """Weigh pairs of emotions: `rows` counts one pair of one speaker each."""
    classes, counts_SKK = confusions(rows, speaker, weights_B1S.shape[1])
    flat = weights_B1S.astype(np.float64) @ counts_SKK.reshape(len(counts_SKK), -1)
    return Confusion(classes=classes, counts=flat.reshape(-1, len(classes), len(classes)))


def confusions(
    rows: pa.Table, group: NDArray[np.intp], num_groups: int
) -> tuple[tuple[str, ...], Floats]:
    """Return the classes and the confusion [num_groups, K, K] of each group of rows."""
    truth = array(rows, "truth").to_pylist()
    prediction = array(rows, "prediction").to_pylist()
    classes = tuple(sorted({*truth, *prediction}))
    position = {name: index for index, name in enumerate(classes)}
    counts = np.zeros((num_groups, len(classes), len(classes)))
    truth_index = np.array([position[name] for name in truth], dtype=np.intp)
    prediction_index = np.array([position[name] for name in prediction], dtype=np.intp)
    counts[group, truth_index, prediction_index] = floats(
        rows, "n"
    )  # a pair of emotions is there once
    return classes, counts
