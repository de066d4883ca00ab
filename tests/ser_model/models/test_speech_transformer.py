import copy
import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor

from ser_model.models import packed_forward
from ser_model.models.base import EmotionModel, ModelConfig, ModelOutput, build_model
from ser_model.models.head import HeadConfig
from ser_model.models.speech_transformer_config import SpeechTransformerConfig
from ser_model.models.storage import load_model, save_model
from ser_model.schema import DIMENSIONS

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
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
CONFIGS = {
    "wav2vec2-large": SpeechTransformerConfig(family="wav2vec2", **TINY, **LARGE),
    "wav2vec2-base": SpeechTransformerConfig(family="wav2vec2", **TINY),
    "wav2vec2-base-with-conv-bias": SpeechTransformerConfig(
        family="wav2vec2", conv_bias=True, **TINY
    ),
    "hubert-large": SpeechTransformerConfig(family="hubert", **TINY, **LARGE),
    "hubert-base": SpeechTransformerConfig(family="hubert", **TINY | {"do_normalize": False}),
    "distilhubert": SpeechTransformerConfig(
        family="hubert", feat_proj_layer_norm=False, **TINY | {"do_normalize": False}
    ),
    "unispeech-large": SpeechTransformerConfig(family="unispeech", **TINY, **LARGE),
}
BOTH_NORMS = ["wav2vec2-large", "wav2vec2-base"]
# One window, its last sample before a second frame, a slot's borders, and up to 30 s.
LENGTHS = [400, 401, 719, 720, 5_000, 16_000, 15_999, 480_000, 16_000]
TOLERANCE = 1e-5


def make_model(config: SpeechTransformerConfig, pooling: str = "mean") -> EmotionModel:
    """A model whose biases and norms are random too: the library begins with zeros and ones."""
    head = HeadConfig(num_hidden=32, activation="tanh")
    model = build_model(
        ModelConfig(
            task="dimensions", targets=DIMENSIONS, backbone=config, pooling=pooling, head=head
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
    """Noise on an offset, each segment at its own level, as recordings are."""
    generator = torch.Generator().manual_seed(3)
    return [
        0.05 * (i + 1) * torch.randn(n, generator=generator) + 0.02 * i
        for i, n in enumerate(lengths)
    ]


def score(model: EmotionModel, rows: list[torch.Tensor]) -> ModelOutput:
    batch_BN = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return model(batch_BN, torch.tensor([len(row) for row in rows]))


def plain_forward(model: EmotionModel, row: torch.Tensor) -> ModelOutput:
    """One file through the library's own feature extractor and model, then mean and head."""
    extractor = Wav2Vec2FeatureExtractor(do_normalize=model.config.backbone.do_normalize)
    inputs = extractor(row.numpy(), sampling_rate=16_000, return_tensors="pt").input_values
    inputs = inputs.to(model.head.dense.weight.dtype)
    embedding = model.backbone.transformer(inputs).last_hidden_state.mean(dim=1)
    hidden = torch.tanh(model.head.dense(embedding))
    return ModelOutput(scores=model.head.out_proj(hidden), embedding=embedding)


def rows_of(output: ModelOutput, rows: list[int]) -> ModelOutput:
    return ModelOutput(*(part[rows] for part in output))


def assert_equal(actual: ModelOutput, expected: ModelOutput) -> None:
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=TOLERANCE)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Models as small as these only lose by threads, most of all on a busy machine."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="module", params=CONFIGS)
def model(request: pytest.FixtureRequest) -> EmotionModel:
    return make_model(CONFIGS[request.param])


@pytest.fixture(scope="module")
def expected(model: EmotionModel) -> ModelOutput:
    with torch.inference_mode():
        outputs = [plain_forward(model, row) for row in waveforms(LENGTHS)]
    return ModelOutput(*(torch.cat(part) for part in zip(*outputs, strict=True)))


@torch.inference_mode()
def test_a_batch_scores_as_the_library_does_each_file_alone(
    model: EmotionModel, expected: ModelOutput
) -> None:
    assert_equal(score(model, waveforms(LENGTHS)), expected)


@torch.inference_mode()
def test_a_score_depends_neither_on_its_batch_mates_nor_on_their_order(
    model: EmotionModel, expected: ModelOutput
) -> None:
    rows = waveforms(LENGTHS)
    order = [6, 0, 8, 3, 5, 1, 4, 2]
    assert_equal(score(model, [rows[i] for i in order]), rows_of(expected, order))
    for i in order:
        assert_equal(score(model, [rows[i]]), rows_of(expected, [i]))


@torch.inference_mode()
def test_padding_may_hold_anything(model: EmotionModel) -> None:
    rows = waveforms([4_000, 16_000])
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=7.0)
    actual = model(padded, torch.tensor([4_000, 16_000]))
    assert_equal(actual, score(model, rows))


def test_the_path_with_gradients_scores_as_the_one_without(model: EmotionModel) -> None:
    rows = waveforms([400, 5_000, 16_000, 16_100])
    with_gradients = score(model, rows)
    assert with_gradients.scores.requires_grad
    with torch.inference_mode():
        assert_equal(ModelOutput(*(part.detach() for part in with_gradients)), score(model, rows))


@torch.inference_mode()
def test_the_parts_and_stretches_of_a_batch_leave_no_trace(
    model: EmotionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = waveforms([400, 5_000, 16_000, 16_000, 32_320, 720])
    whole = score(model, rows)
    monkeypatch.setattr(packed_forward, "CPU_PART_FRAMES", 100)
    monkeypatch.setattr(packed_forward, "CPU_STRETCH_FRAMES", 7)
    assert_equal(score(model, rows), whole)


@torch.inference_mode()
def test_scoring_saves_nothing_of_its_own(model: EmotionModel, tmp_path) -> None:
    rows = waveforms([5_000, 16_000])
    names = list(model.state_dict())
    scores = score(model, rows)
    assert list(model.state_dict()) == names
    assert any("parametrizations.weight.original0" in name for name in names)
    save_model(model, str(tmp_path))
    assert torch.equal(score(load_model(str(tmp_path)), rows).scores, scores.scores)


@torch.inference_mode()
@pytest.mark.parametrize("level", [0.0, 1.0])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_constant_waveform_has_its_exact_score(name: str, level: float) -> None:
    # Norms divide by nearly nothing here, so that float32 has errors to show: float64 judges.
    model = make_model(CONFIGS[name])
    row = torch.full((4_000,), level)
    beside_noise = score(model, [row, waveforms([16_000])[0]])
    exact = plain_forward(copy.deepcopy(model).double(), row)
    assert_equal(rows_of(beside_noise, [0]), ModelOutput(*(part.float() for part in exact)))


@pytest.mark.parametrize("name", BOTH_NORMS)
def test_new_weights_are_seen_at_once(name: str) -> None:
    model, other = make_model(CONFIGS[name]), make_model(CONFIGS[name])
    with torch.no_grad():
        for parameter in other.backbone.parameters():
            parameter.mul_(1.01)
        row = waveforms([8_000])
        before = score(model, row).scores
        model.load_state_dict(other.state_dict())
        assert torch.equal(score(model, row).scores, score(other, row).scores)
        assert not torch.equal(score(model, row).scores, before)


@torch.inference_mode()
@pytest.mark.parametrize("name", BOTH_NORMS)
def test_bfloat16_by_autocast_is_near_float32(name: str) -> None:
    model = make_model(CONFIGS[name])
    rows = waveforms([400, 5_000, 16_000, 16_100])
    exact = score(model, rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = score(model, rows)
    assert rough.scores.dtype == torch.float32
    torch.testing.assert_close(rough.scores, exact.scores, rtol=0.0, atol=0.02)
    assert not torch.equal(rough.scores, exact.scores)
    assert torch.equal(score(model, rows).scores, exact.scores)


@torch.inference_mode()
@pytest.mark.parametrize("name", BOTH_NORMS)
def test_fewer_layers_are_the_lowest_of_more(name: str) -> None:
    model = make_model(CONFIGS[name])
    pruned = make_model(dataclasses.replace(CONFIGS[name], num_hidden_layers=1))
    left_over = pruned.load_state_dict(model.state_dict(), strict=False)
    assert not left_over.missing_keys
    model.backbone.transformer.encoder.layers = model.backbone.transformer.encoder.layers[:1]
    row = waveforms([8_000])[0]
    assert_equal(score(pruned, [row]), plain_forward(model, row))


@pytest.mark.parametrize("name", BOTH_NORMS)
def test_training_masks_frames_and_takes_segments_too_short_for_a_mask(name: str) -> None:
    config = dataclasses.replace(CONFIGS[name], mask_time_prob=0.5, mask_time_length=10)
    model = make_model(config).train()
    rng_state = np.random.get_state()
    np.random.seed(0)  # the library draws SpecAugment's masks from numpy's global generator
    try:
        score(model, waveforms([400, 900])).scores.sum().backward()
        assert model.backbone.transformer.masked_spec_embed.grad is None
        score(model, waveforms([400, 16_000])).scores.sum().backward()
        assert model.backbone.transformer.masked_spec_embed.grad.abs().sum() > 0
    finally:
        np.random.set_state(rng_state)


def test_the_seed_alone_makes_the_weights() -> None:
    config = make_model(CONFIGS["hubert-base"]).config
    first, again, other = (build_model(config, seed).state_dict() for seed in (4, 4, 5))
    assert all(torch.equal(first[name], again[name]) for name in first)
    name = "backbone.transformer.encoder.layers.0.attention.k_proj.weight"
    assert not torch.equal(first[name], other[name])
