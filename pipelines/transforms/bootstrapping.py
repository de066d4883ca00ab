"""From the cells of a partition of speakers to what each audit step needs of them.

Their merged sums go on as they are for the speakers' own table and for permutations, and to the
slices for statistics with intervals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput

from pipelines.audit_config import AuditConfig
from pipelines.transforms.slices import SliceKey, SlicePart, slice_part
from pipelines.transforms.speakers import merge_speakers
from pipelines.transforms.tables import CONFUSION_ROWS, group_rows, pack, to_batch, to_table

WHOLE_SPEAKERS = "whole_speakers"
"""Name of the side output that carries packed SPEAKER_MOMENTS over all segments, by condition and
target."""

CONFUSIONS = "confusion"
"""Name of the side output that carries CONFUSION_ROWS."""

LABELLED = "labelled"
"""Name of the side output that carries packed SPEAKER_SUMS by model version and condition."""


def bootstrap_speakers(
    element: tuple[int, Iterable[pa.RecordBatch]], config: AuditConfig
) -> Iterator[tuple[SliceKey, SlicePart] | TaggedOutput[Any, Any]]:
    """Total up one partition of speakers.

    Args:
        element: the number of the partition, and the cells of its speakers.
        config: seed and number of replicates, and where margins come from.

    Yields:
        A part of the slices that are compared with each other; for WHOLE_SPEAKERS the sums of
        each speaker; for CONFUSIONS the confusion of all of them; for LABELLED, where margins are
        by permutation, the speakers' sums in all slices by model and condition.
    """
    partition, batches = element
    sums = merge_speakers(to_table(batches))
    overall = sums.filter(pc.equal(sums["slice_by"], "")).combine_chunks()
    yield from _by_key(overall.drop_columns(["bins"]), ("condition", "target"), WHOLE_SPEAKERS)
    yield TaggedOutput(CONFUSIONS, confusion_rows(sums))
    if config.margins_from == "permutation":
        yield from _by_key(sums, ("model_version", "condition"), LABELLED)
    names = ("model_version", "condition", "slice_by", "target")
    first_rows, groups = group_rows(sums, names)
    for group in range(len(first_rows)):
        compared = sums.take(pa.array(np.flatnonzero(groups == group))).combine_chunks()
        model_version, condition, slice_by, target = (compared[n][0].as_py() for n in names)
        part = slice_part(compared, partition, config)
        yield (model_version, condition, slice_by, target), part


def _by_key(sums: pa.Table, names: Sequence[str], side: str) -> Iterator[TaggedOutput[Any, Any]]:
    first_rows, groups = group_rows(sums, names)
    for group, first_row in enumerate(first_rows.tolist()):
        key = tuple(sums[name][first_row].as_py() for name in names)
        rows = sums.take(pa.array(np.flatnonzero(groups == group)))
        yield TaggedOutput(side, (key, pack(to_batch(rows))))


def confusion_rows(sums: pa.Table) -> pa.RecordBatch:
    """Return CONFUSION_ROWS over all segments of merged SPEAKER_SUMS."""
    names = ["model_version", "condition", "truth", "prediction"]
    is_wanted = pc.and_(pc.equal(sums["slice_by"], ""), pc.equal(sums["target"], "emotion"))
    counted = sums.filter(is_wanted).group_by(names, use_threads=False).aggregate([("n", "sum")])
    renamed = counted.rename_columns([*names, "num_segments"])
    return to_batch(renamed.select(CONFUSION_ROWS.names).cast(CONFUSION_ROWS))
