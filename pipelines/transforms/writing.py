"""Finishes and writes the audit's tables: sorted, so that the bytes depend on nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import pyarrow as pa

from pipelines.transforms.extremes import EXTREME_ROWS
from pipelines.transforms.projecting import EMBEDDED_ROWS
from pipelines.transforms.residual_counts import RESIDUAL_ROWS
from pipelines.transforms.tables import (
    CONFUSION_ROWS,
    DENSITY_ROWS,
    LEDGER_ROWS,
    to_table,
)
from ser_model import storage
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


def _sorted(table: pa.Table, names: Sequence[str]) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in names]).combine_chunks()


def _sort(names: Sequence[str]) -> Callable[[pa.Table], pa.Table]:
    return partial(_sorted, names=names)


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
    "statistics": (
        STATISTICS,
        _sort(("model_version", "condition", "slice_by", "slice", "target", "metric")),
    ),
    "speakers": (
        SPEAKERS,
        _sort(("model_version", "condition", "speaker_id", "target", "metric")),
    ),
    "densities": (
        DENSITY_ROWS,
        _add_up(
            ("model_version", "condition", "target", "truth_bin", "prediction_bin"), DENSITY_ROWS
        ),
    ),
    "residuals": (RESIDUAL_ROWS, _sort(RESIDUAL_ROWS.names[:-1])),
    "confusion": (
        CONFUSION_ROWS,
        _add_up(("model_version", "condition", "truth", "prediction"), CONFUSION_ROWS),
    ),
    "embeddings": (EMBEDDED_ROWS, _sort(("model_version", "condition", "segment_id"))),
    "extremes": (
        EXTREME_ROWS,
        _sort(("model_version", "condition", "slice_by", "slice", "target", "rank")),
    ),
    "ledger": (LEDGER_ROWS, _add_up(("model_version", "condition", "name"), LEDGER_ROWS)),
}
"""The tables of an audit: their columns, and what is done with all their rows before writing."""
