from collections.abc import Callable
from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from ser_model.models.base import EmotionModel, ModelConfig, build_model
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.head import HeadConfig
from ser_model.models.pooling import PoolingName
from ser_model.schema import DIMENSIONS

LENGTHS = [480, 1601, 4799, 4800, 4961, 7777, 12_000]


PlainPool = Callable[[EmotionModel, torch.Tensor], torch.Tensor]


def plain_forward(
    model: EmotionModel, waveform: torch.Tensor, plain_pool: PlainPool
) -> torch.Tensor:
    """One segment through the network as PANNs writes it: no batch, no mask, torch's own STFT."""
    weights = model.state_dict()
    config = model.config.backbone

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        parts = [weights[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *parts)

    spectrum = torch.stft(
        waveform, 512, 160, window=torch.hann_window(512), pad_mode="reflect", return_complex=True
    )
    mel = model.backbone.logmel.filters_FM.T @ spectrum.abs().square()
    x = norm((10 * mel.clamp(min=1e-10).log10())[None, :, :, None], "backbone.mel_norm")
    x = x.permute(0, 3, 2, 1)
    for index in range(len(config.channels)):
        block = f"backbone.blocks.{index}"
        for conv in ("1", "2"):
            x = F.conv2d(x, weights[f"{block}.conv{conv}.weight"], padding=1)
            x = F.relu(norm(x, f"{block}.norm{conv}"))
        if index < config.num_pools:
            x = F.avg_pool2d(x, 2) if config.pool == "avg" else F.max_pool2d(x, 2)
    pooled = plain_pool(model, x.mean(dim=3)[0].T)
    hidden = F.linear(pooled, weights["head.dense.weight"], weights["head.dense.bias"])
    hidden = torch.tanh(hidden) if model.config.head.activation == "tanh" else F.relu(hidden)
    return F.linear(hidden, weights["head.out_proj.weight"], weights["head.out_proj.bias"])


def waveforms(lengths: list[int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [0.1 * torch.randn(length, generator=generator) for length in lengths]


@torch.inference_mode()
@pytest.mark.parametrize("pool", ["avg", "max"])
@pytest.mark.parametrize("pooling", get_args(PoolingName))
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_padded_batch_scores_as_the_plain_network_does_each_segment(
    model_maker: Callable[..., EmotionModel],
    plain_pool: PlainPool,
    pool: str,
    pooling: str,
    activation: str,
) -> None:
    head = HeadConfig(num_hidden=8, activation=activation)
    model = model_maker(pool=pool, pooling=pooling, head=head)
    rows = waveforms(LENGTHS)
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    output = model(batch, torch.tensor(LENGTHS))
    for row, scores, embedding in zip(rows, output.scores, output.embedding, strict=True):
        alone = model(row[None], torch.tensor([len(row)]))
        torch.testing.assert_close(
            scores, plain_forward(model, row, plain_pool), atol=1e-5, rtol=1e-5
        )
        torch.testing.assert_close(scores, alone.scores[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(embedding, alone.embedding[0], atol=1e-5, rtol=0)
    assert output.scores.std(dim=0).min() > 1e-3, "the scores must depend on the segment"


@torch.inference_mode()
def test_what_stands_behind_the_end_does_not_matter(
    model_maker: Callable[..., EmotionModel],
) -> None:
    model = model_maker()
    silence = torch.zeros(1, 9000)
    noise = 5 * torch.randn(1, 9000, generator=torch.Generator().manual_seed(0))
    (row,) = waveforms([4961])
    silence[0, :4961] = noise[0, :4961] = row
    num_samples = torch.tensor([4961])
    torch.testing.assert_close(
        model(silence, num_samples).scores, model(noise, num_samples).scores, atol=1e-5, rtol=0
    )


@torch.inference_mode()
@pytest.mark.parametrize(("num_pools", "min_samples"), [(0, 257), (1, 257), (2, 480), (3, 1120)])
def test_the_shortest_segment_scores_and_a_shorter_one_is_refused(
    model_maker: Callable[..., EmotionModel], num_pools: int, min_samples: int
) -> None:
    model = model_maker(backbone=Cnn14Config(channels=(4, 4, 4), num_pools=num_pools))
    assert model.min_samples == min_samples
    (row,) = waveforms([min_samples])
    assert model(row[None], torch.tensor([min_samples])).scores.isfinite().all()
    with pytest.raises(ValueError, match=f"{min_samples - 1} samples; the model needs"):
        model(row[None], torch.tensor([min_samples - 1]))


def test_cnn14_at_full_width_has_the_size_that_is_published() -> None:
    with torch.device("meta"):
        model = EmotionModel(
            ModelConfig(
                task="dimensions",
                targets=DIMENSIONS,
                backbone=Cnn14Config(),
                pooling="max_plus_mean",
                head=HeadConfig(num_hidden=2048),
            )
        )
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    assert round(num_parameters / 1e6, 1) == 79.7
    assert model.min_samples == 31 * 160


def test_the_seed_decides_the_weights_and_torchs_own_state_stays(
    model_maker: Callable[..., EmotionModel],
) -> None:
    config = model_maker().config
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, again, other = (build_model(config, seed).state_dict() for seed in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.dense.weight"], other["head.dense.weight"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"targets": ("valence", "arousal", "dominance")}, "targets must be arousal, dominance"),
        ({"task": "emotion", "targets": ("sad", "angry")}, "must be sorted and unique"),
        ({"task": "emotion", "targets": ("sad",)}, "two categories or more"),
    ],
)
def test_scores_without_a_meaning_are_refused(
    model_maker: Callable[..., EmotionModel], fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model_maker(**fields)
