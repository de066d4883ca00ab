"""Predictions, transcripts and rejections as Arrow tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import pyarrow as pa

from ser_model.schema import (
    DIMENSIONS,
    EMBEDDING,
    PREDICTIONS,
    REJECTIONS,
    TRANSCRIPTS,
    Prediction,
    Rejection,
    Transcript,
)

Product: TypeAlias = Literal["predictions", "transcripts"]
"""What a run makes of its segments."""

Outcome: TypeAlias = Prediction | Transcript | Rejection
"""What becomes of a segment."""

Provenance = Mapping[str, str | int]
"""The values of the columns that are the same in every row of a run, by column name."""


def product_schema(product: Product, *, embeddings: bool) -> pa.Schema:
    """Return the columns of what a run makes."""
    return TRANSCRIPTS if product == "transcripts" else predictions_schema(embeddings=embeddings)


def product_table(
    product: Product,
    outcomes: Sequence[Outcome],
    provenance: Provenance,
    *,
    embeddings: bool = False,
) -> pa.Table:
    """Return what was made as rows of `product_schema`; rejections are left out."""
    if product == "transcripts":
        return transcripts_table([o for o in outcomes if isinstance(o, Transcript)], provenance)
    predictions = [o for o in outcomes if isinstance(o, Prediction)]
    return predictions_table(predictions, provenance, embeddings=embeddings)


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


def transcripts_table(transcripts: Sequence[Transcript], provenance: Provenance) -> pa.Table:
    """Return transcripts as rows of schema.TRANSCRIPTS, sorted by segment."""
    rows = sorted(transcripts, key=lambda t: (t.segment_id, t.condition))
    columns: dict[str, list[object]] = {
        "segment_id": [row.segment_id for row in rows],
        "condition": [row.condition for row in rows],
        "transcript": [row.transcript for row in rows],
        "transcriber": [row.transcriber for row in rows],
        "duration_s": [row.duration_s for row in rows],
    }
    return _table(columns, len(rows), provenance, TRANSCRIPTS)


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


def _table(
    columns: Mapping[str, list[object]], num_rows: int, provenance: Provenance, schema: pa.Schema
) -> pa.Table:
    arrays = [
        pa.array(columns[field.name], type=field.type)
        if field.name in columns
        else pa.repeat(pa.scalar(provenance[field.name], field.type), num_rows)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
