"""How comparisons of models and conditions hang together in the pipeline.

    predictions -- every model and condition --+
    joined -- share_segments --+               |
    cells ---------------- separate_shared -- bootstrap -- slice_values -- compare_pairs ----+
                                                                               |             |
                                                             compare_changes --+----------correct
    joined -- sum_up_shifts -- compare_shifts ----------------------------------------------+

Sides and marks are few, and travel as side inputs; what is compared travels as arrays of replicates
of a few metrics, not as sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsList, DoOutputsTuple, PCollection

from pipelines.audit_config import NUM_PARTITIONS, AuditConfig
from pipelines.transforms.bootstrapping import (
    CONFUSIONS,
    LABELLED,
    WHOLE_SPEAKERS,
    bootstrap_speakers,
)
from pipelines.transforms.break_points import with_break_points
from pipelines.transforms.change_gaps import compare_changes
from pipelines.transforms.pairing import (
    CHANGES,
    compare_pairs,
    correct_family,
    slice_values,
    unshared_of,
)
from pipelines.transforms.sharing import (
    CELLS_SIDE,
    SHARED,
    SHARED_SIDE,
    separate_shared,
    share_segments,
    sides_of,
)
from pipelines.transforms.shifting import compare_shifts, sum_up_shifts
from pipelines.transforms.slices import MergeParts


def list_sides(predictions: PCollection[Any]) -> PCollection[Any]:
    """Return each model and condition of all predictions once."""
    sides: PCollection[Any] = (
        predictions | "SidesOfBatches" >> beam.FlatMap(sides_of) | "Sides" >> beam.Distinct()
    )
    return sides


def share(joined: PCollection[Any], sides: PCollection[Any]) -> PCollection[Any]:
    """Return cells of shared segments, and marks, by partition of speakers."""
    shared: PCollection[Any] = joined | "ShareSegments" >> beam.FlatMap(
        share_segments, AsList(sides), NUM_PARTITIONS
    )
    return shared


class GatherCells(beam.PTransform[Any, Any]):
    """Gathers {CELLS_SIDE: ..., SHARED_SIDE: ...} by partition of speakers.

    The output has "cells" and SHARED.
    """

    def expand(self, inputs: Mapping[str, PCollection[Any]]) -> DoOutputsTuple:
        """Bring both together, and tell them apart again."""
        separated: DoOutputsTuple = (
            {name: inputs[name] for name in (CELLS_SIDE, SHARED_SIDE)}
            | "GatherSpeakers" >> beam.CoGroupByKey()
            | "SeparateShared" >> beam.FlatMap(separate_shared).with_outputs(SHARED, main="cells")
        )
        return separated


class ComparePairs(beam.PTransform[Any, Any]):
    """Compares sides; takes "slices", "shared_cells", "shared", "sides" and "joined"."""

    def __init__(self, config: AuditConfig) -> None:
        """Compare as configured."""
        super().__init__()
        self._config = config

    def expand(self, inputs: Mapping[str, PCollection[Any]]) -> PCollection[Any]:
        """Return batches of schema.STATISTICS."""
        sides = AsList(inputs["sides"])
        shared_totals = (
            inputs["shared_cells"]
            | "BootstrapShared"
            >> beam.FlatMap(bootstrap_speakers, self._config).with_outputs(
                WHOLE_SPEAKERS, CONFUSIONS, LABELLED, main="totals"
            )
        ).totals | "MergeShared" >> MergeParts(self._config)
        unshared = (
            inputs["shared"] | "Marks" >> beam.FlatMap(unshared_of) | "MarksOnce" >> beam.Distinct()
        )
        values = [
            totals | f"ValuesOf{name}" >> beam.FlatMap(slice_values, sides, self._config)
            for name, totals in (("Sides", inputs["slices"]), ("Shared", shared_totals))
        ]
        compared = (
            values
            | "AllValues" >> beam.Flatten()
            | "GatherValues" >> beam.GroupByKey()
            | "ComparePairs"
            >> beam.FlatMap(compare_pairs, sides, AsList(unshared), self._config).with_outputs(
                CHANGES, main="rows"
            )
        )
        change_gaps = (
            compared[CHANGES]
            | "GatherChanges" >> beam.GroupByKey()
            | "CompareChanges" >> beam.FlatMap(compare_changes)
        )
        shifts = (
            inputs["joined"]
            | "SumUpShifts" >> beam.FlatMap(sum_up_shifts, sides)
            | "GatherShifts" >> beam.GroupByKey()
            | "CompareShifts" >> beam.Map(compare_shifts, self._config)
        )
        corrected: PCollection[Any] = (
            (compared.rows, change_gaps, shifts)
            | "AllComparisons" >> beam.Flatten()
            | "GatherComparisons" >> beam.GroupByKey()
            | "CorrectComparisons" >> beam.Map(correct_family)
            | "FindBreakPoints" >> beam.Map(with_break_points)
        )
        return corrected
