"""Checks that predictions stand under the names of their dimensions.

Looked at are clean predictions, of each model and partition of the join SAMPLE rows at most, evenly
spread: that decides it, whatever the size of the corpus. Speakers are put into GROUPS by a hash of
their name, segments without one by a hash of their id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import PCollection
from numpy.typing import NDArray

from pipelines.transforms.tables import (
    LEDGER_ROWS,
    MISSING,
    array,
    floats,
    group_rows,
    hash_strings,
)
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.dimension_order import better_order
from ser_model.metrics.moments import CoMoments
from ser_model.schema import CLEAN, DIMENSIONS

LIKELY_ORDER = "likely_dimension_order"
"""Name in the ledger of an order that fits clearly better; `detail` is the column of the
predictions for the truth of each dimension."""

SAMPLE = 4096
GROUPS = 1024
NUM_REPLICATES = 200


class CheckDimensionOrder(beam.PTransform[Any, Any]):
    """Turns joined partitions into LEDGER_ROWS of models whose dimensions seem permuted."""

    def expand(self, joined: PCollection[Any]) -> PCollection[Any]:
        """Sum up a sample of each partition, and decide by model."""
        found: PCollection[Any] = (
            joined
            | "CrossMoments" >> beam.FlatMap(cross_moments)
            | "GatherCrossMoments" >> beam.GroupByKey()
            | "DecideOrder" >> beam.FlatMap(decide_order)
        )
        return found


def cross_moments(
    element: tuple[int, pa.Table],
) -> Iterator[tuple[str, tuple[int, CoMoments]]]:
    """Yield by model the moments [GROUPS, D, D] of each truth with each prediction.

    Args:
        element: the number of the partition, and its joined segments.
    """
    partition, joined = element
    first_rows, groups = group_rows(joined, ("model_version", "condition"))
    sizes = np.bincount(groups)
    for first, size in zip(first_rows.tolist(), sizes.tolist(), strict=True):
        if joined["condition"][first].as_py() != CLEAN:
            continue
        # The rows of a model and condition stand together.
        rows = first + np.arange(min(size, SAMPLE)) * size // min(size, SAMPLE)
        sums = _sum_up(joined.take(pa.array(rows)).combine_chunks())
        if sums.n.any():
            yield joined["model_version"][first].as_py(), (partition, sums)


def decide_order(
    element: tuple[str, Iterable[tuple[int, CoMoments]]],
) -> Iterator[pa.RecordBatch]:
    """Yield LEDGER_ROWS where another order of dimensions fits a model clearly better.

    Args:
        element: the model, and its moments of each partition.
    """
    model_version, parts = element
    ordered = [sums for _, sums in sorted(parts, key=lambda part: part[0])]
    moments = reduce(CoMoments.merge, ordered)
    keys = speaker_keys([f"group {number}" for number in range(GROUPS)])
    weights = poisson_weights(keys, seed=0, num_replicates=NUM_REPLICATES)
    order = better_order(moments, np.vstack([np.ones_like(weights[:1]), weights]))
    if order is None:
        return
    row = {
        "model_version": model_version,
        "condition": CLEAN,
        "name": LIKELY_ORDER,
        "num_segments": int(moments.n[:, 0, 0].sum()),
        "detail": ",".join(DIMENSIONS[number] for number in order),
    }
    yield pa.RecordBatch.from_pylist([row], schema=LEDGER_ROWS)


def _sum_up(sample: pa.Table) -> CoMoments:
    truths = [floats(sample, f"truth_{dimension}") for dimension in DIMENSIONS]
    said = [floats(sample, f"prediction_{dimension}") for dimension in DIMENSIONS]
    rows = np.flatnonzero(np.isfinite([*truths, *said]).all(axis=0))
    groups = _groups(sample)[rows]
    by_truth = [
        CoMoments.stack(
            [CoMoments.from_groups(truth[rows], one[rows], groups, GROUPS) for one in said], axis=1
        )
        for truth in truths
    ]
    return CoMoments.stack(by_truth, axis=1)


def _groups(sample: pa.Table) -> NDArray[np.int64]:
    speaker_id = array(sample, "speaker_id")
    names = pc.if_else(pc.equal(speaker_id, MISSING), array(sample, "segment_id"), speaker_id)
    return (hash_strings(names) % np.uint64(GROUPS)).astype(np.int64)
