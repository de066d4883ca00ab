"""What a model says of a whole set of examples, and how good that is: never a mean of batches.

Shapes: B examples, K scores, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from ser_model.metrics.concordance import concordance_cc
from ser_model.metrics.recall import Confusion, accuracy, unweighted_average_recall
from ser_model.models.base import EmotionModel
from ser_model.schema import DIMENSIONS
from ser_model.training.batches import cut
from ser_model.training.examples import Example, transcripts_of, truth_of
from ser_model.training.losses import Loss
from ser_model.training.recipe import AnyRecipe, Recipe
from ser_model.training.workers import Workers

ALONE = Workers()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Scores of examples, in an order of their own.

    Attributes:
        segment_ids: of the rows.
        durations_s: of the rows.
        scores: scores_BK, float32 on the CPU.
        truth: truth_BD or truth_B.
    """

    segment_ids: tuple[str, ...]
    durations_s: tuple[float, ...]
    scores: Tensor
    truth: Tensor


@torch.inference_mode()
def score_examples(
    model: EmotionModel,
    examples: Sequence[Example],
    recipe: AnyRecipe,
    *,
    workers: Workers = ALONE,
    device: str = "cpu",
) -> Scored:
    """Score whole segments in eval mode; several workers share the batches."""
    model.eval()
    by_length = sorted(examples, key=lambda example: example.length)
    batches = [by_length[a:b] for a, b in cut(len(by_length), recipe.batch_size, smallest=1)]
    own = []
    for batch in workers.part(batches):
        rows = [example.read() for example in batch]
        inputs_BT = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        num_inputs_B = torch.tensor([len(row) for row in rows])
        inputs = (inputs_BT, num_inputs_B, transcripts_of(batch))
        own.append(score_batch(model, *inputs, recipe, device).cpu())
    gathered = workers.gather(own)
    scores = [gathered[at % workers.count][at // workers.count] for at in range(len(batches))]
    return Scored(
        segment_ids=tuple(example.segment_id for example in by_length),
        durations_s=tuple(example.duration_s for example in by_length),
        scores=torch.cat(scores).float(),
        truth=truth_of(by_length),
    )


def score_batch(
    model: EmotionModel,
    inputs_BT: Tensor,
    num_inputs_B: Tensor,
    transcripts: Sequence[str],
    recipe: AnyRecipe,
    device: str,
) -> Tensor:
    """Return scores_BK, computed in the recipe's dtype; the head is float32 in any case."""
    in_bfloat16 = recipe.dtype == "bfloat16"
    with torch.autocast(device, dtype=torch.bfloat16, enabled=in_bfloat16):
        return model.score(inputs_BT.to(device), num_inputs_B.to(device), transcripts).scores


def dev_metrics(
    scored: Scored, recipe: Recipe, targets: Sequence[str], loss: Loss
) -> dict[str, float]:
    """Return metrics over all examples together.

    Returns:
        "selection", the value that the best weights have the highest of; "loss"; and for
        dimensions "concordance_cc_arousal" ... and their mean "concordance_cc", for emotions
        "unweighted_average_recall" and "accuracy". NaN where the truth does not vary.
    """
    metrics = metrics_of(scored, recipe, targets)
    metrics["loss"] = loss(scored.scores, scored.truth).item()
    name = recipe.dev_metric
    return {"selection": -metrics["loss"] if name == "loss" else metrics[name], **metrics}


def metrics_of(scored: Scored, recipe: AnyRecipe, targets: Sequence[str]) -> dict[str, float]:
    """Return the metrics of a recipe's task, by name."""
    if recipe.task == "emotion":
        truth, prediction = _categories(scored, targets)
        return {
            "unweighted_average_recall": unweighted_average_recall(truth, prediction),
            "accuracy": accuracy(truth, prediction),
        }
    scores_BK, truth_B = scored.scores.numpy(), scored.truth.numpy()
    learned = DIMENSIONS if recipe.task == "dimensions" else (recipe.task,)
    ccc = {
        f"concordance_cc_{name}": concordance_cc(truth_B[:, at], scores_BK[:, at])
        for at, name in enumerate(DIMENSIONS)
        if name in learned
    }
    if len(learned) == 1:
        return ccc
    return {"concordance_cc": float(np.mean(list(ccc.values()))), **ccc}


def _categories(scored: Scored, targets: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return truth and prediction by name."""
    truth = [targets[index] for index in scored.truth]
    return truth, [targets[index] for index in scored.scores.argmax(dim=1)]


def join_scored(parts: Sequence[Scored]) -> Scored:
    """Return several sets as one, for metrics over all of them."""
    return Scored(
        segment_ids=tuple(chain.from_iterable(part.segment_ids for part in parts)),
        durations_s=tuple(chain.from_iterable(part.durations_s for part in parts)),
        scores=torch.cat([part.scores for part in parts]),
        truth=torch.cat([part.truth for part in parts]),
    )


def confusion_of(scored: Scored, targets: Sequence[str]) -> list[list[int]]:
    """Count how often each category was taken for each: [truth][prediction], as the targets are."""
    counts = Confusion.from_values(*_categories(scored, targets)).over(tuple(targets)).counts
    return [[int(count) for count in row] for row in counts]
