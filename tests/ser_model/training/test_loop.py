from collections.abc import Callable

import pytest
import torch

from ser_model.models.base import EmotionModel
from ser_model.models.storage import weights_sha256
from ser_model.schema import DIMENSIONS
from ser_model.training.checkpoint import Evaluation
from ser_model.training.evaluation import dev_metrics, score_examples
from ser_model.training.examples import Example, truth_of
from ser_model.training.loop import TrainResult, new_model, train
from ser_model.training.losses import make_loss
from ser_model.training.recipe import Recipe

RecipeMaker = Callable[..., Recipe]
ExampleMaker = Callable[..., list[Example]]


def evaluate(recipe: Recipe, model: EmotionModel, examples: list[Example]) -> dict[str, float]:
    loss = make_loss(recipe, truth_of(examples), len(model.targets))
    return dev_metrics(score_examples(model, examples, recipe), recipe, model.targets, loss)


def train_small(recipe: Recipe, example_maker: ExampleMaker) -> TrainResult:
    train_set = example_maker(recipe, 20, seed=1)
    dev_set = example_maker(recipe, 10, seed=2)
    return train(recipe, new_model(recipe, DIMENSIONS), train_set, dev_set)


def test_training_really_trains(recipe_maker: RecipeMaker, example_maker: ExampleMaker) -> None:
    recipe = recipe_maker("num_epochs=35", "optimiser.learning_rate=0.01")
    examples = example_maker(recipe, 16, seed=1)
    model = new_model(recipe, DIMENSIONS)
    before = evaluate(recipe, model, examples)
    result = train(recipe, model, examples, examples)
    after = evaluate(recipe, result.model, examples)
    assert before["selection"] < 0.3
    assert min(value for name, value in after.items() if "concordance" in name) > 0.9


def test_emotions_are_trained_and_selected_by_recall(
    recipe_maker: RecipeMaker, example_maker: ExampleMaker
) -> None:
    recipe = recipe_maker("task=emotion", "num_epochs=15", "optimiser.learning_rate=0.01")
    targets = ("calm", "excited")
    examples = example_maker(recipe, 24, seed=1, targets=targets)
    result = train(recipe, new_model(recipe, targets), examples, examples)
    best = result.best.dev
    assert best["unweighted_average_recall"] == best["selection"] > 0.95
    assert best["accuracy"] > 0.95


def test_the_seed_decides_the_weights(
    recipe_maker: RecipeMaker, example_maker: ExampleMaker
) -> None:
    torch.manual_seed(1)
    first = train_small(recipe_maker("num_epochs=2", "head.dropout=0.2"), example_maker)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = train_small(recipe_maker("num_epochs=2", "head.dropout=0.2"), example_maker)
    other = train_small(recipe_maker("num_epochs=2", "head.dropout=0.2", "seed=1"), example_maker)
    assert torch.equal(torch.get_rng_state(), state), "torch's own random state must stay"
    assert first.history == again.history
    assert weights_sha256(first.model) == weights_sha256(again.model)
    assert weights_sha256(first.model) != weights_sha256(other.model)


def test_the_best_epoch_on_dev_is_kept(
    recipe_maker: RecipeMaker, example_maker: ExampleMaker
) -> None:
    recipe = recipe_maker("num_epochs=6", "optimiser.learning_rate=0.3")
    train_set = example_maker(recipe, 20, seed=1)
    dev_set = example_maker(recipe, 10, seed=2)
    seen: list[Evaluation] = []
    result = train(
        recipe, new_model(recipe, DIMENSIONS), train_set, dev_set, on_evaluation=seen.append
    )
    selections = [epoch.dev["selection"] for epoch in result.history]
    assert tuple(seen) == result.history
    assert len(set(selections)) > 1
    assert result.best.epoch == selections.index(max(selections)) + 1
    assert evaluate(recipe, result.model, dev_set)["selection"] == pytest.approx(
        max(selections), abs=1e-5
    )
    assert not result.model.training


@pytest.mark.parametrize(
    ("overrides", "num_train", "message"),
    [
        ((), 1, "at least 2 segments, not 1"),
        (("crop_s=0.01",), 8, "crop_s 0.01 is shorter than"),
    ],
)
def test_too_little_to_train_on_is_refused(
    recipe_maker: RecipeMaker,
    example_maker: ExampleMaker,
    overrides: tuple[str, ...],
    num_train: int,
    message: str,
) -> None:
    recipe = recipe_maker(*overrides)
    examples = example_maker(recipe, 8, seed=1)
    with pytest.raises(ValueError, match=message):
        train(recipe, new_model(recipe, DIMENSIONS), examples[:num_train], examples)


def test_a_dev_split_without_variance_is_refused(
    recipe_maker: RecipeMaker, example_maker: ExampleMaker
) -> None:
    recipe = recipe_maker("num_epochs=1")
    examples = example_maker(recipe, 8, seed=1)
    with pytest.raises(ValueError, match="does the truth of dev vary"):
        train(recipe, new_model(recipe, DIMENSIONS), examples, examples[:1])
