"""A small model of random weights, whose batch norms have seen something."""

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
