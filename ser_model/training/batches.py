"""The order of training: which stretch of which segment is in which batch.

Batches are of segments of similar length, and their order is random. It follows from the recipe's
seed and the number of the epoch alone, so that a resumed training goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from ser_model.training.examples import Example, transcripts_of
from ser_model.training.recipe import Recipe

POOL_BATCHES = 8
"""Training sorts this many random batches' worth of segments by length at a time: little is cropped
away or padded to make a batch even, and yet a batch mixes speakers and emotions."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The part of an example that a batch sees.

    Attributes:
        index: of the example.
        start: its first input.
        length: how many inputs.
    """

    index: int
    start: int
    length: int


Batch: TypeAlias = Sequence[Stretch]

Inputs: TypeAlias = tuple[Tensor, Tensor, list[str]]
"""inputs_BT, num_inputs_B and transcripts of `EmotionModel.score`."""


def epochs(examples: Sequence[Example], recipe: Recipe) -> Iterator[list[Batch]]:
    """Yield the batches of one epoch after the other, without end.

    To resume, skip the epochs that are done: drawing them again takes no time to speak of.
    """
    order = np.random.default_rng(recipe.seed)
    while True:
        yield _epoch(examples, recipe, order)


def _epoch(examples: Sequence[Example], recipe: Recipe, order: np.random.Generator) -> list[Batch]:
    shuffled = order.permutation(len(examples))
    pool_size = POOL_BATCHES * recipe.batch_size
    pools = [shuffled[at : at + pool_size] for at in range(0, len(shuffled), pool_size)]
    by_length = [
        int(index) for pool in pools for index in sorted(pool, key=lambda i: examples[i].length)
    ]
    bounds = cut(len(examples), recipe.batch_size)
    epoch: list[Batch] = []
    for at in order.permutation(len(bounds)):
        start, end = bounds[at]
        epoch.append(_batch(examples, by_length[start:end], recipe, order))
    return epoch


def _batch(
    examples: Sequence[Example], indices: Sequence[int], recipe: Recipe, order: np.random.Generator
) -> Batch:
    lengths = [_crop_length(examples[index], recipe.crop_s) for index in indices]
    if recipe.lengths == "crop":
        lengths = [min(lengths)] * len(lengths)
    return [
        Stretch(index, int(order.integers(examples[index].num_inputs - length + 1)), length)
        for index, length in zip(indices, lengths, strict=True)
    ]


def _crop_length(example: Example, crop_s: float | None) -> int:
    """Return the steps of the inputs that `crop_s` seconds of a segment have, all if shorter."""
    num_inputs = example.num_inputs
    if crop_s is None:
        return num_inputs
    return min(num_inputs, max(1, round(num_inputs * crop_s / example.duration_s)))


def read_batch(examples: Sequence[Example], batch: Batch) -> Inputs | None:
    """Return the inputs of a batch, padded with zeros; None where it is empty."""
    if not batch:
        return None
    chosen = [examples[s.index] for s in batch]
    rows = [
        example.read()[s.start : s.start + s.length]
        for example, s in zip(chosen, batch, strict=True)
    ]
    inputs_BT = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return inputs_BT, torch.tensor([s.length for s in batch]), transcripts_of(chosen)


def read_ahead(examples: Sequence[Example], batches: Iterable[Batch]) -> Iterator[Inputs | None]:
    """Yield `read_batch` of each batch; the next one is read while one is in use."""
    with ThreadPoolExecutor(1) as reader:
        waiting: Future[Inputs | None] | None = None
        for batch in batches:
            following = reader.submit(read_batch, examples, batch)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def cut(num_examples: int, batch_size: int, *, smallest: int = 2) -> list[tuple[int, int]]:
    """Return the bounds of the batches; a last one that is too small joins the one before.

    >>> cut(5, 2)
    [(0, 2), (2, 5)]
    """
    starts = list(range(0, num_examples, batch_size))
    if len(starts) > 1 and num_examples - starts[-1] < smallest:
        starts.pop()
    return list(zip(starts, [*starts[1:], num_examples], strict=True))
