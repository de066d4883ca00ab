"""Predictions and rejections as Arrow tables, and the hash of their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import pyarrow as pa

from ser_model.schema import (
    DIMENSIONS,
    EMBEDDING,
    PREDICTIONS,
    REJECTIONS,
    Prediction,
    Rejection,
)

Provenance = Mapping[str, str | int]
"""The values of the columns that are the same in every row of a run, by column name."""


def predictions_schema(*, embeddings: bool) -> pa.Schema:
    """Return the columns of predictions, with that of embeddings where they are kept."""
    return PREDICTIONS.append(EMBEDDING) if embeddings else PREDICTIONS


def predictions_table(
    predictions: Sequence[Prediction], provenance: Provenance, *, embeddings: bool = False
) -> pa.Table:
    """Return predictions as rows of schema.PREDICTIONS, sorted by segment."""
    rows = sorted(predictions, key=lambda p: (p.segment_id, p.condition))
    columns: dict[str, list[object]] = {
        "segment_id": [row.segment_id for row in rows],
        "condition": [row.condition for row in rows],
        "emotion": [row.emotion for row in rows],
        "emotion_scores": [
            row.emotion_scores and sorted(row.emotion_scores.items()) for row in rows
        ],
        "duration_s": [row.duration_s for row in rows],
        "embedding": [row.embedding for row in rows],
    }
    for number, dimension in enumerate(DIMENSIONS):
        columns[dimension] = [row.dimensions and row.dimensions[number] for row in rows]
    return _table(columns, len(rows), provenance, predictions_schema(embeddings=embeddings))


def rejections_table(rejections: Sequence[Rejection], provenance: Provenance) -> pa.Table:
    """Return rejections as rows of schema.REJECTIONS, sorted by segment."""
    rows = sorted(rejections, key=lambda r: (r.segment_id, r.condition))
    columns: dict[str, list[object]] = {
        "segment_id": [row.segment_id for row in rows],
        "condition": [row.condition for row in rows],
        "stage": [row.stage.value for row in rows],
        "reason": [row.reason.value for row in rows],
        "detail": [row.detail for row in rows],
    }
    return _table(columns, len(rows), provenance, REJECTIONS)


def content_sha256(*tables: pa.Table) -> str:
    """Return a hash of the values of some tables, whatever file or encoding they stand in.

    Values are hashed, not bytes of Parquet, so that another version of its writer changes nothing.
    Floats are hashed exactly: the shortest decimal number that reads back as the same float.
    """
    digest = hashlib.sha256()
    for table in tables:
        for name in table.column_names:
            values = table.column(name).to_pylist()
            digest.update(json.dumps([name, values]).encode())
    return digest.hexdigest()


def _table(
    columns: Mapping[str, list[object]], num_rows: int, provenance: Provenance, schema: pa.Schema
) -> pa.Table:
    arrays = [
        pa.array(
            columns[field.name] if field.name in columns else [provenance[field.name]] * num_rows,
            type=field.type,
        )
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
