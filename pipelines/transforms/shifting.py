"""How far each condition moves a model's predictions: shares of the unchanged, and mean shifts.

The same segment under a condition and on clean audio (for the tests that ask for it: under another
condition) makes a pair of predictions. A partition of the join holds all conditions of its
segments, so it sums up the pairs of each speaker itself; the truth takes no part. All sums of a
model and condition come together on one worker: a row for each speaker, slice and target.

Shape suffixes: B1 the estimate and the replicates, S speakers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.audit_config import AuditConfig
from pipelines.suites.robustness import REFERENCES
from pipelines.transforms.comparing import NO_SPREAD, gaps_between, slice_rows
from pipelines.transforms.joining import is_present
from pipelines.transforms.reading import TARGETS
from pipelines.transforms.sharing import Pair, Side, pairs_of, rows_among, split_sides
from pipelines.transforms.slices import ComparedSlices, Slice
from pipelines.transforms.tables import (
    SLICE_PREFIX,
    array,
    decode,
    floats,
    group_rows,
    is_missing_slice,
    pack,
    to_batch,
    to_table,
)
from pipelines.transforms.weighting import SPEAKERS_PER_BLOCK
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.intervals import Estimate
from ser_model.metrics.shifts import ShiftSums, is_unchanged
from ser_model.schema import DIMENSIONS, STATISTICS

ShiftKey = tuple[str, str, str]
"""Model version, condition, and the condition that it is compared with."""

OF_EMOTIONS = ("unchanged_share", "unchanged_share_gap")
"""What there is to say of an emotion, which moves to another or not."""

_SUMS = tuple(ShiftSums.__dataclass_fields__)

Row = dict[str, Any]


def shift_pairs(sides: Iterable[Side]) -> list[Pair]:
    """Return what is compared: each condition with clean, and some with a condition of reference.

    Example:
        >>> sides = [("a", "clean"), ("a", "position-1m"), ("a", "position-3m")]
        >>> [pair.name for pair in shift_pairs(sides)][-1]
        'condition=position-3m-condition=position-1m'
    """
    present = sorted(set(sides))
    pairs = [pair for pair in pairs_of(present) if pair.kind == "change"]
    for model, condition in present:
        reference = (model, REFERENCES.get(condition, ""))
        if reference in present:
            pairs.append(Pair(kind="change", first=(model, condition), second=reference))
    return pairs


def sum_up_shifts(
    element: tuple[int, pa.Table], sides: Sequence[Side]
) -> Iterator[tuple[ShiftKey, bytes]]:
    """Sum up the pairs of predictions of a partition of the join; nothing where none is compared.

    Args:
        element: the number of the partition, and its joined segments.
        sides: models and conditions of all partitions.

    Yields:
        The sums of each speaker, slice and target, packed.
    """
    partition, joined = element
    pairs = shift_pairs(sides)
    if not pairs:
        return
    present = split_sides(joined)
    for pair in pairs:
        if pair.first not in present or pair.second not in present:
            continue
        cells = pa.concat_tables(list(_cells(present[pair.first], present[pair.second])))
        if cells.num_rows:
            number = pa.repeat(pa.scalar(partition, pa.int32()), len(cells))
            packed = pack(to_batch(decode(cells.append_column("partition", number))))
            yield (*pair.first, pair.second[1]), packed


def compare_shifts(
    element: tuple[ShiftKey, Iterable[bytes]], config: AuditConfig
) -> tuple[tuple[str, str], pa.RecordBatch]:
    """Return the rows of schema.STATISTICS of a model and condition, by family of tests.

    Args:
        element: what is compared, and what `sum_up_shifts` yields for it.
        config: seed, number of replicates, which slices are compared, minimums.
    """
    (model_version, condition, reference), packed = element
    pair = Pair(kind="change", first=(model_version, condition), second=(model_version, reference))
    cells = to_table(packed)
    names = ["speaker_id", "target", *_slice_columns(cells)]
    cells = cells.sort_by([(name, "ascending") for name in (*names, "partition")]).combine_chunks()
    rows = []
    for column in _slice_columns(cells):
        slice_by = column.removeprefix(SLICE_PREFIX)
        for target, compared in _compared_slices(cells, column, config).items():
            for row in _rows(slice_by, target, compared, config):
                head = {
                    "model_version": model_version,
                    "condition": condition,
                    "slice_by": ",".join(filter(None, (pair.column, slice_by))),
                    "target": target,
                }
                name = ",".join(filter(None, (pair.name, row["slice"])))
                rows.append({**row, **head, "slice": name})
    return pair.family, pa.RecordBatch.from_pylist(rows, schema=STATISTICS)


def _cells(first: pa.Table, second: pa.Table) -> Iterator[pa.Table]:
    """Sum up the pairs of one model and two conditions by speaker and slices."""
    at = rows_among(array(first, "segment_id"), array(second, "segment_id"))
    names = ["speaker_id", *_slice_columns(first)]
    first_rows, cell_of_row = group_rows(first, names)
    heads = first.select(names).take(pa.array(first_rows)).combine_chunks()
    for target in TARGETS:
        column = f"prediction_{target}"
        has_both = is_present(first, column) & (at >= 0) & is_present(second, column)[at]
        rows = np.flatnonzero(has_both)
        if target in DIMENSIONS:
            shifts = floats(first, column)[rows] - floats(second, column)[at[rows]]
            unchanged = is_unchanged(shifts)
        else:
            sides = ((first, rows), (second, at[rows]))
            said = [array(side, column).take(pa.array(taken)) for side, taken in sides]
            shifts = np.zeros(rows.size)
            unchanged = pc.equal(*said).to_numpy(zero_copy_only=False).astype(np.bool_)
        sums = ShiftSums.from_groups(shifts, unchanged, cell_of_row[rows], len(first_rows))
        present = np.flatnonzero(sums.num_segments)
        cells = heads.take(pa.array(present)).append_column(
            "target", pa.repeat(target, present.size)
        )
        for name, values in sums.as_columns().items():
            cells = cells.append_column(name, pa.array(values[present]))
        yield cells


def _compared_slices(
    cells: pa.Table, column: str, config: AuditConfig
) -> dict[str, ComparedSlices]:
    """Return all slices by the same columns, by target in the order of TARGETS."""
    slices: dict[str, list[Slice]] = {target: [] for target in TARGETS}
    speakers: dict[str, set[str]] = {target: set() for target in TARGETS}
    for name in sorted(pc.unique(array(cells, column)).to_pylist()):
        rows = cells.filter(pc.equal(cells[column], name)).combine_chunks()
        for target, one in _totals(name, rows, config):
            slices[target].append(one)
            if not is_missing_slice(name):
                of_target = rows.filter(pc.equal(rows["target"], target))
                speakers[target].update(of_target.column("speaker_id").to_pylist())
    return {
        target: ComparedSlices(slices=tuple(found), num_speakers=len(speakers[target]))
        for target, found in slices.items()
        if found
    }


def _totals(name: str, rows: pa.Table, config: AuditConfig) -> Iterator[tuple[str, Slice]]:
    """Yield the totals [B1] of one slice by target, whose speakers are drawn once for all."""
    speaker_rows, speaker_of_row = group_rows(rows, ["speaker_id"])
    keys = speaker_keys(array(rows, "speaker_id").take(pa.array(speaker_rows)).to_pylist())
    of_speakers: dict[str, ShiftSums] = {}
    for target in pc.unique(array(rows, "target")).to_pylist():
        is_target = pc.equal(array(rows, "target"), target).to_numpy(zero_copy_only=False)
        sums = ShiftSums(**{field: floats(rows, field)[is_target] for field in _SUMS})
        of_speakers[target] = sums.merge_groups(speaker_of_row[is_target], len(keys))
    totals: dict[str, ShiftSums] = {}
    for first in range(0, len(keys), SPEAKERS_PER_BLOCK):
        block = slice(first, first + SPEAKERS_PER_BLOCK)
        drawn = poisson_weights(keys[block], seed=config.seed, num_replicates=config.num_replicates)
        weights_B1S = np.vstack([np.ones_like(drawn[:1]), drawn]).astype(np.float64)
        for target, sums in of_speakers.items():
            of_block = sums[block].weighted_totals(weights_B1S)
            totals[target] = totals[target].merge(of_block) if first else of_block
    for target, state in totals.items():
        num_speakers = int(np.count_nonzero(of_speakers[target].num_segments))
        yield target, Slice(name=name, num_speakers=num_speakers, state=state)


def _rows(
    slice_by: str, target: str, compared: ComparedSlices, config: AuditConfig
) -> Iterator[Row]:
    """Yield every slice and gap, and what a test against 0 says of mean shifts and gaps."""
    found = [row for one in compared.slices for row in slice_rows(one, config.minimums)]
    if config.is_compared(slice_by):
        found += gaps_between(compared, config.minimums)
    for row in found:
        if target in DIMENSIONS or row["metric"] in OF_EMOTIONS:
            is_tested = row["metric"] == "mean_shift" or row["metric"].endswith("_gap")
            yield {**row, **_test(row)} if is_tested else row


def _test(row: Row) -> Row:
    if row.get("ci_low") is None:
        return {}
    if row["ci_low"] == row["ci_high"]:
        return {"standard_error": None, "degrees_of_freedom": None, "reason": NO_SPREAD}
    estimate = Estimate(
        value=row["value"],
        standard_error=row["standard_error"],
        degrees_of_freedom=row["degrees_of_freedom"],
    )
    return {
        "p_value": estimate.p_value,
        "minimum_detectable_effect": estimate.minimum_detectable_effect,
    }


def _slice_columns(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if name.startswith(SLICE_PREFIX)]
