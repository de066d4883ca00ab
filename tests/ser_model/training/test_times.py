"""How long a training took is known of every look at dev, in whatever parts it was trained."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ser_model.schema import DIMENSIONS
from ser_model.training import loop
from ser_model.training.checkpoint import Checkpoints, Evaluation
from ser_model.training.examples import Example
from ser_model.training.loop import TrainResult, new_model, train
from ser_model.training.recipe import Recipe

EPOCH_S = 60.0


class Clock:
    """Stands still but for what a look at dev is said to take."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def monotonic(self) -> float:
        return self.now_s


class KilledError(Exception):
    """Ends a training in the middle."""


@pytest.fixture
def recipe(recipe_maker: Callable[..., Recipe]) -> Recipe:
    return recipe_maker("num_epochs=4", "batch_size=8")


def train_by(
    clock: Clock,
    recipe: Recipe,
    examples: list[Example],
    checkpoints: Checkpoints | None,
    monkeypatch: pytest.MonkeyPatch,
    last_epoch: int = 99,
) -> TrainResult:
    def look_at_dev(*args: object, **named: object) -> object:
        clock.now_s += EPOCH_S
        return score_examples(*args, **named)

    def die(evaluation: Evaluation) -> None:
        if evaluation.epoch > last_epoch:
            raise KilledError

    score_examples = loop.score_examples
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", clock)
        patch.setattr(loop, "score_examples", look_at_dev)
        model = new_model(recipe, DIMENSIONS)
        return train(
            recipe, model, examples[:18], examples[18:], on_evaluation=die, checkpoints=checkpoints
        )


def test_each_look_at_dev_says_how_long_it_took_to_get_there(
    recipe: Recipe, example_maker: Callable[..., list[Example]], monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = example_maker(recipe, 26, seed=1)
    result = train_by(Clock(1000.0), recipe, examples, None, monkeypatch)
    assert [line.elapsed_s for line in result.history] == [60.0, 120.0, 180.0, 240.0]


def test_the_parts_of_a_resumed_training_add_up(
    recipe: Recipe,
    example_maker: Callable[..., list[Example]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    examples = example_maker(recipe, 26, seed=1)
    checkpoints = Checkpoints(str(tmp_path), {})
    with pytest.raises(KilledError):
        train_by(Clock(5000.0), recipe, examples, checkpoints, monkeypatch, last_epoch=2)
    monkeypatch.setattr(loop, "machine_name", lambda device, num_workers: "another")
    result = train_by(Clock(7.0), recipe, examples, checkpoints, monkeypatch)
    # The third epoch, which no checkpoint knew of, was trained twice and counts once.
    assert [line.elapsed_s for line in result.history] == [60.0, 120.0, 180.0, 240.0]
    assert len(result.machines) == 2
    assert result.machines[1] == "another"
    again = train_by(Clock(9e9), recipe, examples, checkpoints, monkeypatch)
    assert [line.elapsed_s for line in again.history] == [60.0, 120.0, 180.0, 240.0]
    assert again.machines == result.machines
