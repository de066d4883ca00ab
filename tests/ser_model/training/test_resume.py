"""A training dies of SIGKILL anywhere; the next one ends with the weights of one that lived."""

import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from ser_model import storage
from ser_model.models.storage import weights_sha256
from ser_model.schema import DIMENSIONS, RunError
from ser_model.training.checkpoint import Checkpoints
from ser_model.training.examples import Example
from ser_model.training.loop import TrainResult, new_model, train
from ser_model.training.recipe import Recipe

OVERRIDES = (
    "num_epochs=3",
    "head.dropout=0.3",
    "backbone.dropout=0.2",
    "num_accumulated=2",
    "batch_size=4",
)
OPTIMISERS = {
    "adamw": (),
    "sgd": ("optimiser.kind=sgd", "optimiser.learning_rate=0.05", "lengths=pad"),
    "uncorrected": ("optimiser.bias_correction=false", "selection.every_steps=2"),
}
Examples = list[Example]


def train_in(folder: Path, recipe: Recipe, examples: Examples) -> TrainResult:
    checkpoints = Checkpoints(str(folder), {"recipe": "this"}, every_s=0.0)
    model = new_model(recipe, DIMENSIONS)
    return train(recipe, model, examples[:18], examples[18:], checkpoints=checkpoints)


def die_at_write(folder: Path, recipe: Recipe, examples: Examples, num_writes: int) -> None:
    """Train in this process, and kill it before a write, or with a file half written."""
    left = num_writes
    write = storage.write_atomic

    def count_down(uri: str, data: bytes) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            Path(uri).parent.joinpath(".tmp-half").write_bytes(data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        write(uri, data)

    storage.write_atomic = count_down
    train_in(folder, recipe, examples)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A forked process has none of its parent's threads, and OpenMP would wait for them."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(params=list(OPTIMISERS))
def recipe(request: pytest.FixtureRequest, recipe_maker: Callable[..., Recipe]) -> Recipe:
    return recipe_maker(*OVERRIDES, *OPTIMISERS[request.param])


def test_killed_anywhere_it_ends_with_the_same_weights(
    recipe: Recipe, example_maker: Callable[..., Examples], tmp_path: Path
) -> None:
    examples = example_maker(recipe, 26, seed=1)
    lived = train_in(tmp_path / "lived", recipe, examples)
    folder = tmp_path / "killed"
    forked = get_context("fork")
    num_kills = 0
    for num_writes in (2, 1, 3, 5, 4, 6):
        process = forked.Process(target=die_at_write, args=(folder, recipe, examples, num_writes))
        process.start()
        process.join()
        num_kills += process.exitcode == -signal.SIGKILL
    assert num_kills >= 4
    resumed = train_in(folder, recipe, examples)
    assert weights_sha256(resumed.model) == weights_sha256(lived.model)
    assert resumed.history == lived.history


def test_what_is_finished_is_not_trained_again(
    recipe_maker: Callable[..., Recipe], example_maker: Callable[..., Examples], tmp_path: Path
) -> None:
    recipe = recipe_maker(*OVERRIDES)
    examples = example_maker(recipe, 26, seed=1)
    first = train_in(tmp_path, recipe, examples)
    seen: list[object] = []
    checkpoints = Checkpoints(str(tmp_path), {"recipe": "this"})
    again = train(
        recipe,
        new_model(recipe, DIMENSIONS),
        examples[:18],
        examples[18:],
        checkpoints=checkpoints,
        on_evaluation=seen.append,
    )
    assert seen == []
    assert weights_sha256(again.model) == weights_sha256(first.model)
    assert sorted(storage.list_names(str(tmp_path))) == sorted(
        ["progress.json", "state-0.safetensors", "state-1.safetensors"]
        + [n for n in storage.list_names(str(tmp_path)) if n.startswith("best-")]
    )
    checkpoints.delete()
    assert not tmp_path.exists()


def test_another_training_is_not_resumed(
    recipe_maker: Callable[..., Recipe], example_maker: Callable[..., Examples], tmp_path: Path
) -> None:
    recipe = recipe_maker(*OVERRIDES)
    train_in(tmp_path, recipe, example_maker(recipe, 26, seed=1))
    with pytest.raises(RunError, match=r"begun otherwise \(code, recipe differ\)"):
        Checkpoints(str(tmp_path), {"recipe": "other", "code": "1"}).load()
    for name in storage.list_names(str(tmp_path)):
        if name.startswith("state-"):
            tmp_path.joinpath(name).write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"not the file that progress.json speaks of"):
        Checkpoints(str(tmp_path), {"recipe": "this"}).load()
    tmp_path.joinpath("progress.json").write_text("[]")
    with pytest.raises(RunError, match="is no checkpoint"):
        Checkpoints(str(tmp_path), {"recipe": "this"}).load()
