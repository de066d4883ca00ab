"""Every family of backbones with every pooling and head, against the library's plain forward."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import get_args

import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from ser_model.models.base import EmotionModel, ModelConfig, build_model, layer_importance
from ser_model.models.head import HeadConfig
from ser_model.models.pooling import PoolingName
from ser_model.models.speech_transformer_config import SpeechTransformerConfig
from ser_model.models.storage import load_model, save_model
from ser_model.models.whisper_encoder import WhisperConfig
from ser_model.schema import DIMENSIONS

TINY = {
    "do_normalize": True,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
FAMILIES = {
    "wav2vec2-base": SpeechTransformerConfig(family="wav2vec2", **TINY),
    "wav2vec2-large": SpeechTransformerConfig(family="wav2vec2", **TINY, **LARGE),
    "hubert-base": SpeechTransformerConfig(family="hubert", **TINY | {"do_normalize": False}),
    "hubert-large": SpeechTransformerConfig(family="hubert", **TINY, **LARGE),
    "distilhubert": SpeechTransformerConfig(family="hubert", feat_proj_layer_norm=False, **TINY),
    "unispeech-large": SpeechTransformerConfig(family="unispeech", **TINY, **LARGE),
    "wavlm-base": SpeechTransformerConfig(family="wavlm", **TINY),
    "wavlm-large": SpeechTransformerConfig(family="wavlm", **TINY, **LARGE),
    "whisper": WhisperConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64
    ),
}
POOLINGS = get_args(PoolingName)
HEADS = {
    "dense-tanh-out": {"head": HeadConfig(num_hidden=16, activation="tanh", dropout=0.1)},
    "dense-relu-out": {"head": HeadConfig(num_hidden=16, activation="relu")},
    "eight categories": {
        "head": HeadConfig(num_hidden=16, activation="tanh"),
        "task": "emotion",
        "targets": tuple("abcdefgh"),
    },
}
LENGTHS = [400, 16_000, 5_000, 16_000]
TOLERANCE = {"rtol": 0.0, "atol": 1e-5}
PlainPool = Callable[[EmotionModel, torch.Tensor], torch.Tensor]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def make_model(family: str, **fields: object) -> EmotionModel:
    config = FAMILIES[family]
    own = {name: fields.pop(name) for name in list(fields) if hasattr(config, name)}
    model = build_model(
        ModelConfig(
            **{
                "task": "dimensions",
                "targets": DIMENSIONS,
                "backbone": dataclasses.replace(config, **own),
                "pooling": "mean",
                "head": HeadConfig(num_hidden=16, activation="tanh"),
                **fields,
            }
        ),
        seed=1,
    )
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def waveforms(lengths: list[int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [
        0.05 * (i + 1) * torch.randn(n, generator=generator) + 0.02 * i
        for i, n in enumerate(lengths)
    ]


def score(model: EmotionModel, rows: list[torch.Tensor]) -> torch.Tensor:
    batch_BN = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return model(batch_BN, torch.tensor([len(row) for row in rows])).scores


def plain_states(model: EmotionModel, row: torch.Tensor) -> list[torch.Tensor]:
    """One file of at most 30 s through the library's feature extractor and model, all states."""
    backbone = model.backbone
    if isinstance(model.config.backbone, WhisperConfig):
        extract = WhisperFeatureExtractor()
        inputs = extract(row.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    else:
        extract = Wav2Vec2FeatureExtractor(do_normalize=model.config.backbone.do_normalize)
        inputs = extract(row.numpy(), sampling_rate=16_000, return_tensors="pt").input_values
    output = backbone.transformer(inputs, output_hidden_states=True)
    states = [*output.hidden_states[:-1], output.last_hidden_state]
    if isinstance(model.config.backbone, WhisperConfig):
        states = [state[:, : -(-len(row) // 320)] for state in states]
    return [state[0] for state in states]


def plain_scores(model: EmotionModel, row: torch.Tensor, plain_pool: PlainPool) -> torch.Tensor:
    states = plain_states(model, row)
    frames_TD = states[-1]
    if model.backbone.layer_sum is not None:
        weights = model.backbone.layer_sum.logits_S.softmax(0)
        frames_TD = sum(w * state for w, state in zip(weights, states, strict=True))
    weights = model.state_dict()
    hidden = plain_pool(model, frames_TD) @ weights["head.dense.weight"].T
    hidden = hidden + weights["head.dense.bias"]
    hidden = hidden.tanh() if model.config.head.activation == "tanh" else hidden.relu()
    return hidden @ weights["head.out_proj.weight"].T + weights["head.out_proj.bias"]


def assert_exact(model: EmotionModel, plain_pool: PlainPool) -> None:
    rows = waveforms(LENGTHS)
    scores = score(model, rows)
    # A sum over frames gives scores of tens, of which float32 has no more than 7 digits.
    tolerance = TOLERANCE | ({"rtol": 1e-6} if model.config.pooling == "sum" else {})
    for row, together in zip(rows, scores, strict=True):
        torch.testing.assert_close(together, plain_scores(model, row, plain_pool), **tolerance)
    assert scores.std(dim=0).min() > 1e-3, "the scores must depend on the segment"


@torch.inference_mode()
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_batch_scores_as_the_library_does_each_file(
    family: str, head: str, plain_pool: PlainPool
) -> None:
    for pooling in POOLINGS:
        assert_exact(make_model(family, pooling=pooling, **HEADS[head]), plain_pool)


@torch.inference_mode()
@pytest.mark.parametrize("family", FAMILIES)
def test_a_weighted_sum_is_over_the_layers_the_library_returns(
    family: str, plain_pool: PlainPool
) -> None:
    model = make_model(family, layers="weighted_sum")
    assert_exact(model, plain_pool)
    importance = layer_importance(model)
    assert importance == pytest.approx(model.backbone.layer_sum.logits_S.softmax(0).tolist())
    assert len(importance) == 4
    assert layer_importance(make_model(family)) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_the_path_with_gradients_scores_the_same(family: str) -> None:
    for layers in ("top", "weighted_sum"):
        model = make_model(family, layers=layers)
        rows = waveforms([400, 5_000, 16_000])
        with_gradients = score(model, rows)
        with torch.inference_mode():
            torch.testing.assert_close(with_gradients.detach(), score(model, rows), **TOLERANCE)
        with_gradients.sum().backward()
        if layers == "weighted_sum":
            assert model.backbone.layer_sum.logits_S.grad.abs().min() > 0


@torch.inference_mode()
@pytest.mark.parametrize("layers", ["top", "weighted_sum"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_comes_back_with_the_same_scores(family: str, layers: str, tmp_path) -> None:
    model = make_model(family, layers=layers)
    save_model(model, str(tmp_path))
    loaded = load_model(str(tmp_path))
    rows = waveforms([8_000, 4_000])
    assert loaded.config == model.config
    assert torch.equal(score(loaded, rows), score(model, rows))


@torch.inference_mode()
@pytest.mark.parametrize("family", FAMILIES)
def test_fewer_layers_are_the_lowest_of_more(family: str, plain_pool: PlainPool) -> None:
    model, pruned = make_model(family), make_model(family, num_hidden_layers=2)
    assert not pruned.load_state_dict(model.state_dict(), strict=False).missing_keys
    whole = model.backbone.transformer
    layers = whole.layers if family == "whisper" else whole.encoder.layers
    del layers[2:]
    row = waveforms([8_000])[0]
    torch.testing.assert_close(
        score(pruned, [row])[0], plain_scores(model, row, plain_pool), **TOLERANCE
    )


@pytest.mark.parametrize("part", ["front_end", "encoder"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_frozen_part_stays_as_it_is_under_training(family: str, part: str) -> None:
    regularised = {"hidden_dropout": 0.5, "attention_dropout": 0.5, "activation_dropout": 0.5}
    if family != "whisper":
        regularised |= {"layerdrop": 0.5, "mask_time_prob": 0.5, "feat_proj_dropout": 0.5}
    model = make_model(family, layers="weighted_sum", **regularised)
    model.freeze((part,))
    model.train()
    frozen = model.backbone.modules_of(part)
    assert all(not m.training for module in frozen for m in module.modules())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.1)
    torch.manual_seed(0)
    for _ in range(2):
        score(model, waveforms([8_000, 12_000])).square().mean().backward()
        optimiser.step()
    names = {id(value): name for name, value in model.named_parameters()}
    kept = {names[id(value)] for module in frozen for value in module.parameters()}
    moved = {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert kept
    assert not moved & kept
    assert {"backbone.layer_sum.logits_S", "head.dense.weight"} <= moved


@pytest.mark.parametrize("family", FAMILIES)
def test_a_frozen_backbone_says_the_same_under_training(family: str) -> None:
    regularised = {"hidden_dropout": 0.5, "attention_dropout": 0.5, "activation_dropout": 0.5}
    if family != "whisper":
        regularised |= {"layerdrop": 0.5, "mask_time_prob": 0.5, "feat_proj_dropout": 0.5}
    model = make_model(family, **regularised)
    model.freeze(("front_end", "encoder"))
    rows = waveforms([8_000, 12_000])
    expected = score(model, rows)
    torch.testing.assert_close(score(model.train(), rows), expected, **TOLERANCE)


@torch.inference_mode()
def test_whisper_pools_the_pieces_of_a_long_segment_together(plain_pool: PlainPool) -> None:
    model = make_model("whisper")
    (row,) = waveforms([480_000 + 8_100])
    states = [plain_states(model, row[:480_000])[-1], plain_states(model, row[480_000:])[-1]]
    assert [len(state) for state in states] == [1500, 26]
    frames_BTD, num_frames_B = model.backbone(row[None], torch.tensor([len(row)]))
    assert num_frames_B.tolist() == [1526]
    torch.testing.assert_close(frames_BTD[0], torch.cat(states), **TOLERANCE)
