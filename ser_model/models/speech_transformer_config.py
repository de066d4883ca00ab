"""What a wav2vec 2.0, HuBERT, UniSpeech or WavLM backbone is apart from its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ser_model.models.backbone import check_layers
from ser_model.models.configuration import build
from ser_model.models.layer_sum import LayersName
from ser_model.models.packing import ConvGeometry

_CLASS_PREFIX = {
    "wav2vec2": "Wav2Vec2",
    "hubert": "Hubert",
    "unispeech": "UniSpeech",
    "wavlm": "WavLM",
}
OWN_FIELDS = ("kind", "family", "do_normalize", "layers", "pretrained", "revision")
"""Fields that the library's configuration does not have, or not in that place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechTransformerConfig:
    """The switches of the family; all but OWN_FIELDS are the library's, under its names.

    Attributes:
        kind: name of the backbone.
        family: which of the library's classes.
        do_normalize: whether each segment is brought to zero mean and unit variance.
        hidden_size: features of a frame.
        num_hidden_layers: transformer layers; fewer than a checkpoint has drops the top ones.
        num_attention_heads: heads of each layer.
        intermediate_size: features of the feed-forward layers.
        feat_extract_norm: layer (LayerNorm after every convolution) or group (GroupNorm after the
            first alone).
        do_stable_layer_norm: whether norms stand before attention and feed-forward.
        conv_bias: whether the convolutions have a bias.
        feat_proj_layer_norm: LayerNorm before the projection; DistilHuBERT has none.
        conv_dim: channels of each convolution.
        conv_kernel: taps of each convolution.
        conv_stride: step of each convolution.
        num_conv_pos_embeddings: taps of the positional convolution.
        num_conv_pos_embedding_groups: its groups.
        layer_norm_eps: of the transformer's norms.
        hidden_dropout: dropout behind attention and feed-forward in training.
        attention_dropout: dropout of attention weights in training.
        activation_dropout: dropout inside the feed-forward layers in training.
        feat_proj_dropout: dropout behind the projection in training.
        layerdrop: part of the layers that training skips.
        mask_time_prob: part of the frames that training masks (SpecAugment); 0 for none.
        mask_time_length: frames of a mask.
        layers: the top layer's frames (top), or a weighted sum over all layers (weighted_sum).
        pretrained: where training begins: a hub id, a folder in the Hugging Face layout, or that of
            a trained model; null for random weights.
        revision: commit of the hub's repository, or SHA-256 of the trained model's weights; null
            until it is known.
    """

    kind: Literal["speech_transformer"] = "speech_transformer"
    family: Literal["wav2vec2", "hubert", "unispeech", "wavlm"]
    do_normalize: bool
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    feat_extract_norm: Literal["layer", "group"] = "group"
    do_stable_layer_norm: bool = False
    conv_bias: bool = False
    feat_proj_layer_norm: bool = True
    conv_dim: tuple[int, ...] = (512, 512, 512, 512, 512, 512, 512)
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    layer_norm_eps: float = 1e-5
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.1
    feat_proj_dropout: float = 0.0
    layerdrop: float = 0.0
    mask_time_prob: float = 0.0
    mask_time_length: int = 10
    layers: LayersName = "top"
    pretrained: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        """Refuse what gives no network."""
        ConvGeometry(kernels=self.conv_kernel, strides=self.conv_stride)
        if self.family != "hubert" and not self.feat_proj_layer_norm:
            raise ValueError(f"feat_proj_layer_norm is always true for {self.family}")
        check_layers(
            num_hidden_layers=self.num_hidden_layers,
            hidden_size=self.hidden_size,
            num_attention_heads=self.num_attention_heads,
        )


def config_from_library(
    mapping: Mapping[str, Any], *, do_normalize: bool, num_hidden_layers: int | None = None
) -> SpeechTransformerConfig:
    """Read a configuration from the `config.json` of a checkpoint.

    Args:
        mapping: the file's content.
        do_normalize: from the `preprocessor_config.json` beside it.
        num_hidden_layers: how many layers to keep, counted from the lowest; None for all.

    Raises:
        ValueError: another family, or a part that is not built here (an adapter, another
            activation than GELU, a batch norm in the positional convolution).

    Example:
        >>> config = config_from_library(
        ...     {"model_type": "hubert", "hidden_size": 1024, "num_attention_heads": 16},
        ...     do_normalize=True,
        ...     num_hidden_layers=10,
        ... )
        >>> config.family, config.hidden_size, config.num_hidden_layers
        ('hubert', 1024, 10)
    """
    family = mapping.get("model_type")
    if family not in _CLASS_PREFIX:
        raise ValueError(f"model_type {family!r} is none of {', '.join(_CLASS_PREFIX)}")
    library = library_class(family, "Config").from_dict(dict(mapping)).to_dict()
    for name, only in {
        "add_adapter": False,
        "adapter_attn_dim": None,
        "conv_pos_batch_norm": False,
        "feat_extract_activation": "gelu",
        "hidden_act": "gelu",
        "num_buckets": 320,
        "max_bucket_distance": 800,
    }.items():
        if library.get(name, only) != only:
            raise ValueError(f"{name} {library[name]!r} is not built; only {only!r} is")
    names = set(SpeechTransformerConfig.__dataclass_fields__) - set(OWN_FIELDS)
    fields = {name: value for name, value in library.items() if name in names}
    if num_hidden_layers is not None:
        if num_hidden_layers > library["num_hidden_layers"]:
            raise ValueError(
                f"the checkpoint has {library['num_hidden_layers']} layers, not {num_hidden_layers}"
            )
        fields["num_hidden_layers"] = num_hidden_layers
    return build(SpeechTransformerConfig, fields | {"family": family, "do_normalize": do_normalize})


def library_class(family: str, suffix: str) -> Any:  # noqa: ANN401  classes with no common type
    """Return the library's class; loading the library takes seconds, which only its models cost."""
    import transformers

    return getattr(transformers, _CLASS_PREFIX[family] + suffix)
