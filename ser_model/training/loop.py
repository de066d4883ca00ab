"""The training loop: seeded, best-on-dev, resumable, over inputs that were prepared once.

Shapes: B batch, T frames (or samples), D dimensions, K scores.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from ser_model.audio import SAMPLING_RATE_HZ
from ser_model.models.base import EmotionModel
from ser_model.models.head import Head
from ser_model.models.pretrained import initial_model
from ser_model.training.batches import Batch, Inputs, epochs, read_ahead
from ser_model.training.checkpoint import Checkpoints, Evaluation, Progress, State
from ser_model.training.evaluation import ALONE, dev_metrics, score_batch, score_examples
from ser_model.training.examples import Example, transcripts_of, truth_of
from ser_model.training.losses import make_loss
from ser_model.training.machine import machine_name
from ser_model.training.optimisers import (
    load_optimiser_tensors,
    make_optimiser,
    optimiser_tensors,
    rate_factor,
)
from ser_model.training.recipe import Recipe
from ser_model.training.workers import Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """A trained model, in eval mode with its best weights on dev, and how it came to be.

    Attributes:
        model: on the CPU.
        history: all looks at dev.
        best: the one whose weights were kept.
        machines: that it was trained on, one after the other.
    """

    model: EmotionModel
    history: tuple[Evaluation, ...]
    best: Evaluation
    machines: tuple[str, ...] = ()


def new_model(
    recipe: Recipe, targets: Sequence[str], train_set: Sequence[Example] = ()
) -> EmotionModel:
    """Return the model that a recipe's training begins with.

    Args:
        recipe: how it is made.
        targets: what its scores will mean.
        train_set: a model of text without a checkpoint has the vocabulary of its transcripts; none
            where the model is not to be trained.

    Raises:
        ModelError: its backbone's pretrained weights cannot be read, or do not fit.
    """
    transcripts = transcripts_of(train_set)
    return initial_model(recipe.model_config(targets), recipe.seed, transcripts)


def train(
    recipe: Recipe,
    model: EmotionModel,
    train_set: Sequence[Example],
    dev_set: Sequence[Example],
    *,
    on_evaluation: Callable[[Evaluation], None] | None = None,
    checkpoints: Checkpoints | None = None,
    workers: Workers = ALONE,
    device: str = "cpu",
) -> TrainResult:
    """Train a model and keep the weights that are best on dev.

    The same recipe, examples and machine give the same weights, killed and resumed or not; the
    random states of torch, numpy and Python stay as they were.

    Args:
        recipe: how.
        model: made by `new_model`; it is trained in place.
        train_set: prepared by the model; at least two.
        dev_set: of other speakers.
        on_evaluation: called after each look at dev; those before a resume are not repeated.
        checkpoints: where to resume from, and to write to; None for neither.
        workers: the processes that train together; this is one of them.
        device: "cpu" or "cuda".

    Raises:
        ValueError: too few examples, crops too short for the model, a loss that is not finite, or
            dev examples whose truth does not vary.
        RunError: the checkpoints are of another training.
    """
    _check(recipe, model, train_set)
    training = _Training(recipe, model, train_set, dev_set, checkpoints, workers, device)
    with _own_random_states():
        training.run(on_evaluation or (lambda _: None))
    return training.result()


def num_steps_of(recipe: Recipe, num_batches: int) -> int:
    """Return the steps of a training with so many batches an epoch, if nothing ends it early."""
    num_steps = recipe.num_epochs * -(-num_batches // recipe.num_accumulated)
    return min(num_steps, recipe.max_steps or num_steps)


class _Training:
    """The parts of a training and where it is."""

    def __init__(
        self,
        recipe: Recipe,
        model: EmotionModel,
        train_set: Sequence[Example],
        dev_set: Sequence[Example],
        checkpoints: Checkpoints | None,
        workers: Workers,
        device: str,
    ) -> None:
        self.recipe, self.train_set, self.dev_set = recipe, train_set, dev_set
        self.checkpoints, self.workers, self.device = checkpoints, workers, device
        truth = truth_of(train_set)
        self.model = model.to(device)
        if model.task == "dimensions":
            assert isinstance(model.head, Head), "other heads are not trained by gradients"
            # CCC punishes a shifted mean most of all: begin where the truth is.
            model.head.out_proj.bias.data.copy_(truth.mean(dim=0))
        model.freeze(recipe.freeze)
        self.loss = make_loss(recipe, truth, len(model.targets))
        self.optimiser = make_optimiser(recipe.optimiser, model.parameters())
        self.progress = Progress()
        self.best_weights: dict[str, Tensor] = {}
        self.began_s = self.last_checkpoint_s = time.monotonic()

    def run(self, on_evaluation: Callable[[Evaluation], None]) -> None:
        """Train from where the last checkpoint is to the end."""
        self._resume()
        progress = self.progress
        for batches in islice(epochs(self.train_set, self.recipe), progress.epoch, None):
            if progress.finished:
                return
            num_steps = num_steps_of(self.recipe, len(batches))
            for group in self._groups(batches):
                self._step(group, num_steps)
                progress.step_in_epoch += 1
                ended = progress.step_in_epoch * self.recipe.num_accumulated >= len(batches)
                progress.finished = progress.step >= num_steps
                if self._is_time_to_look(ended):
                    on_evaluation(self._look_at_dev())
                if ended:
                    progress.epoch, progress.step_in_epoch = progress.epoch + 1, 0
                self._save(ended or progress.finished)
                if progress.finished:
                    return

    def result(self) -> TrainResult:
        """Return the model with its best weights."""
        if self.progress.best is None:
            raise ValueError("no look at dev has a finite metric: does the truth of dev vary?")
        self.model.cpu().load_state_dict(self.best_weights)
        history = tuple(self.progress.history)
        return TrainResult(
            model=self.model.eval(),
            history=history,
            best=history[self.progress.best],
            machines=tuple(self.progress.machines),
        )

    def _resume(self) -> None:
        state = None if self.checkpoints is None else self.checkpoints.load()
        if state is not None:
            self.progress, self.best_weights = state.progress, dict(state.best_weights)
            self.model.load_state_dict(dict(state.weights))
            load_optimiser_tensors(self.optimiser, dict(state.optimiser))
        self.began_s = time.monotonic() - self.progress.elapsed_s
        machine = machine_name(self.device, self.workers.count)
        if not self.progress.finished and machine not in self.progress.machines:
            self.progress.machines.append(machine)

    def _groups(self, batches: Sequence[Batch]) -> Iterator[list[tuple[Batch, Inputs | None]]]:
        """Yield the steps that are left of an epoch: batches, and this worker's part of each."""
        size = self.recipe.num_accumulated
        left = batches[self.progress.step_in_epoch * size :]
        inputs = read_ahead(self.train_set, (self.workers.part(batch) for batch in left))
        pairs = zip(left, inputs, strict=True)
        while group := list(islice(pairs, size)):
            yield group

    def _step(self, group: Sequence[tuple[Batch, Inputs | None]], num_steps: int) -> None:
        self.model.train()
        self.optimiser.zero_grad()
        for number, (batch, inputs) in enumerate(group):
            _seed(self.recipe.seed, self.progress.step, number, self.workers.rank)
            loss = self._loss_of(batch, inputs)
            self.progress.losses.append(loss.item())
            if not math.isfinite(loss.item()):
                raise ValueError(
                    f"the loss is {loss.item()} at step {self.progress.step + 1}; lower "
                    "optimiser.learning_rate, or set optimiser.max_grad_norm"
                )
            if loss.requires_grad:
                (loss / len(group)).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.workers.add_gradients(self.model)
        optimiser = self.recipe.optimiser
        if optimiser.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), optimiser.max_grad_norm)
        factor = rate_factor(self.recipe.schedule, self.progress.step, num_steps)
        for settings in self.optimiser.param_groups:
            settings["lr"] = optimiser.learning_rate * factor
        self.optimiser.step()
        self.progress.step += 1

    def _loss_of(self, batch: Batch, inputs: Inputs | None) -> Tensor:
        """Return the loss of a whole batch, of which this worker scores its part."""
        if inputs is None:
            scores_BK = torch.zeros(0, len(self.model.targets), device=self.device)
        else:
            scores_BK = score_batch(self.model, *inputs, self.recipe, self.device)
        truth = truth_of([self.train_set[stretch.index] for stretch in batch])
        return self.loss(self.workers.gather_scores(scores_BK, len(batch)), truth.to(self.device))

    def _is_time_to_look(self, epoch_ended: bool) -> bool:
        every = self.recipe.selection.every_steps
        due = epoch_ended if every is None else self.progress.step % every == 0
        return due or self.progress.finished

    def _look_at_dev(self) -> Evaluation:
        """Evaluate on the whole of dev; keep the weights if they are the best, or stop early."""
        progress, targets = self.progress, self.model.targets
        scored = score_examples(
            self.model, self.dev_set, self.recipe, workers=self.workers, device=self.device
        )
        evaluation = Evaluation(
            epoch=progress.epoch + 1,
            step=progress.step,
            loss=float(np.mean(progress.losses)),
            dev=dev_metrics(scored, self.recipe, targets, self.loss),
            elapsed_s=time.monotonic() - self.began_s,
        )
        progress.losses = []
        progress.history.append(evaluation)
        best = (
            -math.inf if progress.best is None else progress.history[progress.best].dev["selection"]
        )
        if evaluation.dev["selection"] > best:
            progress.best = len(progress.history) - 1
            self.best_weights = {
                name: value.detach().cpu().clone()
                for name, value in self.model.state_dict().items()
            }
        num_worse = len(progress.history) - 1 - (-1 if progress.best is None else progress.best)
        patience = self.recipe.selection.patience
        progress.finished = progress.finished or (patience is not None and num_worse >= patience)
        return evaluation

    def _save(self, due: bool) -> None:
        if self.checkpoints is None or self.workers.rank > 0:
            return
        if due or time.monotonic() - self.last_checkpoint_s >= self.checkpoints.every_s:
            self.progress.elapsed_s = time.monotonic() - self.began_s
            state = State(
                progress=self.progress,
                weights=self.model.state_dict(),
                optimiser=optimiser_tensors(self.optimiser),
                best_weights=self.best_weights,
            )
            self.checkpoints.save(state)
            self.last_checkpoint_s = time.monotonic()


def _check(recipe: Recipe, model: EmotionModel, train_set: Sequence[Example]) -> None:
    if recipe.crop_s is not None and recipe.crop_s * SAMPLING_RATE_HZ < model.min_samples:
        raise ValueError(
            f"crop_s {recipe.crop_s} is shorter than the {model.min_samples} samples at "
            f"{SAMPLING_RATE_HZ} Hz that the model needs"
        )
    if len(train_set) < 2:
        raise ValueError(f"training needs at least 2 segments, not {len(train_set)}")


def _seed(*numbers: int) -> None:
    """Seed what dropout, layer drop and SpecAugment draw from, anew for each batch of a step."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    torch.manual_seed(seed)
    np.random.seed(seed)  # transformers draws its masks from it
    random.seed(seed)


@contextmanager
def _own_random_states() -> Iterator[None]:
    """Give the random states back as they were: whoever called has use for them."""
    of_numpy, of_python = np.random.get_state(), random.getstate()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        np.random.set_state(of_numpy)
        random.setstate(of_python)
