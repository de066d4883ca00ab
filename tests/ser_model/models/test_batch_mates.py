"""A segment's score is its own: alone, in any batch, in any order, with any pooling."""

import copy
from collections.abc import Callable, Iterator
from typing import get_args

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor

from ser_model.batching import Item
from ser_model.models.base import EmotionModel, ModelConfig, build_model
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.head import HeadConfig
from ser_model.models.pooling import PoolingName
from ser_model.models.speech_transformer_config import SpeechTransformerConfig
from ser_model.predict import Predictor
from ser_model.schema import CLEAN, DIMENSIONS

TINY = {
    "do_normalize": True,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
SPEECH = {
    "layer-norm": SpeechTransformerConfig(
        family="wav2vec2",
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        conv_bias=True,
        **TINY,
    ),
    "group-norm": SpeechTransformerConfig(family="hubert", **TINY),
}
CNN14 = {
    "cnn14": Cnn14Config(channels=(4, 8, 8), num_pools=2),
    "cnn14-max": Cnn14Config(channels=(4, 8, 8), num_pools=3, pool="max"),
}
BACKBONES = {**SPEECH, **CNN14}
POOLINGS = get_args(PoolingName)
TOLERANCE = 1e-5


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Models as small as these only lose by threads, most of all on a busy machine."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def make_model(backbone: str, pooling: PoolingName) -> EmotionModel:
    """A model whose biases and norms are random too: they begin with zeros and ones."""
    config = ModelConfig(
        task="dimensions",
        targets=DIMENSIONS,
        backbone=BACKBONES[backbone],
        pooling=pooling,
        head=HeadConfig(num_hidden=32, activation="tanh"),
    )
    model = build_model(config, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def segments(model: EmotionModel) -> list[Item]:
    """Noise of many levels: the shortest that the model takes, others like it, and long ones."""
    shortest = model.min_samples
    lengths = [shortest, shortest + 1, shortest, 719, 720, 5_000, 15_999, 16_000, 16_000, 60_000]
    rng = np.random.default_rng(3)
    return [
        (f"s{i}", CLEAN, (0.05 * (i + 1) * rng.standard_normal(n)).astype("float32"), None)
        for i, n in enumerate(max(n, shortest) for n in lengths)
    ]


def scores(
    model: EmotionModel, items: list[Item], **options: float
) -> dict[str, tuple[float, ...]]:
    outcomes = list(Predictor(model, **options).predict(items))
    assert len(outcomes) == len(items)
    return {outcome.segment_id: outcome.dimensions for outcome in outcomes}


def assert_equal(
    actual: dict[str, tuple[float, ...]], expected: dict[str, tuple[float, ...]]
) -> None:
    assert actual.keys() == expected.keys()
    for segment_id, values in expected.items():
        assert actual[segment_id] == pytest.approx(values, rel=0.0, abs=TOLERANCE), segment_id


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_score_is_the_same_alone_and_in_any_batch_in_any_order(
    backbone: str, pooling: PoolingName
) -> None:
    model = make_model(backbone, pooling)
    items = segments(model)
    alone: dict[str, tuple[float, ...]] = {}
    for item in items:
        alone |= scores(model, [item])
    spread = np.std(list(alone.values()), axis=0)
    assert spread.min() > 100 * TOLERANCE, "the scores must depend on the segment"
    assert_equal(scores(model, items), alone)
    rng = np.random.default_rng(4)
    for batch_seconds in (0.1, 1.1, 4.0):
        order = [items[i] for i in rng.permutation(len(items))]
        assert_equal(scores(model, order, batch_seconds=batch_seconds), alone)


@torch.inference_mode()
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_batch_mates_of_any_lengths_change_nothing(backbone: str, pooling: PoolingName) -> None:
    # The predictor puts like lengths together; here the shortest lies beside the longest.
    model = make_model(backbone, pooling)
    rows = [torch.from_numpy(waveform) for _, _, waveform, _ in segments(model)]
    alone = torch.cat([model(row[None], torch.tensor([len(row)])).scores for row in rows])
    rng = np.random.default_rng(5)
    for size in (2, 3, len(rows)):
        chosen = rng.choice(len(rows), size, replace=False)
        batch_BN = torch.nn.utils.rnn.pad_sequence(
            [rows[i] for i in chosen], batch_first=True, padding_value=3.0
        )
        together = model(batch_BN, torch.tensor([len(rows[i]) for i in chosen])).scores
        torch.testing.assert_close(together, alone[chosen], rtol=0.0, atol=TOLERANCE)


@torch.inference_mode()
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("backbone", SPEECH)
def test_scores_are_those_of_the_plain_library_on_one_file_at_a_time(
    backbone: str,
    pooling: PoolingName,
    plain_pool: Callable[[EmotionModel, torch.Tensor], torch.Tensor],
) -> None:
    model = make_model(backbone, pooling)
    items = segments(model)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    # In float64, so that the library's own rounding does not count against Serval's.
    plain = copy.deepcopy(model).double()
    expected = {}
    for segment_id, _, waveform, _ in items:
        inputs = extractor(waveform, sampling_rate=16_000, return_tensors="pt").input_values
        frames_TD = plain.backbone.transformer(inputs.double()).last_hidden_state[0]
        hidden = torch.tanh(plain.head.dense(plain_pool(plain, frames_TD).double()))
        expected[segment_id] = tuple(plain.head.out_proj(hidden).tolist())
    assert_equal(scores(model, items), expected)
