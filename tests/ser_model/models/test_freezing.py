import pytest
import torch

from ser_model.models.base import EmotionModel, ModelConfig, build_model
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.head import HeadConfig
from ser_model.models.speech_transformer_config import SpeechTransformerConfig
from ser_model.schema import DIMENSIONS

BACKBONES = {
    "cnn14": Cnn14Config(channels=(4, 8), num_pools=1, dropout=0.5),
    "transformer": SpeechTransformerConfig(
        family="hubert",
        do_normalize=False,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    ),
}


@pytest.fixture(params=list(BACKBONES))
def model(request: pytest.FixtureRequest) -> EmotionModel:
    config = ModelConfig(
        task="dimensions",
        targets=DIMENSIONS,
        backbone=BACKBONES[request.param],
        pooling="mean",
        head=HeadConfig(num_hidden=8),
    )
    return build_model(config, seed=0).train()


def moved(model: EmotionModel) -> set[str]:
    """Take two steps of training; return the names of the parameters and buffers that moved."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        rows_BN = torch.randn(4, 8_000, generator=generator)
        scores_BK = model(rows_BN, torch.full((4,), 8_000)).scores
        optimiser.zero_grad()
        (scores_BK - 0.5).square().mean().backward()
        optimiser.step()
    return {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }


@pytest.mark.parametrize("part", ["front_end", "encoder"])
def test_what_is_frozen_stays_and_the_rest_moves(model: EmotionModel, part: str) -> None:
    other = "encoder" if part == "front_end" else "front_end"
    frozen, free = model.backbone.modules_of(part), model.backbone.modules_of(other)
    model.freeze((part,))
    names = {id(value): name for name, value in model.named_parameters()}
    names |= {id(value): name for name, value in model.named_buffers()}
    changed = moved(model)
    of_frozen = {names[id(v)] for m in frozen for v in (*m.parameters(), *m.buffers())}
    of_free = {names[id(v)] for m in free for v in m.parameters()}
    assert of_frozen
    assert not changed & of_frozen
    assert changed & of_free
    assert any(name.startswith("head.") for name in changed)


def test_frozen_parts_stay_in_eval_mode(model: EmotionModel) -> None:
    model.freeze(("front_end", "encoder"))
    model.eval().train()
    for part in ("front_end", "encoder"):
        for module in model.backbone.modules_of(part):
            assert not any(layer.training for layer in module.modules())
    assert model.head.training
