"""Text backbones from checkpoints as the hub has them, and backbones of models trained here."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from ser_model.models.base import ModelConfig, build_model
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.fusion import FusionConfig
from ser_model.models.head import HeadConfig
from ser_model.models.pretrained import initial_model, untrained
from ser_model.models.storage import load_model, save_model, weights_sha256
from ser_model.models.text_transformer_config import TextTransformerConfig
from ser_model.models.tokeniser import SPECIAL_TOKENS, make_tokeniser
from ser_model.schema import DIMENSIONS, ModelError

VOCABULARY = [*SPECIAL_TOKENS, *"abcdefghijklmnopqrstuvwxyz", "glad", "sad", "##\u2028", "Glad"]
SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 12,
    "intermediate_size": 32,
    "vocab_size": 40,
    "max_position_embeddings": 40,
}
TEXT = TextTransformerConfig(**SIZES, max_tokens=20)


def write_bert(
    folder: Path,
    *,
    drop: tuple[str, ...] = (),
    lowercase: bool | None = None,
    rename: Callable[[str], str] = lambda name: name,
) -> BertModel:
    """A checkpoint as huawei-noah/TinyBERT_General_4L_312D has it: vocab.txt, no model_type."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        bert = BertModel(BertConfig(**SIZES))
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {**SIZES, "hidden_act": "gelu", "pre_trained": "", "structure": []}
    (folder / "config.json").write_text(json.dumps(mapping))
    weights = {rename(f"bert.{name}"): value for name, value in bert.state_dict().items()}
    weights = {name: value for name, value in weights.items() if not name.endswith(drop or "?")}
    weights["fit_denses.0.weight"] = torch.zeros(2)
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    if lowercase is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lowercase}))
    return bert.eval()


def config_of(text: TextTransformerConfig) -> ModelConfig:
    return ModelConfig(
        task="dimensions",
        targets=DIMENSIONS,
        backbone=text,
        pooling="mean",
        head=HeadConfig(num_hidden=8),
    )


def old_name(name: str) -> str:
    """As bert-base-uncased has them to this day."""
    name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
    return name.replace("LayerNorm.bias", "LayerNorm.beta")


@torch.inference_mode()
@pytest.mark.parametrize("rename", [str, old_name])
@pytest.mark.parametrize("lowercase", [None, True, False])
def test_a_text_backbone_has_the_states_of_the_checkpoint(
    tmp_path: Path, lowercase: bool | None, rename: Callable[[str], str]
) -> None:
    bert = write_bert(tmp_path / "tinybert", lowercase=lowercase, rename=rename)
    begun = dataclasses.replace(TEXT, pretrained=str(tmp_path / "tinybert"))
    model = initial_model(config_of(begun), seed=0).eval()
    library = BertTokenizer(
        vocab={token: index for index, token in enumerate(VOCABULARY)},
        do_lower_case=lowercase is not False,
    )
    for transcript in ("Glad sad zzz", "", "so it goes"):
        expected = bert(**library([transcript], return_tensors="pt")).last_hidden_state.mean(dim=1)
        found = model(torch.zeros(1, 8), torch.tensor([8]), [transcript]).embedding
        torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-5)
    assert model.config.text.tokeniser_sha256 == model.text.tokeniser.sha256


def test_a_checkpoint_with_its_own_tokeniser_keeps_it(tmp_path: Path) -> None:
    write_bert(tmp_path)
    data = make_tokeniser(["glad"], vocab_size=40)
    (tmp_path / "tokenizer.json").write_bytes(data)
    model = initial_model(config_of(dataclasses.replace(TEXT, pretrained=str(tmp_path))), seed=0)
    assert model.text.tokeniser.data == data


def test_only_a_whole_checkpoint_is_begun_with(tmp_path: Path) -> None:
    begun = config_of(dataclasses.replace(TEXT, pretrained=str(tmp_path)))
    write_bert(tmp_path, drop=("1.output.dense.bias",))
    with pytest.raises(ModelError, match=r"bert.encoder.layer.1.output.dense.bias is missing"):
        initial_model(begun, seed=0)
    write_bert(tmp_path)
    shallow = begun.with_text(dataclasses.replace(begun.text, num_hidden_layers=1))
    assert len(initial_model(shallow, seed=0).text.transformer.encoder.layer) == 1
    with pytest.raises(ModelError, match="intermediate_size is 64, there 32"):
        initial_model(
            begun.with_text(dataclasses.replace(begun.text, intermediate_size=64)), seed=0
        )
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(ModelError, match=r"has no tokeniser: neither tokenizer.json nor vocab.txt"):
        initial_model(begun, seed=0)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "roberta", "vocab_size": 3}))
    with pytest.raises(ModelError, match="'roberta' is no text model"):
        initial_model(begun, seed=0)


def test_without_a_checkpoint_the_vocabulary_is_that_of_the_transcripts() -> None:
    config = config_of(dataclasses.replace(TEXT, vocab_size=90))
    model = initial_model(config, 0, ["quite remarkable", "remarkable"])
    assert model.text.tokeniser.data == make_tokeniser(
        ["remarkable", "quite remarkable"], vocab_size=90
    )
    other = initial_model(config, 0, ["something else"])
    assert weights_sha256(other) != weights_sha256(model)


@torch.inference_mode()
def test_backbones_of_a_trained_model_are_begun_with(tmp_path: Path) -> None:
    write_bert(tmp_path / "bert")
    begun = dataclasses.replace(TEXT, pretrained=str(tmp_path / "bert"))
    tuned = initial_model(config_of(begun), seed=1)
    for parameter in tuned.parameters():
        parameter.add_(0.1)
    save_model(tuned, str(tmp_path / "tuned"))
    text = dataclasses.replace(TEXT, pretrained=str(tmp_path / "tuned"))
    fused = initial_model(
        ModelConfig(
            task="dimensions",
            targets=DIMENSIONS,
            backbone=Cnn14Config(channels=(4, 8), num_pools=1),
            pooling="mean",
            head=HeadConfig(num_hidden=8),
            fusion=FusionConfig(kind="shallow", text=text),
        ),
        seed=2,
    )
    of_tuned, of_fused = (m.text.transformer.state_dict() for m in (tuned, fused))
    assert all(torch.equal(of_tuned[name], of_fused[name]) for name in of_tuned)
    assert fused.text.tokeniser.sha256 == tuned.text.tokeniser.sha256
    assert fused.config.text.revision == weights_sha256(str(tmp_path / "tuned"))
    # What is in the fused model can be begun with in its turn, and is found by its kind.
    save_model(fused, str(tmp_path / "fused"))
    again = initial_model(
        config_of(dataclasses.replace(text, pretrained=str(tmp_path / "fused"))), seed=3
    )
    assert torch.equal(*(next(m.text.transformer.parameters()) for m in (fused, again)))
    assert load_model(str(tmp_path / "fused")).config == fused.config


def test_a_trained_model_is_pinned_by_its_weights(tmp_path: Path) -> None:
    save_model(build_model(config_of(TEXT), 0, make_tokeniser((), vocab_size=40)), str(tmp_path))
    text = dataclasses.replace(TEXT, pretrained=str(tmp_path), revision="0" * 64)
    with pytest.raises(ModelError, match="are not those of revision 0000"):
        initial_model(config_of(text), seed=0)
    audio = Cnn14Config(channels=(4, 8), num_pools=1)
    save_model(
        build_model(dataclasses.replace(config_of(TEXT), backbone=audio), 0), str(tmp_path / "cnn")
    )
    text = dataclasses.replace(TEXT, pretrained=str(tmp_path / "cnn"))
    with pytest.raises(ModelError, match="has no backbone of the kind 'text_transformer'"):
        initial_model(config_of(text), seed=0)


def test_an_untrained_configuration_names_no_checkpoint() -> None:
    text = dataclasses.replace(TEXT, pretrained="acme/bert", revision="abc")
    assert untrained(config_of(text)).text.pretrained is None
    fused = dataclasses.replace(
        config_of(text),
        backbone=Cnn14Config(channels=(4,), num_pools=1),
        fusion=FusionConfig(kind="shallow", text=text),
    )
    assert untrained(fused).text.revision is None
