import dataclasses

import pytest
from transformers import HubertConfig, UniSpeechConfig, Wav2Vec2Config, WavLMConfig

from ser_model.models.configuration import build
from ser_model.models.speech_transformer_config import (
    OWN_FIELDS,
    SpeechTransformerConfig,
    config_from_library,
)


@pytest.mark.parametrize(
    "library_class", [HubertConfig, UniSpeechConfig, Wav2Vec2Config, WavLMConfig]
)
def test_a_library_configuration_is_read_field_by_field(library_class: type) -> None:
    library = library_class(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        conv_bias=True,
        layerdrop=0.05,
    )
    config = config_from_library(library.to_diff_dict(), do_normalize=True)
    names = {field.name for field in dataclasses.fields(config)}
    for name in names - {*OWN_FIELDS, "feat_proj_layer_norm"}:
        expected = getattr(library, name)
        assert getattr(config, name) == (
            tuple(expected) if isinstance(expected, list) else expected
        )
    assert (config.family, config.do_normalize) == (library.model_type, True)
    assert config.feat_proj_layer_norm


def test_a_written_configuration_is_read_back() -> None:
    config = SpeechTransformerConfig(family="hubert", do_normalize=False, num_hidden_layers=3)
    assert build(SpeechTransformerConfig, dataclasses.asdict(config)) == config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"model_type": "bert"},
            "model_type 'bert' is none of wav2vec2, hubert, unispeech, wavlm",
        ),
        (
            {"model_type": "wavlm", "num_buckets": 64},
            "num_buckets 64 is not built; only 320 is",
        ),
        ({"add_adapter": True}, "add_adapter True is not built; only False is"),
        ({"hidden_act": "relu"}, "hidden_act 'relu' is not built; only 'gelu' is"),
        (
            {"model_type": "hubert", "conv_pos_batch_norm": True},
            "conv_pos_batch_norm True is not built; only False is",
        ),
    ],
)
def test_what_is_not_built_is_refused_by_name(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        config_from_library({"model_type": "wav2vec2", **fields}, do_normalize=True)


def test_more_layers_than_there_are_cannot_be_kept() -> None:
    with pytest.raises(ValueError, match="the checkpoint has 12 layers, not 13"):
        config_from_library({"model_type": "hubert"}, do_normalize=True, num_hidden_layers=13)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_hidden_layers": 0}, "num_hidden_layers 0 must be 1 or more"),
        ({"num_attention_heads": 7}, "hidden_size 768 is no multiple of num_attention_heads 7"),
        ({"feat_proj_layer_norm": False}, "feat_proj_layer_norm is always true for wav2vec2"),
        ({"conv_stride": (5, 2)}, "must pair up"),
    ],
)
def test_what_gives_no_network_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpeechTransformerConfig(family="wav2vec2", do_normalize=True, **fields)
