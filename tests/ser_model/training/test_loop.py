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


def test_training_stops_when_dev_no_longer_gets_better(
    recipe_maker: RecipeMaker, example_maker: ExampleMaker
) -> None:
    overrides = ("num_epochs=40", "selection.patience=2", "optimiser.learning_rate=0.3")
    result = train_small(recipe_maker(*overrides), example_maker)
    assert len(result.history) < 40
    best = result.history.index(result.best)
    assert len(result.history) - 1 - best == 2


def test_dev_is_looked_at_every_few_steps_and_at_the_end(
    recipe_maker: RecipeMaker, example_maker: ExampleMaker
) -> None:
    # 20 segments: batches of 8, 8, 4.
    recipe = recipe_maker("num_epochs=9", "max_steps=8", "selection.every_steps=3")
    result = train_small(recipe, example_maker)
    assert [(line.epoch, line.step) for line in result.history] == [(1, 3), (2, 6), (3, 8)]


def test_gradients_are_averaged_over_accumulated_batches(
    recipe_maker: RecipeMaker, example_maker: ExampleMaker
) -> None:
    recipe = recipe_maker("num_epochs=2", "num_accumulated=2")
    result = train_small(recipe, example_maker)
    assert [line.step for line in result.history] == [2, 4], "3 batches are 2 steps"
    # The mean squared error of two batches of 4 is that of one batch of 8.
    same = (
        "num_epochs=1",
        "max_steps=1",
        "loss.dimensions=mean_squared_error",
        "optimiser.kind=sgd",
        "crop_s=null",
        "lengths=pad",
        "freeze=[front_end, encoder]",
    )
    weights = []
    for overrides in (("batch_size=8",), ("batch_size=4", "num_accumulated=2")):
        recipe = recipe_maker(*same, *overrides)
        examples = example_maker(recipe, 8, seed=1)
        weights.append(train(recipe, new_model(recipe, DIMENSIONS), examples, examples).model)
    for one, two in zip(weights[0].parameters(), weights[1].parameters(), strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "metric"),
    [
        (("task=valence",), "concordance_cc_valence"),
        (("selection.metric=concordance_cc_arousal",), "concordance_cc_arousal"),
    ],
)
def test_the_best_is_what_the_recipe_says(
    recipe_maker: RecipeMaker,
    example_maker: ExampleMaker,
    overrides: tuple[str, ...],
    metric: str,
) -> None:
    result = train_small(recipe_maker("num_epochs=4", *overrides), example_maker)
    values = [line.dev[metric] for line in result.history]
    assert [line.dev["selection"] for line in result.history] == values
    assert result.best.dev[metric] == max(values)


def test_the_best_by_loss_has_the_lowest(
    recipe_maker: RecipeMaker, example_maker: ExampleMaker
) -> None:
    recipe = recipe_maker("num_epochs=4", "selection.metric=loss", "optimiser.learning_rate=0.1")
    result = train_small(recipe, example_maker)
    assert result.best.dev["loss"] == min(line.dev["loss"] for line in result.history)


def test_frozen_parts_do_not_move(recipe_maker: RecipeMaker, example_maker: ExampleMaker) -> None:
    recipe = recipe_maker("num_epochs=1", "freeze=[encoder]", "backbone.dropout=0.5")
    before = new_model(recipe, DIMENSIONS).state_dict()
    after = train_small(recipe, example_maker).model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith("backbone.blocks.") for name in moved)
    assert {"backbone.mel_norm.weight", "head.dense.weight"} <= moved


def test_bfloat16_learns_the_same_in_coarser_steps(
    recipe_maker: RecipeMaker, example_maker: ExampleMaker
) -> None:
    coarse = train_small(recipe_maker("num_epochs=2", "dtype=bfloat16"), example_maker)
    fine = train_small(recipe_maker("num_epochs=2"), example_maker)
    assert {value.dtype for value in coarse.model.parameters()} == {torch.float32}
    assert coarse.history[0].loss != fine.history[0].loss
    assert coarse.history[0].loss == pytest.approx(fine.history[0].loss, abs=0.02)


def test_a_loss_that_explodes_is_an_error(
    recipe_maker: RecipeMaker, example_maker: ExampleMaker
) -> None:
    recipe = recipe_maker("num_epochs=5", "optimiser.kind=sgd", "optimiser.learning_rate=1e30")
    with pytest.raises(ValueError, match=r"the loss is .* at step \d+; lower optimiser"):
        train_small(recipe, example_maker)
