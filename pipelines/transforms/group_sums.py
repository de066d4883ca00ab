"""From joined segments to the sums of each speaker in each group that a suite of tests compares.

The truth is cut into strata, so that groups can be matched on it: twentieths of a dimension's
scale, or emotions. Segments without a truth are a stratum of their own: some tests look at
predictions alone. Only segments under the condition "clean" take part.

All speakers of a model come together on one worker here: a row for each speaker, group, stratum and
bin of the prediction.

Shape suffixes: B1 the estimate and the replicates, S speakers, T strata, P bins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.audit_config import AuditConfig
from pipelines.transforms.joining import is_present
from pipelines.transforms.speakers import moments_of
from pipelines.transforms.tables import (
    SUITE_PREFIX,
    array,
    floats,
    group_rows,
    is_missing_slice,
    pack,
    to_batch,
    to_table,
)
from pipelines.transforms.weighting import SPEAKERS_PER_BLOCK
from ser_model.metrics.bins import NUM_FINE_BINS, QUARTERS, fine_bins
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.matching import StratifiedSums
from ser_model.metrics.moments import CoMoments
from ser_model.schema import CLEAN, DIMENSIONS

UNRATED = ""
"""Stratum of the segments without a truth."""

BY_EMOTION = "emotion"
"""Grouping of predicted dimensions by the emotion in the truth."""

RANGES = ("<.3", ".3-.45", ".45-.55", ".55-.6", ">.6")
"""Bins of the expected ranges: both ends belong to the second and the fourth."""

GroupKey = tuple[str, str, str]
"""Model version, slice_by, target."""

_SPEAKER_CELL = ("slice", "speaker_id", "stratum", "bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group of segments, or several merged.

    Attributes:
        name: as in the column `slice`: "sex=female".
        speakers: who speaks in it.
        sums: [B1] over strata and bins that all groups of a grouping share.
    """

    name: str
    speakers: frozenset[str]
    sums: StratifiedSums


def sum_up_groups(
    element: tuple[int, pa.Table],
) -> Iterator[tuple[GroupKey, bytes]]:
    """Sum up one joined partition by grouping, target, group, speaker, stratum and bin.

    Args:
        element: the number of the partition, and its joined segments with columns of groups.

    Yields:
        The sums by model, grouping and target.
    """
    partition, joined = element
    joined = joined.filter(pc.equal(joined.column("condition"), CLEAN)).combine_chunks()
    for target in (*DIMENSIONS, "emotion"):
        predicted = joined.filter(pa.array(is_present(joined, f"prediction_{target}")))
        predicted = predicted.combine_chunks()
        for slice_by, rows in _groupings(predicted, target):
            if not rows.num_rows:
                continue
            sums = _sums(rows.combine_chunks(), target)
            sums = sums.append_column("partition", pa.repeat(partition, len(sums)))
            first_rows, model = group_rows(sums, ["model_version"])
            for number, first_row in enumerate(first_rows.tolist()):
                key = (sums.column("model_version")[first_row].as_py(), slice_by, target)
                of_model = sums.take(pa.array(np.flatnonzero(model == number)))
                yield key, pack(to_batch(of_model))


def read_groups(batches: Iterable[pa.RecordBatch | bytes], config: AuditConfig) -> list[Group]:
    """Return the groups of one grouping and target, with their replicates, in alphabetical order.

    Args:
        batches: as from `sum_up_groups`, in any order.
        config: seed and number of replicates.
    """
    rows = speaker_rows(batches)
    strata = tuple(sorted(pc.unique(array(rows, "stratum")).to_pylist()))
    bins = tuple(sorted(pc.unique(array(rows, "bin")).to_pylist()))
    if set(bins) <= set(QUARTERS):
        bins = QUARTERS
    groups = []
    for name in sorted(pc.unique(array(rows, "slice")).to_pylist()):
        of_group = rows.filter(pc.equal(rows["slice"], name)).combine_chunks()
        speakers = frozenset(array(of_group, "speaker_id").to_pylist())
        sums = _replicates(of_group, strata, bins, config)
        groups.append(Group(name=name, speakers=speakers, sums=sums))
    return groups


def speaker_rows(batches: Iterable[pa.RecordBatch | bytes]) -> pa.Table:
    """Merge the sums of all partitions: a row a group, speaker, stratum and bin, sorted."""
    order = [(name, "ascending") for name in (*_SPEAKER_CELL, "partition")]
    rows = to_table(batches).sort_by(order).combine_chunks()
    first_rows, groups = group_rows(rows, _SPEAKER_CELL)
    moments = moments_of(rows).merge_groups(groups, len(first_rows))
    heads = rows.take(pa.array(first_rows)).select(list(_SPEAKER_CELL))
    return _with_moments(heads, moments).combine_chunks()


def _groupings(predicted: pa.Table, target: str) -> Iterator[tuple[str, pa.Table]]:
    """Yield each grouping with its segments, which get the columns `slice`, `stratum` and `bin`."""
    prediction = floats(predicted, f"prediction_{target}") if target in DIMENSIONS else None
    if prediction is None:
        strata = pc.fill_null(array(predicted, "truth_emotion"), UNRATED)
        bins = array(predicted, "prediction_emotion")
    else:
        strata = _dimension_strata(predicted, target)
        quarter = fine_bins(prediction) // (NUM_FINE_BINS // len(QUARTERS))
        bins = pa.array(np.array(QUARTERS, dtype=object)[quarter], pa.string())
    rows = predicted.append_column("stratum", strata).append_column("bin", bins)
    for column in [name for name in rows.column_names if name.startswith(SUITE_PREFIX)]:
        names = [n for n in pc.unique(array(rows, column)).to_pylist() if not is_missing_slice(n)]
        grouped = rows.append_column("slice", rows.column(column))
        is_member = pc.is_in(rows.column(column), value_set=pa.array(names, pa.string()))
        yield column.removeprefix(SUITE_PREFIX), grouped.filter(is_member)
    if prediction is None:
        everything = rows.append_column("slice", pa.repeat("", len(rows)))
        yield "", everything.filter(pc.not_equal(rows["stratum"], UNRATED))
    else:
        yield BY_EMOTION, _by_emotion(predicted, target)


def _dimension_strata(predicted: pa.Table, target: str) -> pa.Array:
    truth = floats(predicted, f"truth_{target}")
    names = np.array([*STRATA, UNRATED], dtype=object)
    at = np.full(truth.size, NUM_FINE_BINS)
    at[np.isfinite(truth)] = fine_bins(truth[np.isfinite(truth)])
    return pa.array(names[at], pa.string())


def _by_emotion(predicted: pa.Table, target: str) -> pa.Table:
    rows = predicted.filter(pc.is_valid(predicted.column("truth_emotion"))).combine_chunks()
    values = floats(rows, f"prediction_{target}")
    at = np.select([values < 0.3, values <= 0.45, values < 0.55, values <= 0.6], [0, 1, 2, 3], 4)
    names = pc.binary_join_element_wise(BY_EMOTION, array(rows, "truth_emotion"), "=")
    rows = rows.append_column("slice", names)
    rows = rows.append_column("stratum", pa.repeat(UNRATED, len(rows)))
    return rows.append_column("bin", pa.array(np.array(RANGES, dtype=object)[at], pa.string()))


def _sums(rows: pa.Table, target: str) -> pa.Table:
    names = ["model_version", *_SPEAKER_CELL]
    first_rows, groups = group_rows(rows, names)
    if target in DIMENSIONS:
        truth = np.nan_to_num(floats(rows, f"truth_{target}"), posinf=0.0, neginf=0.0)
        prediction = floats(rows, f"prediction_{target}")
    else:
        truth = prediction = np.zeros(len(rows))
    moments = CoMoments.from_groups(truth, prediction, groups, len(first_rows))
    # Plain strings: a dictionary would travel whole with each few rows of it.
    plain = pa.schema([pa.field(name, pa.string()) for name in names])
    heads = rows.select(names).take(pa.array(first_rows)).cast(plain)
    return _with_moments(heads, moments)


def _with_moments(heads: pa.Table, moments: CoMoments) -> pa.Table:
    for name, values in moments.as_columns().items():
        heads = heads.append_column(name, pa.array(values))
    return heads


def _replicates(
    rows: pa.Table, strata: tuple[str, ...], bins: tuple[str, ...], config: AuditConfig
) -> StratifiedSums:
    """Return the sums [B1] of one group, block of speakers by block."""
    speaker_ids = pc.unique(array(rows, "speaker_id"))
    keys = speaker_keys(speaker_ids.to_pylist())
    speaker = pc.index_in(array(rows, "speaker_id"), speaker_ids).to_numpy()
    stratum = pc.index_in(array(rows, "stratum"), pa.array(strata)).to_numpy()
    cell = stratum * len(bins) + pc.index_in(array(rows, "bin"), pa.array(bins)).to_numpy()
    moments = moments_of(rows)
    total: StratifiedSums | None = None
    for first in range(0, len(keys), SPEAKERS_PER_BLOCK):
        block = slice(first, first + SPEAKERS_PER_BLOCK)
        drawn = poisson_weights(keys[block], seed=config.seed, num_replicates=config.num_replicates)
        weights_B1S = np.vstack([np.ones_like(drawn[:1]), drawn]).astype(np.float64)
        inside = np.flatnonzero((speaker >= first) & (speaker < first + SPEAKERS_PER_BLOCK))
        num_speakers, num_cells = weights_B1S.shape[1], len(strata) * len(bins)
        at = (speaker[inside] - first) * len(strata) + stratum[inside]
        of_speakers = moments[inside].merge_groups(at, num_speakers * len(strata))
        parts = [
            of_speakers[number :: len(strata)].weighted_totals(weights_B1S)
            for number in range(len(strata))
        ]
        counts_SC = np.zeros((num_speakers, num_cells))
        np.add.at(counts_SC, (speaker[inside] - first, cell[inside]), moments.n[inside])
        counts = (weights_B1S @ counts_SC).reshape(-1, len(strata), len(bins))
        of_block = StratifiedSums(
            strata=strata, bins=bins, moments=CoMoments.stack(parts, axis=-1), counts=counts
        )
        total = of_block if total is None else total.merge(of_block)
    assert total is not None  # a group has a speaker
    return total


STRATA = tuple(f"{number:02}" for number in range(NUM_FINE_BINS))
"""Twentieths of a dimension's scale."""

QUARTER_OF_STRATUM: Mapping[str, str] = {
    name: QUARTERS[number * len(QUARTERS) // NUM_FINE_BINS] for number, name in enumerate(STRATA)
}
