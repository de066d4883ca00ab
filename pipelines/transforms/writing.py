"""Finishes and writes the audit's tables: sorted, so that the bytes depend on nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa

from pipelines.transforms.extremes import EXTREME_ROWS
from pipelines.transforms.projecting import EMBEDDED_ROWS
from pipelines.transforms.replicates import REPLICATE_ROWS
from pipelines.transforms.residual_counts import RESIDUAL_ROWS
from pipelines.transforms.sketching import SKETCH_ROWS
from pipelines.transforms.tables import (
    CONFUSION_ROWS,
    DENSITY_ROWS,
    LEDGER_ROWS,
    group_rows,
    pack,
    to_table,
    unpack,
)
from ser_model import storage
from ser_model.schema import SPEAKERS, STATISTICS

Finish = Callable[[Iterable[bytes], pa.Schema], Iterator[pa.Table]]
"""Makes of all packed rows of a kind what is written."""


def write_kind(element: tuple[str, Iterable[bytes]], output: str) -> None:
    """Write all rows of one kind as `KIND.parquet`.

    Args:
        element: a key of TABLES, and its packed rows in any order.
        output: the folder of the audit.
    """
    kind, packed = element
    schema, finish = TABLES[kind]
    storage.write_tables(storage.join(output, f"{kind}.parquet"), schema, finish(packed, schema))


def _by_metric(packed: Iterable[bytes], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of speakers metric by metric: there may be millions, and no room for all."""
    names = ("model_version", "condition", "target", "metric")
    parts: dict[tuple[str, ...], list[bytes]] = {}
    for piece in packed:
        batch = unpack(piece)
        first_rows, groups = group_rows(batch, names)
        for group, row in enumerate(first_rows.tolist()):
            key = tuple(batch[name][row].as_py() for name in names)
            rows = batch if len(first_rows) == 1 else batch.filter(pa.array(groups == group))
            parts.setdefault(key, []).append(piece if rows is batch else pack(rows))
    for key in sorted(parts):
        yield _sorted(to_table(parts.pop(key), schema), ["speaker_id"])


def _sorted(table: pa.Table, names: Sequence[str]) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in names]).combine_chunks()


def _sort(names: Sequence[str]) -> Finish:
    def finish(packed: Iterable[bytes], schema: pa.Schema) -> Iterator[pa.Table]:
        yield _sorted(to_table(packed, schema), names)

    return finish


def _add_up(names: Sequence[str]) -> Finish:
    def finish(packed: Iterable[bytes], schema: pa.Schema) -> Iterator[pa.Table]:
        table = to_table(packed, schema)
        others = [name for name in schema.names if name not in (*names, "num_segments")]
        totals = table.group_by(list(names), use_threads=False).aggregate(
            [("num_segments", "sum"), *((name, "min") for name in others)]
        )
        renamed = totals.rename_columns(
            [name.removesuffix("_sum").removesuffix("_min") for name in totals.column_names]
        )
        yield _sorted(renamed.select(schema.names).cast(schema), names)

    return finish


TABLES: dict[str, tuple[pa.Schema, Finish]] = {
    "statistics": (
        STATISTICS,
        _sort(("model_version", "condition", "slice_by", "slice", "target", "metric")),
    ),
    "speakers": (SPEAKERS, _by_metric),
    "densities": (
        DENSITY_ROWS,
        _add_up(("model_version", "condition", "target", "truth_bin", "prediction_bin")),
    ),
    "residuals": (RESIDUAL_ROWS, _sort(RESIDUAL_ROWS.names[:-1])),
    "confusion": (
        CONFUSION_ROWS,
        _add_up(("model_version", "condition", "truth", "prediction")),
    ),
    "replicates": (
        REPLICATE_ROWS,
        _sort(("model_version", "condition", "slice_by", "slice", "is_rest", "target", "metric")),
    ),
    "sketches": (SKETCH_ROWS, _sort(("model_version", "condition", "target"))),
    "embeddings": (EMBEDDED_ROWS, _sort(("model_version", "condition", "segment_id"))),
    "extremes": (
        EXTREME_ROWS,
        _sort(("model_version", "condition", "slice_by", "slice", "target", "rank")),
    ),
    "ledger": (LEDGER_ROWS, _add_up(("model_version", "condition", "name"))),
}
"""The tables of an audit: their columns, and what is done with all their rows before writing."""
