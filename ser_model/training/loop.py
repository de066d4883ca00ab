"""The training loop: seeded, best-on-dev, over inputs that were prepared once.

Shapes: B batch, T frames (or samples), D dimensions, K scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ser_model.audio import SAMPLING_RATE_HZ
from ser_model.metrics.concordance import concordance_cc
from ser_model.metrics.recall import accuracy, unweighted_average_recall
from ser_model.models.base import EmotionModel, build_model
from ser_model.training.losses import concordance_loss, inverse_frequency_weights
from ser_model.training.recipe import Recipe

POOL_BATCHES = 8
"""Training sorts this many random batches' worth of segments by length at a time: little is cropped
away to make a batch even, and yet a batch mixes speakers and emotions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A segment as training sees it.

    Attributes:
        segment_id: the segment.
        duration_s: its length.
        inputs: what `EmotionModel.prepare` made of its waveform, [T, ...].
        truth: [D] the dimensions, 0 to 1; or the index of the emotion, [].
    """

    segment_id: str
    duration_s: float
    inputs: Tensor
    truth: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One line of the history.

    Attributes:
        epoch: counted from 1.
        loss: mean over the training batches.
        dev: metrics on the whole of dev, by name; `selection` is what the best epoch is chosen by.
    """

    epoch: int
    loss: float
    dev: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """A trained model, in eval mode with the weights of its best epoch, and how it came to be."""

    model: EmotionModel
    history: tuple[Epoch, ...]
    best_epoch: int


def train(
    recipe: Recipe,
    model: EmotionModel,
    train_set: Sequence[Example],
    dev_set: Sequence[Example],
    *,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> TrainResult:
    """Train a model and keep the epoch that is best on dev.

    The same recipe, examples and machine give the same weights; torch's own random state stays.

    Args:
        recipe: how.
        model: made by `new_model`; it is trained in place.
        train_set: prepared by the model; at least two.
        dev_set: of other speakers.
        on_epoch: called after each epoch.

    Raises:
        ValueError: too few examples, crops too short for the model, or dev examples whose truth
            does not vary.
    """
    if recipe.crop_s * SAMPLING_RATE_HZ < model.min_samples:
        raise ValueError(
            f"crop_s {recipe.crop_s} is shorter than the {model.min_samples} samples at "
            f"{SAMPLING_RATE_HZ} Hz that the model needs"
        )
    if len(train_set) < 2:
        raise ValueError(f"training needs at least 2 segments, not {len(train_set)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return _train(recipe, model, train_set, dev_set, on_epoch)


def new_model(recipe: Recipe, targets: Sequence[str]) -> EmotionModel:
    """Return the untrained model of a recipe."""
    return build_model(recipe.model_config(targets), recipe.seed)


def _train(
    recipe: Recipe,
    model: EmotionModel,
    train_set: Sequence[Example],
    dev_set: Sequence[Example],
    on_epoch: Callable[[Epoch], None] | None,
) -> TrainResult:
    loss_of = _loss(model, train_set)
    if model.task == "dimensions":
        # CCC punishes a shifted mean most of all: begin where the truth is.
        mean_truth_D = torch.stack([example.truth for example in train_set]).mean(dim=0)
        model.head.out_proj.bias.data.copy_(mean_truth_D)
    order = np.random.default_rng(recipe.seed)
    num_steps = recipe.num_epochs * len(_cut(len(train_set), recipe.batch_size))
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=recipe.optimiser.learning_rate,
        weight_decay=recipe.optimiser.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _rate((step + 0.5) / num_steps, recipe.optimiser.warmup)
    )
    history: list[Epoch] = []
    best_weights, best = {}, -math.inf
    for number in range(1, recipe.num_epochs + 1):
        losses = []
        model.train()
        for inputs_BT, truth_B in _training_batches(train_set, recipe, order):
            num_inputs_B = torch.full((len(inputs_BT),), inputs_BT.shape[1])
            loss = loss_of(model.score(inputs_BT, num_inputs_B).scores, truth_B)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        epoch = Epoch(
            epoch=number,
            loss=float(np.mean(losses)),
            dev=evaluate(model, dev_set, batch_size=recipe.batch_size),
        )
        history.append(epoch)
        if on_epoch is not None:
            on_epoch(epoch)
        if epoch.dev["selection"] > best:
            best = epoch.dev["selection"]
            best_weights = {name: value.clone() for name, value in model.state_dict().items()}
    if not best_weights:
        raise ValueError("no epoch has a finite metric on dev: does the truth of dev vary?")
    model.load_state_dict(best_weights)
    best_epoch = max(history, key=lambda epoch: epoch.dev["selection"]).epoch
    return TrainResult(model=model.eval(), history=tuple(history), best_epoch=best_epoch)


@torch.inference_mode()
def evaluate(
    model: EmotionModel, examples: Sequence[Example], *, batch_size: int
) -> dict[str, float]:
    """Return metrics over all examples together, never a mean of batches.

    Returns:
        For dimensions "concordance_cc_arousal" ... and their mean as "selection"; for emotions
        "unweighted_average_recall", also as "selection", and "accuracy". NaN where the truth does
        not vary.
    """
    model.eval()
    by_length = sorted(examples, key=lambda example: len(example.inputs))
    scores = []
    for start, end in _cut(len(by_length), batch_size, smallest=1):
        rows = [example.inputs for example in by_length[start:end]]
        inputs_BT = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        scores.append(model.score(inputs_BT, torch.tensor([len(row) for row in rows])).scores)
    scores_BK = torch.cat(scores).float().numpy()
    truth_B = torch.stack([example.truth for example in by_length]).numpy()
    if model.task == "emotion":
        truth = [model.targets[index] for index in truth_B]
        prediction = [model.targets[index] for index in scores_BK.argmax(axis=1)]
        recall = unweighted_average_recall(truth, prediction)
        return {
            "selection": recall,
            "unweighted_average_recall": recall,
            "accuracy": accuracy(truth, prediction),
        }
    ccc = {
        f"concordance_cc_{dimension}": concordance_cc(truth_B[:, at], scores_BK[:, at])
        for at, dimension in enumerate(model.targets)
    }
    return {"selection": float(np.mean(list(ccc.values()))), **ccc}


def _loss(model: EmotionModel, train_set: Sequence[Example]) -> Callable[[Tensor, Tensor], Tensor]:
    if model.task == "dimensions":
        return concordance_loss
    truth_B = torch.stack([example.truth for example in train_set])
    counts = torch.bincount(truth_B, minlength=len(model.targets)).tolist()
    weights_K = inverse_frequency_weights(counts)
    return lambda scores_BK, truth_B: F.cross_entropy(scores_BK, truth_B, weight=weights_K)


def _training_batches(
    examples: Sequence[Example], recipe: Recipe, order: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches without padding: each segment is cropped at random to the batch's shortest."""
    shuffled = order.permutation(len(examples))
    pool_size = POOL_BATCHES * recipe.batch_size
    pools = [shuffled[at : at + pool_size] for at in range(0, len(shuffled), pool_size)]
    by_length = [
        index for pool in pools for index in sorted(pool, key=lambda i: len(examples[i].inputs))
    ]
    batches = _cut(len(examples), recipe.batch_size)
    for at in order.permutation(len(batches)):
        start, end = batches[at]
        rows = [examples[index] for index in by_length[start:end]]
        length = min(_crop_length(row, recipe.crop_s) for row in rows)
        offsets = [order.integers(len(row.inputs) - length + 1) for row in rows]
        inputs_BT = torch.stack(
            [row.inputs[at : at + length] for row, at in zip(rows, offsets, strict=True)]
        )
        yield inputs_BT, torch.stack([row.truth for row in rows])


def _crop_length(example: Example, crop_s: float) -> int:
    """Return the steps of the inputs that `crop_s` seconds of a segment have, all if shorter."""
    num_inputs = len(example.inputs)
    return min(num_inputs, max(1, round(num_inputs * crop_s / example.duration_s)))


def _cut(num_examples: int, batch_size: int, *, smallest: int = 2) -> list[tuple[int, int]]:
    """Return the bounds of the batches; a last one that is too small joins the one before.

    >>> _cut(5, 2)
    [(0, 2), (2, 5)]
    """
    starts = list(range(0, num_examples, batch_size))
    if len(starts) > 1 and num_examples - starts[-1] < smallest:
        starts.pop()
    return list(zip(starts, [*starts[1:], num_examples], strict=True))


def _rate(progress: float, warmup: float) -> float:
    """Return the part of the highest learning rate that is used at this part of the steps.

    >>> [round(_rate(progress, 0.5), 2) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (progress - warmup) / (1.0 - warmup)))
