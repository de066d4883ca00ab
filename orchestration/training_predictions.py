"""What a trained model predicts: of test, a file that `serval audit` takes; of each, how good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch

from orchestration.training_data import TrainingData
from ser_model import storage
from ser_model.metrics.concordance import concordance_cc
from ser_model.metrics.recall import accuracy, unweighted_average_recall
from ser_model.models.base import EmotionModel
from ser_model.schema import CLEAN, DIMENSIONS, PREDICTIONS
from ser_model.training.checkpoint import to_json
from ser_model.training.evaluation import Scored, confusion_of, metrics_of, score_examples
from ser_model.training.recipe import AnyRecipe
from ser_model.training.support_vector_recipe import SupportVectorRecipe

PREDICTIONS_NAME = "test.parquet"

_COLUMNS = ("segment_id", "condition", *DIMENSIONS, "emotion", "emotion_scores", "duration_s")
SCHEMA = pa.schema([PREDICTIONS.field(name) for name in _COLUMNS])


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How good the kept weights are, as JSON values.

    Attributes:
        test: metrics on test; None where it is not predicted.
        confusion: by split, of emotions alone: the targets, and counts [truth][prediction].
    """

    test: Mapping[str, float | None] | None
    confusion: Mapping[str, Mapping[str, Any]]


def measure(model: EmotionModel, recipe: AnyRecipe, data: TrainingData, output: str) -> Measured:
    """Measure the kept weights, and write what they predict of test.

    Args:
        model: with these weights.
        recipe: how it was made.
        data: what it was trained on.
        output: folder of the model; PREDICTIONS_NAME goes there.
    """
    confusion: dict[str, Mapping[str, Any]] = {}
    test = None
    for split in _measured_splits(recipe, data):
        scored = score_examples(model, data.examples[split], recipe)
        if recipe.task == "emotion":
            counts = confusion_of(scored, data.targets)
            confusion[split] = {"targets": list(data.targets), "counts": counts}
        if split == "test":
            test = to_json(metrics_of(scored, recipe, data.targets))
            table = prediction_table(scored, recipe, data.targets)
            storage.write_table(storage.join(output, PREDICTIONS_NAME), table)
    return Measured(test=test, confusion=confusion)


def _measured_splits(recipe: AnyRecipe, data: TrainingData) -> list[str]:
    """Return test where it is predicted, and dev where the history leaves its confusion open."""
    has_learned_dev = isinstance(recipe, SupportVectorRecipe) and recipe.refit_with_dev
    with_dev = recipe.task == "emotion" and not has_learned_dev
    return [*(["dev"] if with_dev else []), *(["test"] if "test" in data.examples else [])]


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
