"""Poolings: frames that are padding never count, and every gradient is finite."""

from collections.abc import Callable
from typing import get_args

import pytest
import torch

from ser_model.models.base import EmotionModel
from ser_model.models.pooling import Pooling, PoolingName

POOLINGS = get_args(PoolingName)


@pytest.mark.parametrize("padding", [0.0, 1e30, torch.inf, torch.nan])
@pytest.mark.parametrize("name", POOLINGS)
def test_what_stands_in_padding_does_not_matter(name: PoolingName, padding: float) -> None:
    torch.manual_seed(0)
    pooling = Pooling(name, num_hidden=6)
    frames_TD = torch.randn(5, 6)
    padded_BTD = torch.cat([frames_TD, torch.full((3, 6), padding)])[None]
    mask_BT = torch.arange(8)[None] < 5
    alone_BD = pooling(frames_TD[None], mask_BT[:, :5])
    torch.testing.assert_close(pooling(padded_BTD, mask_BT), alone_BD, rtol=0.0, atol=1e-6)
    assert alone_BD.shape == (1, pooling.num_pooled)


@pytest.mark.parametrize("num_frames", [1, 2, 40])
@pytest.mark.parametrize("name", POOLINGS)
def test_every_gradient_is_finite(name: PoolingName, num_frames: int) -> None:
    torch.manual_seed(0)
    pooling = Pooling(name, num_hidden=4)
    hidden_BTD = torch.ones(2, num_frames, 4, requires_grad=True)
    mask_BT = torch.arange(num_frames) < torch.tensor([[1], [num_frames]])
    pooling(hidden_BTD, mask_BT).sum().backward()
    assert hidden_BTD.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in pooling.parameters())


def test_attention_weighs_frames_and_gives_their_spread() -> None:
    pooling = Pooling("attentive_statistics", num_hidden=1)
    with torch.no_grad():
        pooling.attention.dense.weight.fill_(1.0)
        pooling.attention.dense.bias.zero_()
        # Alike for all features: a frame's score is log(3) * tanh(h) / tanh(1).
        pooling.attention.score.weight.fill_(
            torch.log(torch.tensor(3.0)) / torch.tanh(torch.tensor(1.0)) / 128
        )
    hidden_BTD = torch.tensor([[[0.0], [1.0]]])
    pooled_BD = pooling(hidden_BTD, torch.ones(1, 2, dtype=torch.bool))
    # Weights 1/4 and 3/4: the mean is 3/4, the variance 3/16.
    assert pooled_BD[0].tolist() == pytest.approx([0.75, 3**0.5 / 4], abs=1e-6)


def test_poolings_without_attention_have_no_weights_to_store(
    model_maker: Callable[..., EmotionModel],
) -> None:
    names = {
        name: [key for key in model_maker(pooling=name).state_dict() if key.startswith("pooling")]
        for name in POOLINGS
    }
    attention = names.pop("attentive_statistics")
    assert attention == [
        "pooling.attention.dense.weight",
        "pooling.attention.dense.bias",
        "pooling.attention.score.weight",
    ]
    assert not any(names.values())
