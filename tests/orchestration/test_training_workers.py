"""Two workers train as one does with the whole batch: the loss is of the gathered scores."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from orchestration.training_workers import Job, train_on_workers
from ser_model.schema import DIMENSIONS
from ser_model.training.checkpoint import Checkpoints, Evaluation
from ser_model.training.examples import Example, InputStore
from ser_model.training.loop import TrainResult, new_model, train
from ser_model.training.recipe import Recipe, load_recipe

TOLERANCE = 2e-4
"""Of losses and CCC after six steps: sums of floats in another order."""

TINY_TRANSFORMER = (
    "backbone={kind: speech_transformer, family: wav2vec2, do_normalize: true, hidden_size: 16, "
    "num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16, "
    "conv_dim: [8, 8, 8, 8, 8, 8, 8], num_conv_pos_embeddings: 4, "
    "num_conv_pos_embedding_groups: 2, feat_extract_norm: layer, do_stable_layer_norm: true, "
    "hidden_dropout: 0.0, attention_dropout: 0.0, activation_dropout: 0.0}"
)


def make_recipe(*overrides: str) -> Recipe:
    fields = (TINY_TRANSFORMER, "crop_s=null", "lengths=pad", "batch_size=6", "num_epochs=2")
    return load_recipe("demo", [*fields, "optimiser.learning_rate=0.001", *overrides])


def make_examples(recipe: Recipe, num_examples: int, store: InputStore) -> list[Example]:
    generator = torch.Generator().manual_seed(1)
    model = new_model(recipe, DIMENSIONS)
    examples = []
    for number in range(num_examples):
        truth = torch.rand(3, generator=generator)
        num_samples = 1_000 + 100 * number
        row = truth[0] * torch.randn(num_samples, generator=generator)
        inputs, _ = model.prepare(row[None], torch.tensor([num_samples]))
        examples.append(
            Example(
                segment_id=str(number),
                duration_s=num_samples / 16_000,
                inputs=store.keep(inputs[0]),
                truth=truth,
            )
        )
    return examples


def alone(recipe: Recipe, examples: Sequence[Example]) -> TrainResult:
    return train(recipe, new_model(recipe, DIMENSIONS), examples[:17], examples[17:])


def together(recipe: Recipe, examples: Sequence[Example], folder: Path) -> TrainResult:
    checkpoints = Checkpoints(str(folder), {})
    job = Job(
        recipe=recipe,
        targets=DIMENSIONS,
        train_set=examples[:17],
        dev_set=examples[17:],
        checkpoints=checkpoints,
        device="cpu",
    )
    seen: list[Evaluation] = []
    train_on_workers(job, 2, seen.append)
    result = train(
        recipe,
        new_model(recipe, DIMENSIONS),
        examples[:17],
        examples[17:],
        checkpoints=checkpoints,
        on_evaluation=lambda _: pytest.fail("the workers have trained it all"),
    )
    assert tuple(seen) == result.history
    return result


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("accumulated", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_two_workers_learn_what_one_learns(tmp_path: Path, accumulated: int) -> None:
    recipe = make_recipe(f"num_accumulated={accumulated}")
    store = InputStore(tmp_path / "inputs.f32", max_memory_bytes=0)
    examples = make_examples(recipe, 25, store)
    one, two = alone(recipe, examples), together(recipe, examples, tmp_path / "two")
    assert len(one.history) == len(two.history) == 2
    for expected, found in zip(one.history, two.history, strict=True):
        assert found.step == expected.step
        assert found.loss == pytest.approx(expected.loss, abs=TOLERANCE)
        assert found.dev == pytest.approx(expected.dev, abs=TOLERANCE)
    assert one.history[0].loss != pytest.approx(one.history[1].loss, abs=10 * TOLERANCE)


@pytest.mark.usefixtures("ray_cluster")
def test_what_a_worker_cannot_train_is_an_error_here(tmp_path: Path) -> None:
    recipe = make_recipe("optimiser.learning_rate=1e30")
    store = InputStore(tmp_path / "inputs.f32", max_memory_bytes=0)
    examples = make_examples(recipe, 25, store)
    with pytest.raises(ValueError, match=r"the loss is (nan|inf) at step"):
        together(recipe, examples, tmp_path / "two")
