"""Text backbones of BERT's family, around the library's class: transcripts to tokens' states.

Devlin et al., "BERT: pre-training of deep bidirectional transformers for language understanding",
2019; Jiao et al., "TinyBERT: distilling BERT for natural language understanding", 2020.

Shapes: B batch, L tokens, D hidden features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ser_model.models.backbone import PartName
from ser_model.models.text_transformer_config import TextTransformerConfig, library_fields
from ser_model.models.tokeniser import Tokeniser, Tokens, make_tokeniser
from ser_model.schema import ModelError


class TextTransformer(nn.Module):
    """Transcripts to states of their tokens. A row does not see the padding behind it.

    Attributes:
        num_hidden: features of a token.
        min_samples: of a segment that is scored; any that has audio is.
        padding_free: True: for how long somebody speaks is nothing to its text.
        transformer: the library's model, without its pooler; `state_dict` holds its weights under
            its names.
        tokeniser: makes tokens of transcripts.
    """

    min_samples = 1
    padding_free = True

    def __init__(self, config: TextTransformerConfig, tokeniser: bytes | None = None) -> None:
        """Make the layers with the library's random weights.

        Args:
            config: architecture and choices.
            tokeniser: the content of `tokenizer.json`; None for one that only spells.

        Raises:
            ModelError: the tokeniser has more tokens than there are embeddings, or cannot be read.
        """
        from transformers import BertConfig, BertModel

        super().__init__()
        self.num_hidden = config.hidden_size
        data = make_tokeniser((), vocab_size=config.vocab_size) if tokeniser is None else tokeniser
        self.tokeniser = Tokeniser(data, max_tokens=config.max_tokens)
        if self.tokeniser.num_ids > config.vocab_size:
            raise ModelError(
                f"the tokeniser has {self.tokeniser.num_ids} tokens, and vocab_size is "
                f"{config.vocab_size}"
            )
        self._special_tokens = config.special_tokens
        library_config = BertConfig(
            **library_fields(config),
            attn_implementation="sdpa",  # type: ignore[call-arg]  # missing in its annotations
        )
        self.transformer: Any = BertModel(library_config, add_pooling_layer=False)

    def prepare(self, waveform_BN: Tensor, num_samples_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs without any frame: the model does not hear."""
        return waveform_BN[:, :0], torch.zeros_like(num_samples_B)

    def forward(self, transcripts: Sequence[str] | None) -> tuple[Tensor, Tensor]:
        """Return hidden_BLD and mask_BL of the tokens that pooling sees; every row has one.

        Raises:
            ValueError: there are no transcripts.
        """
        if transcripts is None:
            raise ValueError("the model reads text: give a transcript for each row")
        return self.encode(self.tokeniser(transcripts).to(self.transformer.device))

    def encode(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Return the same of tokens."""
        hidden_BLD = self.transformer(
            input_ids=tokens.ids, attention_mask=tokens.is_token
        ).last_hidden_state
        if self._special_tokens:
            return hidden_BLD, tokens.is_token
        has_words_B1 = tokens.is_word.any(dim=1, keepdim=True)
        return hidden_BLD, tokens.is_word | (tokens.is_token & ~has_words_B1)

    def modules_of(self, part: PartName) -> tuple[nn.Module, ...]:
        """Return the embeddings, or the transformer layers."""
        return (getattr(self.transformer, "embeddings" if part == "front_end" else "encoder"),)
