"""From the sums of speakers to totals of slices: once as they are, and once for each replicate.

The totals of a slice are an array over replicates: element 0 counts every speaker once and is the
estimate, element b > 0 counts them by the Poisson weights of replicate b. A partition of speakers
yields its totals; those of all partitions merge to the slice. So a thousand replicates cost one
pass over the speakers, and none over the segments.

Shape suffixes: B1 the estimate and the replicates, S speakers, K emotions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput
from numpy.typing import NDArray

from pipelines.audit_config import AuditConfig
from pipelines.transforms.speakers import merge_speakers, sums_of
from pipelines.transforms.tables import (
    CONFUSION_ROWS,
    array,
    floats,
    group_rows,
    is_missing_slice,
    to_batch,
    to_table,
)
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.dimension_sums import DimensionSums
from ser_model.metrics.moments import Floats
from ser_model.metrics.recall import Confusion

SPEAKERS_PER_BLOCK = 1024
"""Speakers whose weights are in memory at a time: 8 MB at 1000 replicates. A constant, because the
order of a sum is part of the bytes."""

WHOLE_SPEAKERS = "whole_speakers"
"""Name of the side output that carries merged SPEAKER_SUMS over all segments, by condition and
target."""

CONFUSIONS = "confusion"
"""Name of the side output that carries CONFUSION_ROWS."""

LABELLED = "labelled"
"""Name of the side output that carries merged SPEAKER_SUMS by model version and condition."""

State = DimensionSums | Confusion

SliceKey = tuple[str, str, str, str]
"""Model version, condition, slice_by, target: what is compared with each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceTotals:
    """The totals of one slice and target over the speakers of one partition.

    Attributes:
        partition: of the speakers.
        slice: as in schema.STATISTICS.
        num_speakers: speakers of the slice in this partition.
        num_compared_speakers: speakers of this partition in any slice that is compared with this
            one; a speaker may be in several.
        state: sums [B1] of a dimension, or confusion [B1, K, K] of emotions.
    """

    partition: int
    slice: str
    num_speakers: int
    num_compared_speakers: int
    state: State


def bootstrap_speakers(
    element: tuple[int, Iterable[pa.RecordBatch]], config: AuditConfig
) -> Iterator[tuple[SliceKey, SliceTotals] | TaggedOutput[Any, Any]]:
    """Total up one partition of speakers.

    Args:
        element: the number of the partition, and the cells of its speakers.
        config: seed and number of replicates, and where margins come from.

    Yields:
        The totals of each slice by what it is compared within; for WHOLE_SPEAKERS the sums of
        each speaker; for CONFUSIONS the confusion of all of them; for LABELLED, where margins are
        by permutation, the speakers' sums in all slices by model and condition.
    """
    partition, batches = element
    sums = merge_speakers(to_table(batches))
    overall = sums.filter(pc.equal(sums["slice_by"], "")).combine_chunks()
    yield from _by_key(overall, ("condition", "target"), WHOLE_SPEAKERS)
    yield TaggedOutput(CONFUSIONS, confusion_rows(sums))
    if config.margins_from == "permutation":
        yield from _by_key(sums, ("model_version", "condition"), LABELLED)
    names = ("model_version", "condition", "slice_by", "target")
    first_rows, groups = group_rows(sums, names)
    for group in range(len(first_rows)):
        compared = sums.take(pa.array(np.flatnonzero(groups == group))).combine_chunks()
        model_version, condition, slice_by, target = (compared[n][0].as_py() for n in names)
        for totals in _slice_totals(compared, partition, config):
            yield (model_version, condition, slice_by, target), totals


def _by_key(sums: pa.Table, names: Sequence[str], side: str) -> Iterator[TaggedOutput[Any, Any]]:
    first_rows, groups = group_rows(sums, names)
    for group, first_row in enumerate(first_rows.tolist()):
        key = tuple(sums[name][first_row].as_py() for name in names)
        rows = sums.take(pa.array(np.flatnonzero(groups == group)))
        yield TaggedOutput(side, (key, to_batch(rows)))


def _slice_totals(compared: pa.Table, partition: int, config: AuditConfig) -> Iterator[SliceTotals]:
    slices = array(compared, "slice").to_pylist()
    speakers = np.array(array(compared, "speaker_id").to_pylist(), dtype=object)
    is_compared = np.array([not is_missing_slice(name) for name in slices])
    num_compared = len(set(speakers[is_compared]))
    first_rows, groups = group_rows(compared, ["slice"])
    for group, first_row in enumerate(first_rows):
        rows = compared.take(pa.array(np.flatnonzero(groups == group))).combine_chunks()
        state = replicate_totals(rows, config)
        if isinstance(state, DimensionSums):
            state = DimensionSums(moments=state.moments, bins=state.bins.packed())
        yield SliceTotals(
            partition=partition,
            slice=slices[first_row],
            num_speakers=len(set(speakers[groups == group])),
            num_compared_speakers=num_compared,
            state=state,
        )


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


def confusion_rows(sums: pa.Table) -> pa.RecordBatch:
    """Return CONFUSION_ROWS over all segments of merged SPEAKER_SUMS."""
    names = ["model_version", "condition", "truth", "prediction"]
    is_wanted = pc.and_(pc.equal(sums["slice_by"], ""), pc.equal(sums["target"], "emotion"))
    counted = sums.filter(is_wanted).group_by(names, use_threads=False).aggregate([("n", "sum")])
    renamed = counted.rename_columns([*names, "num_segments"])
    return to_batch(renamed.select(CONFUSION_ROWS.names).cast(CONFUSION_ROWS))
