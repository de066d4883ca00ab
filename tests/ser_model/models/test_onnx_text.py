"""ONNX files of models that read, against the models that they were exported from."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import onnx as onnx_library
import pytest
import torch
from onnx import TensorProto, helper
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing

from ser_model.models.base import EmotionModel, ModelConfig, build_model
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.fusion import FusionConfig
from ser_model.models.head import HeadConfig
from ser_model.models.onnx_export import export_onnx
from ser_model.models.onnx_model import OnnxModel, load_onnx_model
from ser_model.models.speech_transformer_config import SpeechTransformerConfig
from ser_model.models.text_transformer_config import TextTransformerConfig
from ser_model.models.tokeniser import make_tokeniser
from ser_model.schema import DIMENSIONS, ModelError

MAX_TOKENS = 20
TOLERANCE = {"rtol": 0.0, "atol": 1e-4}
DURATIONS_S = (0.1, 1.0, 3.7, 30.0)
# Words are spelt, as no training had any. The last but one is as long as may be, the last longer.
TRANSCRIPTS = ("", "a", "so it is", "abcdefghijklmnopqr", "a transcript that is cut at some point")
NUM_TOKENS = [2, 3, 8, MAX_TOKENS, MAX_TOKENS]

TINY_TRANSFORMER = SpeechTransformerConfig(
    family="hubert",
    do_normalize=True,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    conv_dim=(8, 8, 8),
    conv_kernel=(10, 8, 8),
    conv_stride=(5, 8, 8),
    num_conv_pos_embeddings=8,
    num_conv_pos_embedding_groups=2,
)
TINY_CNN14 = Cnn14Config(channels=(4, 8), num_pools=2, pool="max")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def text_config(**choices: object) -> TextTransformerConfig:
    return TextTransformerConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        vocab_size=90,
        max_position_embeddings=40,
        max_tokens=MAX_TOKENS,
        **choices,
    )


def fusion_of(kind: str, **choices: object) -> FusionConfig:
    return FusionConfig(kind=kind, pooling="mean", text=text_config(**choices))


# Exporting takes seconds each: the slow ones have every_block as their quick twin.
SYSTEMS = {
    "every_block": {"backbone": TINY_CNN14, "fusion": fusion_of("every_block")},
    "shallow": {"backbone": TINY_CNN14, "fusion": fusion_of("shallow", special_tokens=False)},
    "concatenation": {"backbone": TINY_TRANSFORMER, "fusion": fusion_of("concatenation")},
    "text": {"backbone": text_config(special_tokens=False)},
    "text-attentive": {"backbone": text_config(), "pooling": "attentive_statistics"},
}
SLOW_SYSTEMS = [name for name in SYSTEMS if name != "every_block"]


def make_model(name: str) -> EmotionModel:
    fields = {
        "task": "dimensions",
        "targets": DIMENSIONS,
        "pooling": "mean",
        "head": HeadConfig(num_hidden=16, activation="tanh"),
        **SYSTEMS[name],
    }
    model = build_model(ModelConfig(**fields), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        # The library's random weights are so small that hardly a score would depend on the text.
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def noise(num_rows: int, num_samples: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(num_samples)
    return 0.1 * torch.randn(num_rows, num_samples, generator=generator)


def assert_same(
    model: EmotionModel,
    onnx: OnnxModel,
    waveform_BN: torch.Tensor,
    num_samples_B: torch.Tensor,
    transcripts: list[str],
) -> torch.Tensor:
    with torch.inference_mode():
        expected = model(waveform_BN, num_samples_B, transcripts)
    found = onnx(waveform_BN, num_samples_B, transcripts)
    torch.testing.assert_close(found.scores, expected.scores, **TOLERANCE)
    torch.testing.assert_close(found.embedding, expected.embedding, **TOLERANCE)
    return expected.scores


def check_lengths(model: EmotionModel, onnx: OnnxModel) -> None:
    """Compare at every length of audio with every length of text, alone and in twos."""
    assert model.text.tokeniser(TRANSCRIPTS).is_token.sum(dim=1).tolist() == NUM_TOKENS
    scores = []
    for duration_s in DURATIONS_S:
        for number, transcript in enumerate(TRANSCRIPTS):
            for num_rows in (1, 2):
                if num_rows == 2 and (number + int(duration_s)) % 2:
                    continue
                waveform_BN = noise(num_rows, round(16_000 * duration_s))
                num_samples_B = torch.full((num_rows,), waveform_BN.shape[1])
                transcripts = [transcript] * num_rows
                scores.append(assert_same(model, onnx, waveform_BN, num_samples_B, transcripts))
    assert torch.cat(scores).std(dim=0).min() > 1e-2, "the scores must depend on what goes in"


@pytest.fixture(scope="module")
def model() -> EmotionModel:
    return make_model("every_block")


@pytest.fixture(scope="module")
def file(model: EmotionModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    path.write_bytes(export_onnx(model))
    return path


def test_a_file_that_hears_and_reads_scores_as_its_model(model: EmotionModel, file: Path) -> None:
    onnx = load_onnx_model(f"onnx:{file}")
    assert onnx.config == model.config
    assert (onnx.uses_text, onnx.needs_transcript, onnx.padding_free) == (True, True, False)
    assert onnx.min_samples == model.min_samples
    check_lengths(model, onnx)


def test_rows_of_other_lengths_of_audio_or_text_share_a_batch(
    model: EmotionModel, file: Path
) -> None:
    onnx = load_onnx_model(f"onnx:{file}")
    waveform_BN = noise(5, 9000)
    num_samples_B = torch.tensor([9000, 5000, 9000, model.min_samples, 9000])
    scores = assert_same(model, onnx, waveform_BN, num_samples_B, ["so", "so", "it is", "", "no"])
    assert len(torch.unique(scores, dim=0)) == 5
    with pytest.raises(ValueError, match="give a transcript for each row"):
        onnx(waveform_BN, num_samples_B)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_SYSTEMS)
def test_a_file_of_any_model_that_reads_scores_as_its_model(name: str) -> None:
    model = make_model(name)
    onnx = OnnxModel(export_onnx(model), source="test.onnx")
    hears = not name.startswith("text")
    assert onnx.padding_free is not hears
    inputs = [item.name for item in onnx_library.load_from_string(onnx._data).graph.input]
    assert inputs == (["signal", "token_ids"] if hears else ["token_ids"])
    check_lengths(model, onnx)


def tampered(file: Path, **metadata: str | None) -> bytes:
    """Return the file with other metadata; None takes an entry out."""
    content = onnx_library.load(str(file))
    kept = {item.key: item.value for item in content.metadata_props}
    kept |= {f"serval.{name}": value for name, value in metadata.items()}
    del content.metadata_props[:]
    helper.set_model_props(content, {key: value for key, value in kept.items() if value})
    return content.SerializeToString()


def test_a_file_whose_metadata_do_not_fit_is_refused(
    model: EmotionModel, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.asdict(model.config)
    audio_alone = json.dumps(config | {"fusion": None})
    refusals = {
        "have no tokeniser, or not the model's own": tampered(file, tokeniser=None),
        "not the model's own": tampered(
            file, tokeniser=make_tokeniser(["else"], vocab_size=90).decode()
        ),
        "do not say by which model": tampered(file, config=None),
        "pooling is 'of tomorrow'": tampered(
            file, config=json.dumps(config | {"pooling": "of tomorrow"})
        ),
        "the model in its metadata does not": tampered(file, config=audio_alone),
    }
    for words, data in refusals.items():
        with pytest.raises(ModelError, match=rf"changed\.onnx.*{words}"):
            OnnxModel(data, source="changed.onnx")
    monkeypatch.setattr("ser_model.models.onnx_model.MAX_TOKENISER_BYTES", 100)
    with pytest.raises(ModelError, match="over 100 bytes"):
        load_onnx_model(f"onnx:{file}")


def test_a_file_from_elsewhere_cannot_read(tmp_path: Path) -> None:
    ids = helper.make_tensor_value_info("token_ids", TensorProto.INT64, ["batch", "tokens"])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "tokens"])
        for name in ("hidden_states", "logits")
    ]
    nodes = [
        helper.make_node("Cast", ["token_ids"], [output.name], to=TensorProto.FLOAT)
        for output in outputs
    ]
    graph = helper.make_graph(nodes, "foreign", [ids], outputs)
    opset = helper.make_opsetid("", 18)
    path = tmp_path / "foreign.onnx"
    onnx_library.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), str(path))
    with pytest.raises(ModelError, match="do not say by which model"):
        load_onnx_model(f"onnx:{path}")


def test_a_tokeniser_that_is_too_long_is_refused(
    model: EmotionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ser_model.models.onnx_export.MAX_TOKENISER_BYTES", 100)
    with pytest.raises(ModelError, match="the tokeniser is"):
        export_onnx(model)


def test_a_tokeniser_that_does_not_tell_where_words_stand_is_refused(
    model: EmotionModel,
) -> None:
    # Without a token for what it does not know, it leaves "a" out.
    library = Tokenizer(BPE({"[CLS]": 0, "[SEP]": 1, "s": 2, "o": 3}, []))
    library.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    other = EmotionModel(model.config, library.to_str().encode()).eval()
    with pytest.raises(ModelError, match="makes no token of 'a'"):
        export_onnx(other)
