"""Finishes and writes the audit's tables: sorted, so that the bytes depend on nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.audit_config import JUDGED_METRICS, SIGNIFICANCE
from pipelines.transforms.tables import (
    CONFUSION_ROWS,
    DENSITY_ROWS,
    LEDGER_ROWS,
    floats,
    group_rows,
    to_table,
)
from ser_model import storage
from ser_model.metrics.significance import holm
from ser_model.schema import SPEAKERS, STATISTICS


def write_kind(element: tuple[str, Iterable[pa.RecordBatch]], output: str) -> None:
    """Write all rows of one kind as `KIND.parquet`.

    Args:
        element: a key of TABLES, and its rows in any order.
        output: the folder of the audit.
    """
    kind, batches = element
    schema, finish = TABLES[kind]
    storage.write_table(storage.join(output, f"{kind}.parquet"), finish(to_table(batches, schema)))


def judge_gaps(statistics: pa.Table) -> pa.Table:
    """Fill `p_adjusted` and `verdict` of the gaps in JUDGED_METRICS, and sort.

    "fail" is a gap that differs from 0 at the 5 % level after Holm's correction; all other tested
    gaps are "inconclusive": no test against 0 can show that a gap is small.

    Args:
        statistics: schema.STATISTICS in any order.
    """
    order = ("model_version", "condition", "slice_by", "slice", "target", "metric")
    table = _sorted(statistics, order)
    is_judged = pc.is_in(table.column("metric"), pa.array(JUDGED_METRICS)).to_numpy()
    p_values = np.where(is_judged, floats(table, "p_value"), np.nan)
    adjusted = np.full(len(table), np.nan)
    first_rows, families = group_rows(table, ("model_version", "condition"))
    for family in range(len(first_rows)):
        rows = np.flatnonzero(families == family)
        adjusted[rows] = holm(p_values[rows])
    verdicts = np.where(adjusted < SIGNIFICANCE, "fail", "inconclusive")
    is_tested = np.isfinite(adjusted)
    columns = {
        "p_adjusted": pa.array(adjusted, mask=~is_tested),
        "verdict": pa.array(verdicts, type=pa.string(), mask=~is_tested),
    }
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), STATISTICS.field(name), values)
    return table


def _sorted(table: pa.Table, names: Sequence[str]) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in names]).combine_chunks()


def _sort_speakers(table: pa.Table) -> pa.Table:
    return _sorted(table, ("model_version", "condition", "speaker_id", "target", "metric"))


def _add_up(names: Sequence[str], schema: pa.Schema) -> Callable[[pa.Table], pa.Table]:
    def finish(table: pa.Table) -> pa.Table:
        others = [name for name in schema.names if name not in (*names, "num_segments")]
        totals = table.group_by(list(names), use_threads=False).aggregate(
            [("num_segments", "sum"), *((name, "min") for name in others)]
        )
        renamed = totals.rename_columns(
            [name.removesuffix("_sum").removesuffix("_min") for name in totals.column_names]
        )
        return _sorted(renamed.select(schema.names).cast(schema), names)

    return finish


TABLES: dict[str, tuple[pa.Schema, Callable[[pa.Table], pa.Table]]] = {
    "statistics": (STATISTICS, judge_gaps),
    "speakers": (SPEAKERS, _sort_speakers),
    "densities": (
        DENSITY_ROWS,
        _add_up(
            ("model_version", "condition", "target", "truth_bin", "prediction_bin"), DENSITY_ROWS
        ),
    ),
    "confusion": (
        CONFUSION_ROWS,
        _add_up(("model_version", "condition", "truth", "prediction"), CONFUSION_ROWS),
    ),
    "ledger": (LEDGER_ROWS, _add_up(("model_version", "condition", "name"), LEDGER_ROWS)),
}
"""The tables of an audit: their columns, and what is done with all their rows before writing."""
