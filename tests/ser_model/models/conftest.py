"""A small model of random weights, whose batch norms have seen something."""

import copy
from collections.abc import Callable

import pytest
import torch

from ser_model.models.base import EmotionModel, ModelConfig, build_model
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.head import HeadConfig
from ser_model.schema import DIMENSIONS

ModelMaker = Callable[..., EmotionModel]


def make_model(
    *, pool: str = "avg", pooling: str = "max_plus_mean", **fields: object
) -> EmotionModel:
    config = ModelConfig(
        **{
            "task": "dimensions",
            "targets": DIMENSIONS,
            "backbone": Cnn14Config(channels=(4, 8, 8), pool=pool, num_pools=2),
            "pooling": pooling,
            "head": HeadConfig(num_hidden=8),
            **fields,
        }
    )
    model = build_model(config, seed=1)
    generator = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            module.bias.data.normal_(generator=generator)
    return model.eval()


@pytest.fixture
def model_maker() -> ModelMaker:
    return make_model


def pool_plainly(model: EmotionModel, frames_TD: torch.Tensor) -> torch.Tensor:
    """One segment's frames to one vector, as the papers write it: no batch, no mask."""
    mean, maximum = frames_TD.mean(dim=0), frames_TD.max(dim=0).values
    if model.config.pooling != "attentive_statistics":
        plain = {"mean": mean, "max": maximum, "sum": frames_TD.sum(dim=0)}
        return {**plain, "max_plus_mean": maximum + mean}[model.config.pooling]
    # In float64: the paper's difference of squares loses the digits of a small variance.
    frames_TD = frames_TD.double()
    attention = copy.deepcopy(model.pooling.attention).double()
    score_T1 = torch.tanh(frames_TD @ attention.dense.weight.T + attention.dense.bias)
    score_T1 = score_T1 @ attention.score.weight.T
    weight_T1 = score_T1.exp() / score_T1.exp().sum()
    mean = (weight_T1 * frames_TD).sum(dim=0)
    variance = (weight_T1 * frames_TD.square()).sum(dim=0) - mean.square()
    # 1e-8: a floor below which no variance falls.
    return torch.cat([mean, variance.clamp(min=1e-8).sqrt()]).float()


@pytest.fixture
def plain_pool() -> Callable[[EmotionModel, torch.Tensor], torch.Tensor]:
    return pool_plainly
