import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModel,
    HubertConfig,
    HubertForCTC,
    Wav2Vec2ForPreTraining,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperForConditionalGeneration,
)
from transformers import WhisperConfig as LibraryWhisperConfig

from ser_model.models.backbones import named_backbones, with_name_filled_in
from ser_model.models.base import EmotionModel, ModelConfig, build_model
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.configuration import build
from ser_model.models.head import HeadConfig
from ser_model.models.pretrained import initial_model, load_backbone, untrained
from ser_model.models.speech_transformer import SpeechTransformer
from ser_model.models.speech_transformer_config import SpeechTransformerConfig, library_class
from ser_model.models.text_transformer import TextTransformer
from ser_model.models.text_transformer_config import TextTransformerConfig
from ser_model.models.whisper_encoder import WhisperConfig, WhisperEncoder
from ser_model.schema import DIMENSIONS, ModelError

HubFolder = Callable[..., Path]
HubCache = Callable[..., str]
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
BACKBONES = {
    SpeechTransformerConfig: SpeechTransformer,
    WhisperConfig: WhisperEncoder,
    TextTransformerConfig: TextTransformer,
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}


def save(model: torch.nn.Module, folder: Path, **preprocessor: object) -> str:
    model.save_pretrained(folder)
    if preprocessor:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return str(folder)


def model_config(**backbone: object) -> ModelConfig:
    fields = {"family": "wav2vec2", "do_normalize": False, **TINY, **LARGE, **backbone}
    return ModelConfig(
        task="dimensions",
        targets=DIMENSIONS,
        backbone=SpeechTransformerConfig(**fields),
        pooling="mean",
        head=HeadConfig(num_hidden=8),
    )


def weights_of(model: EmotionModel, part: str) -> dict[str, torch.Tensor]:
    return {name: w for name, w in model.state_dict().items() if name.startswith(part)}


@torch.inference_mode()
@pytest.mark.parametrize("depth", [None, 2])
def test_a_backbone_has_the_frames_of_from_pretrained(
    hub_folder: HubFolder, tmp_path: Path, depth: int | None
) -> None:
    folder = str(hub_folder(tmp_path))
    backbone = load_backbone(folder, num_hidden_layers=depth)
    library = Wav2Vec2Model.from_pretrained(
        folder, dtype=torch.float32, **({} if depth is None else {"num_hidden_layers": depth})
    )
    row = torch.randn(1, 8_000, generator=torch.Generator().manual_seed(0))
    inputs, num_samples = backbone.prepare(row, torch.tensor([8_000]))
    expected = library.eval()(inputs).last_hidden_state
    torch.testing.assert_close(backbone(inputs, num_samples)[0], expected, rtol=0.0, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize(
    "make",
    [
        lambda: HubertForCTC(HubertConfig(**TINY, vocab_size=8)),
        lambda: WavLMModel(WavLMConfig(**TINY)),
        lambda: Wav2Vec2ForPreTraining(
            library_class("wav2vec2", "Config")(
                **TINY, **LARGE, proj_codevector_dim=8, codevector_dim=8
            )
        ),
    ],
    ids=["hubert with a recogniser's head", "wavlm", "wav2vec2 with its quantizer"],
)
def test_other_heads_are_left_over(make: Callable[[], torch.nn.Module], tmp_path: Path) -> None:
    model = make().eval()
    backbone = load_backbone(save(model, tmp_path, do_normalize=False))
    assert isinstance(backbone, SpeechTransformer)
    row = torch.randn(1, 8_000, generator=torch.Generator().manual_seed(0))
    base = getattr(model, model.base_model_prefix, model)
    frames = backbone(row, torch.tensor([8_000]))[0]
    torch.testing.assert_close(frames, base(row).last_hidden_state, rtol=0.0, atol=1e-5)


@torch.inference_mode()
def test_whisper_leaves_its_decoder_over(tmp_path: Path) -> None:
    library = WhisperForConditionalGeneration(
        LibraryWhisperConfig(
            d_model=32,
            encoder_layers=2,
            encoder_attention_heads=4,
            encoder_ffn_dim=64,
            decoder_layers=1,
            decoder_attention_heads=4,
            decoder_ffn_dim=64,
            vocab_size=64,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
        )
    )
    backbone = load_backbone(save(library, tmp_path), num_hidden_layers=1)
    assert isinstance(backbone, WhisperEncoder)
    weights = library.model.encoder.state_dict()
    assert all(
        torch.equal(weights[name], value)
        for name, value in backbone.transformer.state_dict().items()
    )
    with pytest.raises(ModelError, match="the checkpoint has 2 layers, not 3"):
        load_backbone(str(tmp_path), num_hidden_layers=3)


def test_a_training_begins_with_the_pretrained_backbone_and_a_random_head(
    hub_cache: HubCache,
) -> None:
    commit = hub_cache("acme/speech")
    config = model_config(pretrained="acme/speech", num_hidden_layers=2, mask_time_prob=0.05)
    model, other_seed = initial_model(config, seed=1), initial_model(config, seed=2)
    # The checkpoint knows of normalisation, the hub of the commit; the recipe of the rest.
    assert model.config.backbone == dataclasses.replace(
        config.backbone, do_normalize=True, revision=commit
    )
    transformer = weights_of(model, "backbone.")
    assert all(torch.equal(w, other_seed.state_dict()[n]) for n, w in transformer.items())
    random = build_model(untrained(config), seed=1)
    assert random.config.backbone.pretrained is None
    head = weights_of(model, "head.")
    assert all(torch.equal(w, random.state_dict()[n]) for n, w in head.items())
    name = "backbone.transformer.encoder.layers.0.attention.k_proj.weight"
    assert not torch.equal(transformer[name], random.state_dict()[name])


def test_without_pretrained_weights_all_are_random(model_maker) -> None:
    config = model_config()
    model, random = initial_model(config, seed=1), build_model(config, seed=1)
    assert all(torch.equal(w, random.state_dict()[n]) for n, w in model.state_dict().items())
    cnn14 = dataclasses.replace(config, backbone=Cnn14Config(channels=(4,), num_pools=1))
    assert untrained(cnn14) == initial_model(cnn14, seed=0).config == cnn14


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 64}, "hidden_size is 64, there 32"),
        ({"do_stable_layer_norm": False}, "do_stable_layer_norm is False, there True"),
        ({"family": "hubert"}, "family is 'hubert', there 'wav2vec2'"),
        ({"num_hidden_layers": 4}, "the checkpoint has 3 layers, not 4"),
    ],
)
def test_another_architecture_than_the_checkpoints_is_named(
    hub_folder: HubFolder, tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    config = model_config(pretrained=str(hub_folder(tmp_path)), **fields)
    with pytest.raises(ModelError, match=message):
        initial_model(config, seed=0)


def test_a_checkpoint_that_does_not_tell_of_normalisation_needs_a_recipe_that_does(
    hub_folder: HubFolder, tmp_path: Path
) -> None:
    folder = hub_folder(tmp_path)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"no preprocessor_config.json says do_normalize"):
        load_backbone(str(folder))
    config = model_config(pretrained=str(folder))
    assert initial_model(config, seed=0).config.backbone.do_normalize is False


@pytest.mark.parametrize("name", named_backbones())
def test_a_named_backbone_is_built_to_its_library_class(name: str) -> None:
    config = named_backbones()[name].config
    with torch.device("meta"):
        is_speech = isinstance(config, SpeechTransformerConfig)
        backbone = BACKBONES[type(config)](config)
        library = AutoModel.from_config(backbone.transformer.config) if is_speech else None
    assert backbone.num_hidden == config.hidden_size
    if library is not None:
        names = {name: value.shape for name, value in library.state_dict().items()}
        own = {name: value.shape for name, value in backbone.transformer.state_dict().items()}
        assert own == names


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("w2v2-b", 94.4),
        ("hubert-b", 94.4),
        ("w2v2-L", 315.4),
        ("w2v2-L-960h", 315.4),
        ("hubert-xlarge", 962.5),
        ("distilhubert", 23.5),
        ("wavlm-large", 315.5),
        ("whisper-tiny", 8.2),
        ("bert-base-uncased", 108.9),
        ("tinybert", 14.3),
    ],
)
def test_a_named_backbone_has_the_size_that_is_published(name: str, millions: float) -> None:
    config = named_backbones()[name].config
    with torch.device("meta"):
        backbone = BACKBONES[type(config)](config)
    number = sum(parameter.numel() for parameter in backbone.parameters())
    assert round(number / 1e6, 1) == millions


def test_every_named_backbone_is_pinned_to_a_commit() -> None:
    revisions = [named.revision for named in named_backbones().values()]
    assert all(revision and re.fullmatch("[0-9a-f]{40}", revision) for revision in revisions)
    assert len(set(revisions)) == len(revisions)


def test_a_name_is_filled_in_and_what_is_given_beside_it_stays() -> None:
    filled = with_name_filled_in({"name": "hubert-b", "layerdrop": 0.1, "num_hidden_layers": 6})
    config = build(SpeechTransformerConfig, filled)
    named = named_backbones()["hubert-b"]
    assert config == dataclasses.replace(
        named.config,
        pretrained="facebook/hubert-base-ls960",
        revision=named.revision,
        layerdrop=0.1,
        num_hidden_layers=6,
    )
    own = with_name_filled_in({"name": "hubert-b", "pretrained": "folder"})
    assert (own["pretrained"], own["revision"]) == ("folder", None)
    with pytest.raises(ValueError, match=r"backbone.name is 'wav2vec9'; allowed are: w2v2-b, "):
        with_name_filled_in({"name": "wav2vec9"})
    assert with_name_filled_in({"kind": "cnn14"}) == {"kind": "cnn14"}
