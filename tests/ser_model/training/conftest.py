"""A recipe small enough to train in a second, and segments whose level is what they express."""

from collections.abc import Callable, Sequence

import pytest
import torch

from ser_model.schema import DIMENSIONS
from ser_model.training.examples import Example
from ser_model.training.loop import new_model
from ser_model.training.recipe import Recipe, load_recipe

SMALL = (
    "backbone.channels=[4,8]",
    "backbone.num_pools=2",
    "head.num_hidden=8",
    "batch_size=8",
    "crop_s=1.0",
)


def make_recipe(*overrides: str) -> Recipe:
    return load_recipe("demo", [*SMALL, *overrides])


def make_examples(
    recipe: Recipe, num_examples: int, *, seed: int, targets: Sequence[str] = DIMENSIONS
) -> list[Example]:
    """Noise: arousal is its level, dominance the opposite, valence its brightness."""
    generator = torch.Generator().manual_seed(seed)
    model = new_model(recipe, targets)
    examples = []
    for index in range(num_examples):
        arousal, valence = torch.rand(2, generator=generator)
        num_samples = int(torch.randint(8_000, 20_000, (), generator=generator))
        noise = torch.randn(num_samples + 1, generator=generator)
        noise = noise[1:] - (2 * valence - 1) * noise[:-1]
        waveform = noise * 10 ** (2 * arousal - 3)
        inputs, _ = model.prepare(waveform[None], torch.tensor([num_samples]))
        truth = torch.stack([arousal, 1 - arousal, valence])
        examples.append(
            Example(
                segment_id=f"segment-{index}",
                duration_s=num_samples / 16_000,
                inputs=inputs[0],
                truth=truth if recipe.model_task == "dimensions" else (arousal > 0.5).long(),
            )
        )
    return examples


@pytest.fixture
def recipe_maker() -> Callable[..., Recipe]:
    return make_recipe


@pytest.fixture
def example_maker() -> Callable[..., list[Example]]:
    return make_examples
