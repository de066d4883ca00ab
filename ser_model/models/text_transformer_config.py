"""What a text backbone of BERT's family is apart from its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ser_model.models.backbone import check_layers

MissingTranscript: TypeAlias = Literal["reject", "empty"]

_LIBRARY_NAMES = {
    "hidden_dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    **{
        name: name
        for name in (
            *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
            *("vocab_size", "max_position_embeddings", "type_vocab_size", "layer_norm_eps"),
        )
    },
}
"""The library's names of the fields that it knows too."""

_ONLY = {"hidden_act": "gelu", "is_decoder": False, "position_embedding_type": "absolute"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTransformerConfig:
    """The switches of the family: BERT, and TinyBERT, which is smaller.

    Attributes:
        kind: name of the backbone.
        hidden_size: features of a token.
        num_hidden_layers: transformer layers; fewer than a checkpoint has drops the top ones.
        num_attention_heads: heads of each layer.
        intermediate_size: features of the feed-forward layers.
        vocab_size: tokens that have an embedding; a vocabulary may have fewer.
        max_position_embeddings: places that have an embedding.
        type_vocab_size: kinds of text that have an embedding; a transcript is of the first.
        layer_norm_eps: of the transformer's norms.
        hidden_dropout: dropout behind embeddings, attention and feed-forward in training.
        attention_dropout: dropout of attention weights in training.
        max_tokens: of a transcript, special ones among them; what is longer is cut off.
        special_tokens: whether pooling sees the tokens around the text ([CLS] and [SEP]) too. Of a
            text without words it sees them in any case.
        missing_transcript: what becomes of a segment without transcript: it is rejected (reject),
            or its text is taken to be empty (empty).
        tokeniser_sha256: of the model's `tokenizer.json`; null until there is one.
        pretrained: where training begins: a hub id, a folder in the Hugging Face layout, or that of
            a trained model; null for random weights and a vocabulary of the training transcripts.
        revision: commit of the hub's repository, or SHA-256 of the trained model's weights; null
            until it is known.
    """

    kind: Literal["text_transformer"] = "text_transformer"
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    vocab_size: int = 30_522
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    max_tokens: int = 128
    special_tokens: bool = True
    missing_transcript: MissingTranscript = "reject"
    tokeniser_sha256: str | None = None
    pretrained: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        """Refuse what gives no network."""
        check_layers(
            num_hidden_layers=self.num_hidden_layers,
            hidden_size=self.hidden_size,
            num_attention_heads=self.num_attention_heads,
        )
        if not 3 <= self.max_tokens <= self.max_position_embeddings:
            raise ValueError(
                f"max_tokens {self.max_tokens} is not 3 to max_position_embeddings, "
                f"{self.max_position_embeddings}"
            )


def library_fields(config: TextTransformerConfig) -> dict[str, Any]:
    """Return what transformers' BertConfig needs to be told."""
    return {library: getattr(config, name) for name, library in _LIBRARY_NAMES.items()}


def text_config_from_library(
    mapping: Mapping[str, Any], *, num_hidden_layers: int | None = None
) -> TextTransformerConfig:
    """Read a configuration from the `config.json` of a checkpoint.

    TinyBERT's lacks `model_type`; whatever has BERT's fields and no other type is taken for BERT.

    Args:
        mapping: the file's content.
        num_hidden_layers: how many layers to keep, counted from the lowest; None for all.

    Raises:
        ValueError: another family, or a part that is not built here.

    Example:
        >>> config = text_config_from_library(
        ...     {"hidden_size": 312, "num_hidden_layers": 4, "vocab_size": 30522}
        ... )
        >>> config.hidden_size, config.num_attention_heads
        (312, 12)
    """
    from transformers import BertConfig

    if mapping.get("model_type", "bert") != "bert":
        raise ValueError(f"model_type {mapping['model_type']!r} is no text model; only 'bert' is")
    if "vocab_size" not in mapping:
        raise ValueError("config.json names neither a model_type nor a vocab_size")
    for name, only in _ONLY.items():
        if mapping.get(name, only) != only:
            raise ValueError(f"{name} {mapping[name]!r} is not built; only {only!r} is")
    library = BertConfig.from_dict(dict(mapping)).to_dict()
    fields = {name: library[library_name] for name, library_name in _LIBRARY_NAMES.items()}
    if num_hidden_layers is not None:
        if num_hidden_layers > fields["num_hidden_layers"]:
            raise ValueError(
                f"the checkpoint has {fields['num_hidden_layers']} layers, not {num_hidden_layers}"
            )
        fields["num_hidden_layers"] = num_hidden_layers
    return TextTransformerConfig(**fields, max_tokens=min(128, fields["max_position_embeddings"]))
