"""ONNX files against the models that they were exported from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_model.models.base import EmotionModel
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.egemaps import EgemapsConfig
from ser_model.models.onnx_export import export_onnx
from ser_model.models.onnx_model import OnnxModel, load_onnx_model
from ser_model.models.speech_transformer_config import SpeechTransformerConfig
from ser_model.models.whisper_encoder import WhisperConfig
from ser_model.schema import ConfigError, ModelError

ModelMaker = Callable[..., EmotionModel]

# Three convolutions and not seven: the exporter's time grows with them.
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 8, 8),
    "conv_stride": (5, 8, 8),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
LAYER = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}


def transformer(family: str, *, do_normalize: bool = True, **fields: object) -> object:
    return SpeechTransformerConfig(family=family, do_normalize=do_normalize, **TINY, **fields)


# Exporting takes seconds each; CNN14 is exported by the test of categories.
FAMILIES = {"wav2vec2-group": transformer("wav2vec2", feat_extract_norm="group")}
SLOW_FAMILIES = {
    "cnn14-max": Cnn14Config(channels=(4, 8), num_pools=2, pool="max"),
    "wav2vec2-raw": transformer("wav2vec2", do_normalize=False),
    "hubert-layer": transformer("hubert", **LAYER),
    "hubert-group": transformer("hubert", feat_proj_layer_norm=False),
    "unispeech-layer": transformer("unispeech", **LAYER),
    "wavlm-group": transformer("wavlm"),
    "wavlm-layer": transformer("wavlm", **LAYER),
    "weighted": transformer("wav2vec2", layers="weighted_sum"),
    "whisper": WhisperConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    ),
}
DURATIONS_S = (0.1, 1.0, 3.7, 10.0)
TOLERANCE = {"rtol": 0.0, "atol": 1e-4}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> object:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def speech_like(num_rows: int, num_samples: int) -> torch.Tensor:
    """Tones with pauses over faint noise: loud and weak bands at once."""
    generator = torch.Generator().manual_seed(num_samples)
    time_s = torch.arange(num_samples) / 16_000
    pitch_B1 = 100.0 + 100.0 * torch.rand(num_rows, 1, generator=generator)
    tone_BN = torch.sin(2 * torch.pi * pitch_B1 * time_s) * (torch.sin(9.0 * time_s) > 0)
    return 0.5 * tone_BN + 1e-3 * torch.randn(num_rows, num_samples, generator=generator)


def assert_same(model: EmotionModel, onnx: OnnxModel, durations_s: tuple[float, ...]) -> None:
    for duration_s in durations_s:
        for num_rows in (1, 2):
            waveform_BN = speech_like(num_rows, round(16_000 * duration_s))
            num_samples_B = torch.full((num_rows,), waveform_BN.shape[1])
            with torch.no_grad():
                expected = model(waveform_BN, num_samples_B)
            found = onnx(waveform_BN, num_samples_B)
            torch.testing.assert_close(found.scores, expected.scores, **TOLERANCE)
            torch.testing.assert_close(found.embedding, expected.embedding, **TOLERANCE)


def exported(model: EmotionModel) -> OnnxModel:
    return OnnxModel(export_onnx(model), source="test.onnx")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_scores_as_its_model(family: str, model_maker: ModelMaker) -> None:
    model = model_maker(backbone=FAMILIES[family])
    assert_same(model, exported(model), DURATIONS_S)


@pytest.mark.slow
@pytest.mark.parametrize("family", SLOW_FAMILIES)
def test_a_file_of_any_family_scores_as_its_model(family: str, model_maker: ModelMaker) -> None:
    model = model_maker(backbone=SLOW_FAMILIES[family], pooling="attentive_statistics")
    assert_same(model, exported(model), (*DURATIONS_S, 30.0, 31.0))


def test_a_model_of_categories_comes_back_and_scores_half_a_minute_and_mixed_lengths(
    model_maker: ModelMaker, tmp_path: Path
) -> None:
    model = model_maker(task="emotion", targets=("angry", "happy"), pooling="attentive_statistics")
    path = tmp_path / "model.onnx"
    path.write_bytes(export_onnx(model))
    onnx = load_onnx_model(f"onnx:{path}")
    assert (onnx.task, onnx.targets) == ("emotion", ("angry", "happy"))
    assert onnx.min_samples == model.min_samples
    assert_same(model, onnx, (*DURATIONS_S, 30.0))
    lengths = torch.tensor([8000, 5000, 8000, model.min_samples])
    waveform_BN = speech_like(4, 8000)
    with torch.no_grad():
        expected = model(waveform_BN, lengths)
    found = onnx(waveform_BN, lengths)
    torch.testing.assert_close(found.scores, expected.scores, **TOLERANCE)
    torch.testing.assert_close(found.embedding, expected.embedding, **TOLERANCE)


def foreign_file(path: Path, *, num_scores: int, output: str = "logits") -> str:
    """Like the released file: one row, no metadata; scores are sums of the samples."""
    from onnx import TensorProto, checker, helper, save

    floats = TensorProto.FLOAT
    ones = np.ones(num_scores, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["signal", "axis"], ["hidden_states"], keepdims=1),
            helper.make_node("Mul", ["hidden_states", "ones"], [output]),
        ],
        "foreign",
        [helper.make_tensor_value_info("signal", floats, [1, "time"])],
        [
            helper.make_tensor_value_info("hidden_states", floats, [1, 1]),
            helper.make_tensor_value_info(output, floats, [1, num_scores]),
        ],
        [
            helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
            helper.make_tensor("ones", floats, [num_scores], ones),
        ],
    )
    opset = helper.make_opsetid("", 18)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    checker.check_model(model)
    save(model, str(path))
    return f"onnx:{path}"


def test_a_file_from_elsewhere_is_one_of_dimensions_row_by_row(tmp_path: Path) -> None:
    onnx = load_onnx_model(foreign_file(tmp_path / "foreign.onnx", num_scores=3))
    assert onnx.task == "dimensions"
    waveform_BN = torch.ones(3, 500)
    scores = onnx(waveform_BN, torch.tensor([500, 400, 500])).scores
    assert scores.tolist() == [[500.0] * 3, [400.0] * 3, [500.0] * 3]


def test_files_that_are_no_such_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        load_onnx_model(f"onnx:{tmp_path}/absent.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"broken")
    with pytest.raises(ModelError, match=r"broken\.onnx is no ONNX file"):
        load_onnx_model(f"onnx:{tmp_path}/broken.onnx")
    with pytest.raises(ModelError, match="2 scores for arousal, dominance, valence"):
        load_onnx_model(foreign_file(tmp_path / "two.onnx", num_scores=2))
    with pytest.raises(ModelError, match="it has signal and hidden_states, other"):
        load_onnx_model(foreign_file(tmp_path / "other.onnx", num_scores=3, output="other"))


def test_what_no_file_can_do_is_refused(
    model_maker: ModelMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="'egemaps' cannot be exported"):
        export_onnx(model_maker(backbone=EgemapsConfig(), pooling="mean"))
    uri = foreign_file(tmp_path / "foreign.onnx", num_scores=3)
    onnx = load_onnx_model(uri)
    with pytest.raises(ConfigError, match="float32 alone"), torch.autocast("cpu", torch.bfloat16):
        onnx(torch.ones(1, 500), torch.tensor([500]))
    with pytest.raises(ConfigError, match="no CUDA"):
        onnx.to("cuda")
    monkeypatch.setattr("ser_model.models.onnx_export.find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=r"serval\[onnx\]"):
        load_onnx_model(uri)
