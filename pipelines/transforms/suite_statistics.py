"""The statistics that only a suite of tests asks for, as rows of schema.STATISTICS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PCollection

from pipelines.audit_config import AuditConfig
from pipelines.transforms.class_statistics import relative_difference_rows, speaker_share_rows
from pipelines.transforms.expected_ranges import expected_range_rows
from pipelines.transforms.group_statistics import Row
from pipelines.transforms.group_sums import (
    BY_EMOTION,
    GroupKey,
    read_groups,
    speaker_rows,
    sum_up_groups,
)
from pipelines.transforms.matched_gaps import matched_gap_rows
from pipelines.transforms.sentiment_shifts import shift_rows
from pipelines.transforms.suite_columns import LANGUAGE_AND_SENTIMENT
from ser_model.schema import CLEAN, STATISTICS


class CompareGroups(beam.PTransform[Any, Any]):
    """Turns joined segments into rows of schema.STATISTICS, of the condition "clean" alone."""

    def __init__(self, config: AuditConfig) -> None:
        """Take seed and number of replicates, and below what groups are suppressed."""
        super().__init__()
        self._config = config

    def expand(self, joined: PCollection[Any]) -> PCollection[Any]:
        """Bring the sums of each grouping and target together."""
        rows: PCollection[Any] = (
            joined
            | "SumUpGroups" >> beam.FlatMap(sum_up_groups)
            | "GatherGroups" >> beam.GroupByKey()
            | "CompareGroups" >> beam.Map(suite_statistics, self._config)
        )
        return rows


def suite_statistics(
    element: tuple[GroupKey, Iterable[bytes]], config: AuditConfig
) -> pa.RecordBatch:
    """Return the rows of one model, grouping and target.

    Args:
        element: the key, and what `sum_up_groups` yields for it.
        config: seed, number of replicates, minimums.
    """
    (model_version, slice_by, target), packed = element
    head: Mapping[str, str] = {
        "model_version": model_version,
        "condition": CLEAN,
        "slice_by": slice_by,
        "target": target,
    }
    rows = [{**head, **row} for row in _rows(slice_by, target, list(packed), config)]
    return pa.RecordBatch.from_pylist(rows, schema=STATISTICS)


def _rows(slice_by: str, target: str, packed: list[bytes], config: AuditConfig) -> Iterator[Row]:
    groups = read_groups(packed, config)
    if slice_by == "":
        (everything,) = groups
        yield from relative_difference_rows(everything, config.minimums)
        yield from speaker_share_rows(speaker_rows(packed))
    elif slice_by == BY_EMOTION:
        yield from expected_range_rows(target, groups, config.minimums)
    elif slice_by == LANGUAGE_AND_SENTIMENT:
        yield from shift_rows(groups, config.minimums)
    else:
        yield from matched_gap_rows(slice_by, groups, config.minimums)
