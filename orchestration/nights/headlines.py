"""The rows of statistics.parquet that are followed from night to night."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.nights.record import Headline
from ser_model.schema import CLEAN

MAX_GAPS = 50
"""Of each corpus and model, the widest ones: night.json stays small where slices are many."""


def headlines(statistics: pa.Table, *, cross_corpus: bool) -> tuple[Headline, ...]:
    """Return CCC (or PCC) and UAR of clean audio, and the gaps in them that were judged.

    Args:
        statistics: schema.STATISTICS, of one model.
        cross_corpus: whether PCC stands in the place of CCC.
    """
    metrics = ("pearson_cc" if cross_corpus else "concordance_cc", "unweighted_average_recall")
    wanted = [*metrics, *(f"{metric}_gap" for metric in metrics)]
    is_wanted = pc.and_(
        pc.equal(statistics["condition"], CLEAN),
        pc.is_in(statistics["metric"], pa.array(wanted)),
    )
    rows = statistics.filter(is_wanted).to_pylist()
    whole = [row for row in rows if not row["slice_by"] and not row["metric"].endswith("_gap")]
    gaps = [row for row in rows if row["metric"].endswith("_gap") and row["verdict"] is not None]
    gaps.sort(key=lambda row: (-abs(row["value"] or 0.0), row["slice"], row["target"]))
    return tuple(_headline(row) for row in (*whole, *gaps[:MAX_GAPS]))


def _headline(row: Mapping[str, Any]) -> Headline:
    return Headline(**{name: row[name] for name in Headline.__dataclass_fields__})
