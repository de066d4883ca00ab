"""Margins by permutation: how large gaps are where groups of speakers are shuffled.

If a model treats groups alike, it does not matter which speaker belongs to which group. So the
groups are dealt out to the speakers anew, many times; each time all gaps of the family are computed
from the same sums of speakers, without another look at segments. A gap is measured in standard
deviations of its own shuffled ones, and the largest of the family in each shuffle says what chance
can do anywhere in it (max-T; Westfall & Young, "Resampling-Based Multiple Testing", 1993): the
margin is what at most 5 % of the shuffles exceed.

A speaker keeps all his columns together: who gets another's accent gets his sex too. Columns in
which a speaker is in several groups cannot be dealt out so, and keep their given margins. Segments
without a speaker take no part.

All speakers of a model come together on one worker here, with 8 bytes for each shuffle and speaker.

Shape suffixes: P1 the groups as they are and then the shuffles, S speakers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.audit_config import SIGNIFICANCE, AuditConfig, is_judged
from pipelines.transforms.comparing import pairs_to_compare, same_metrics, why_suppressed
from pipelines.transforms.slices import Slice
from pipelines.transforms.speakers import SPEAKER_SUMS
from pipelines.transforms.tables import (
    MISSING,
    PERMUTATION_ROWS,
    array,
    group_rows,
    is_missing_slice,
    to_table,
)
from pipelines.transforms.weighting import weighted_state
from ser_model.metrics.bootstrap import random_bits, speaker_keys
from ser_model.metrics.intervals import NO_SPREAD
from ser_model.metrics.moments import Floats

NO_GROUP = -1
"""Label of a speaker without a value in the column."""

Labels = NDArray[np.int32]


def permute_speakers(
    element: tuple[tuple[str, str], Iterable[bytes]], config: AuditConfig
) -> tuple[tuple[str, str], pa.RecordBatch]:
    """Return PERMUTATION_ROWS of the judged gaps of a model under a condition.

    Args:
        element: model version and condition; merged SPEAKER_SUMS of all speakers.
        config: seed, number of shuffles, what is judged, below what slices are suppressed.
    """
    key, batches = element
    order = [(name, "ascending") for name in ("speaker_id", "slice_by", "slice", "target")]
    sums = to_table(batches, SPEAKER_SUMS)
    sums = sums.filter(pc.not_equal(sums["speaker_id"], MISSING)).sort_by(order).combine_chunks()
    speakers = pc.unique(array(sums, "speaker_id"))
    shuffles = shuffle_speakers(speakers.to_pylist(), config)
    gaps = [
        gap
        for slice_by in sorted(pc.unique(array(sums, "slice_by")).to_pylist())
        if slice_by and config.is_compared(slice_by)
        for gap in _gaps_of_column(sums, slice_by, speakers, shuffles, config)
    ]
    return key, pa.RecordBatch.from_pylist(hold_against_shuffles(gaps), schema=PERMUTATION_ROWS)


def shuffle_speakers(speaker_ids: list[str], config: AuditConfig) -> NDArray[np.int32]:
    """Return [P1, S] from whom each speaker takes his groups; row 0: from himself."""
    shuffles = np.empty((1 + config.num_replicates, len(speaker_ids)), dtype=np.int32)
    shuffles[0] = np.arange(len(speaker_ids))
    keys = speaker_keys(speaker_ids)
    for number in range(config.num_replicates):
        purpose = f"permutation {number} of seed {config.seed}"
        bits = random_bits(keys, purpose=purpose, num_replicates=1)
        shuffles[number + 1] = np.argsort(bits[0], kind="stable")
    return shuffles


def hold_against_shuffles(gaps: list[tuple[dict[str, str], Floats]]) -> list[dict[str, Any]]:
    """Return a row of PERMUTATION_ROWS for each gap of a family.

    Args:
        gaps: what the gap is of, and [P1] the gap and its shuffled ones; NaN where a shuffle has
            no value.
    """
    scaled = []
    for _, gap_P1 in gaps:
        spread = float(np.nanstd(gap_P1[1:]))
        has_spread = spread > NO_SPREAD * max(abs(float(gap_P1[0])), 1.0)
        scaled.append((spread, np.abs(gap_P1) / spread if has_spread else np.zeros_like(gap_P1)))
    if not scaled:
        return []
    largest = np.max([np.nan_to_num(t_P1[1:]) for _, t_P1 in scaled], axis=0)
    critical = np.sort(largest)[min(_rank(largest.size), largest.size) - 1]
    return [
        {
            **what,
            "margin": float(critical * spread),
            "p_adjusted": float((1 + (largest >= t_P1[0]).sum()) / (1 + largest.size)),
        }
        for (what, _), (spread, t_P1) in zip(gaps, scaled, strict=True)
    ]


def _rank(num_shuffles: int) -> int:
    """Which of the sorted largest gaps a gap must exceed so that its p is below SIGNIFICANCE."""
    return num_shuffles + 1 - math.ceil(SIGNIFICANCE * (num_shuffles + 1)) + 1


def _gaps_of_column(
    sums: pa.Table,
    slice_by: str,
    speakers: pa.Array,
    shuffles: NDArray[np.int32],
    config: AuditConfig,
) -> Iterator[tuple[dict[str, str], Floats]]:
    rows = sums.filter(pc.equal(sums["slice_by"], slice_by)).combine_chunks()
    names = sorted(
        n for n in pc.unique(array(rows, "slice")).to_pylist() if not is_missing_slice(n)
    )
    labels = _labels(rows, names, speakers)
    if labels is None:
        return
    labels_P1S = labels[shuffles]
    for target in sorted(pc.unique(array(rows, "target")).to_pylist()):
        of_target = rows.filter(pc.equal(rows["target"], target)).combine_chunks()
        slices = _slices(of_target, names, speakers, labels_P1S)
        for first, second in pairs_to_compare(slices):
            if why_suppressed(first, config.minimums) or why_suppressed(second, config.minimums):
                continue
            for metric, others in same_metrics(first.state, second.state):
                gap = metric.values - others
                name = f"{metric.name}_gap"
                if is_judged(name, config.margins) and np.isfinite(gap[0]):
                    comparison = f"{first.name}-{second.name}"
                    what = {"slice_by": slice_by, "slice": comparison}
                    yield {**what, "target": target, "metric": name}, gap


def _labels(rows: pa.Table, names: list[str], speakers: pa.Array) -> Labels | None:
    """Return [S] the number of each speaker's group; None where a speaker is in several."""
    first_rows, _ = group_rows(rows, ["speaker_id", "slice"])
    each = rows.select(["speaker_id", "slice"]).take(pa.array(first_rows))
    if len(pc.unique(array(each, "speaker_id"))) < len(first_rows):
        return None
    labels = np.full(len(speakers), NO_GROUP, dtype=np.int32)
    at = pc.index_in(array(each, "speaker_id"), speakers).to_numpy()
    group = pc.fill_null(pc.index_in(array(each, "slice"), pa.array(names)), NO_GROUP).to_numpy()
    labels[at] = group
    return labels


def _slices(
    rows: pa.Table, names: list[str], speakers: pa.Array, labels_P1S: Labels
) -> list[Slice]:
    speaker_of_row = pc.index_in(array(rows, "speaker_id"), speakers).to_numpy().astype(np.intp)
    slices = []
    for number, name in enumerate(names):
        is_in_P1S = labels_P1S == number

        def weigh(block: slice, is_in_P1S: NDArray[np.bool_] = is_in_P1S) -> NDArray[np.bool_]:
            return is_in_P1S[:, block]

        state = weighted_state(rows, speaker_of_row, weigh, len(labels_P1S))
        if state.num_segments[0]:
            present = np.unique(speaker_of_row)
            num_speakers = int(is_in_P1S[0, present].sum())
            slices.append(Slice(name=name, num_speakers=num_speakers, state=state))
    return slices
