"""What a training predicts of its test split: a file that `serval audit` takes, and its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import torch

from ser_model.metrics.concordance import concordance_cc
from ser_model.metrics.recall import accuracy, unweighted_average_recall
from ser_model.schema import CLEAN, DIMENSIONS, PREDICTIONS
from ser_model.training.evaluation import Scored
from ser_model.training.recipe import AnyRecipe

PREDICTIONS_NAME = "test.parquet"

_COLUMNS = ("segment_id", "condition", *DIMENSIONS, "emotion", "emotion_scores", "duration_s")
SCHEMA = pa.schema([PREDICTIONS.field(name) for name in _COLUMNS])


def prediction_table(scored: Scored, recipe: AnyRecipe, targets: Sequence[str]) -> pa.Table:
    """Return predictions as rows; a dimension that was not learned stays empty."""
    rows: list[dict[str, Any]] = []
    values_BK = scored.scores
    if recipe.task == "emotion":
        values_BK = torch.softmax(values_BK, dim=1)
    names = zip(scored.segment_ids, scored.durations_s, values_BK.tolist(), strict=True)
    for segment_id, duration_s, values in names:
        by_target = dict(zip(targets, values, strict=True))
        row = {"segment_id": segment_id, "condition": CLEAN, "duration_s": duration_s}
        if recipe.task == "emotion":
            row |= {"emotion": max(targets, key=by_target.__getitem__)}
            row |= {"emotion_scores": list(by_target.items())}
        else:
            learned = DIMENSIONS if recipe.task == "dimensions" else (recipe.task,)
            row |= {name: by_target[name] for name in learned}
        rows.append(row)
    return pa.Table.from_pylist(rows, SCHEMA)


def pooled_metrics(
    predictions: pa.Table, manifest: pa.Table, recipe: AnyRecipe
) -> dict[str, float]:
    """Return the metrics of all predictions together, against the manifest's truth."""
    truth_of: Mapping[str, Any] = {row["segment_id"]: row for row in manifest.to_pylist()}
    rows = [truth_of[segment_id] for segment_id in predictions["segment_id"].to_pylist()]
    if recipe.task == "emotion":
        truth = [row["emotion"] for row in rows]
        prediction = predictions["emotion"].to_pylist()
        return {
            "unweighted_average_recall": unweighted_average_recall(truth, prediction),
            "accuracy": accuracy(truth, prediction),
        }
    learned = DIMENSIONS if recipe.task == "dimensions" else (recipe.task,)
    return {
        f"concordance_cc_{name}": concordance_cc(
            [row[name] for row in rows], predictions[name].to_numpy()
        )
        for name in learned
    }
