"""The training really trains: DistilHuBERT, and one that is narrower, learn 64 segments."""

import pytest
import torch

from ser_model.schema import DIMENSIONS
from ser_model.training.examples import Example
from ser_model.training.loop import new_model, train
from ser_model.training.recipe import load_recipe

# Two layers, as DistilHuBERT has, its group norm and no norm before the projection; narrower.
TINY_DISTILHUBERT = (
    "backbone={kind: speech_transformer, family: hubert, do_normalize: false, hidden_size: 48, "
    "num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 96, "
    "feat_proj_layer_norm: false, conv_dim: [32, 32, 32, 32, 32, 32, 32], "
    "num_conv_pos_embeddings: 16, num_conv_pos_embedding_groups: 4, hidden_dropout: 0.0, "
    "attention_dropout: 0.0, activation_dropout: 0.0}"
)
RECIPE = (
    TINY_DISTILHUBERT,
    "head={num_hidden: 48, activation: tanh}",
    "freeze=[front_end]",
    "optimiser={kind: adam, learning_rate: 2.0e-3, weight_decay: 0.0}",
    "schedule.warmup=0.1",
    "batch_size=16",
    "num_epochs=60",
    "crop_s=null",
    "lengths=pad",
)

DISTILHUBERT = (
    "backbone.pretrained=null",
    "backbone.hidden_dropout=0.0",
    "backbone.attention_dropout=0.0",
    "backbone.activation_dropout=0.0",
    "backbone.feat_proj_dropout=0.0",
    "head.dropout=0.0",
    "pooling=mean",
    "optimiser={kind: adam, learning_rate: 1.0e-4, weight_decay: 0.0, max_grad_norm: 1.0}",
    "schedule={kind: linear, warmup: 0.1}",
    "selection.patience=null",
    "batch_size=8",
    "num_epochs=50",
)


def make_examples() -> list[Example]:
    """Noise of some colour, with a tone of some pitch: what it expresses, and their mean."""
    generator = torch.Generator().manual_seed(0)
    examples = []
    for number in range(64):
        num_samples = int(torch.randint(5_000, 8_000, (), generator=generator))
        colour, pitch = torch.rand(2, generator=generator).tolist()
        noise = torch.randn(num_samples + 1, generator=generator)
        noise = noise[1:] - (2 * colour - 1) * noise[:-1]
        phase = 2 * torch.pi * (300 + 2_000 * pitch) * torch.arange(num_samples) / 16_000
        waveform = 0.1 * noise + 0.2 * torch.sin(phase)
        examples.append(
            Example(
                segment_id=str(number),
                duration_s=num_samples / 16_000,
                inputs=waveform,
                truth=torch.tensor([colour, (colour + pitch) / 2, pitch]),
            )
        )
    return examples


@pytest.mark.slow
def test_a_small_distilhubert_learns_64_segments() -> None:
    recipe = load_recipe("demo", RECIPE)
    model = new_model(recipe, DIMENSIONS)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    examples = make_examples()
    result = train(recipe, model, examples, examples)
    assert min(v for name, v in result.best.dev.items() if name.startswith("concordance")) > 0.95
    after = result.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    frozen = {name for name in before if ".feature_extractor." in name}
    assert len(frozen) == 9
    assert not moved & frozen
    assert any(".encoder.layers.1." in name for name in moved)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_whole_distilhubert_learns_64_segments() -> None:
    recipe = load_recipe("deoliveira/distilhubert", DISTILHUBERT)
    model = new_model(recipe, DIMENSIONS)
    assert sum(parameter.numel() for parameter in model.parameters()) > 23_000_000
    examples = make_examples()
    result = train(recipe, model, examples, examples)
    assert min(v for name, v in result.best.dev.items() if name.startswith("concordance")) > 0.95
