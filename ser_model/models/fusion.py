"""Fusion: how the text of a segment joins its audio.

Shapes: B batch, D hidden features, C channels of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ser_model.models.pooling import Pooling, PoolingName
from ser_model.models.text_transformer import TextTransformer
from ser_model.models.text_transformer_config import TextTransformerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionConfig:
    """Where text comes in, and what it is read by.

    Attributes:
        kind: concatenation (pooled audio beside pooled text: Wagner et al. 2023, section IV-B; de
            Oliveira et al. 2023, section 2.2), shallow (a linear layer of the pooled text, added to
            the pooled audio: SFCNN14) or every_block (a linear layer of it for each block of a
            CNN14, added to all places of the block's maps: MFCNN14). The latter two are
            Triantafyllopoulos et al. 2023, section 3.
        pooling: tokens to one vector.
        text: transcripts to tokens' states.
    """

    kind: Literal["concatenation", "shallow", "every_block"]
    pooling: PoolingName = "mean"
    text: TextTransformerConfig


class Fusion(nn.Module):
    """The text backbone, its pooling, and the projections to where its vector is added.

    Attributes:
        text: the text backbone.
        projections: one (shallow), one a block (every_block) or none.
        num_fused: features of the vector that the head sees.
    """

    def __init__(
        self,
        config: FusionConfig,
        *,
        num_pooled: int,
        channels: Sequence[int],
        tokeniser: bytes | None = None,
    ) -> None:
        """Make the layers with random weights.

        Args:
            config: the switches.
            num_pooled: features of the pooled audio.
            channels: of each block of the audio backbone; none where it has no blocks.
            tokeniser: as in `TextTransformer`.
        """
        super().__init__()
        self._kind = config.kind
        self.text = TextTransformer(config.text, tokeniser)
        self.pooling = Pooling(config.pooling, self.text.num_hidden)
        num_text = self.pooling.num_pooled
        sizes = {"concatenation": (), "shallow": (num_pooled,), "every_block": tuple(channels)}
        self.projections = nn.ModuleList(nn.Linear(num_text, n) for n in sizes[config.kind])
        self.num_fused = num_pooled + (num_text if config.kind == "concatenation" else 0)

    def embed(self, transcripts: Sequence[str] | None) -> Tensor:
        """Return text_BD, the pooled states of the tokens, in float32."""
        hidden_BLD, mask_BL = self.text(transcripts)
        with torch.autocast(hidden_BLD.device.type, enabled=False):
            text_BD: Tensor = self.pooling(hidden_BLD.float(), mask_BL)
        return text_BD

    def block_shifts(self, text_BD: Tensor) -> list[Tensor]:
        """Return shift_BC of each block of the audio backbone; none where text joins later."""
        if self._kind != "every_block":
            return []
        return [projection(text_BD) for projection in self.projections]

    def join(self, pooled_BD: Tensor, text_BD: Tensor) -> Tensor:
        """Return the vector that the head sees, of the pooled audio and the pooled text."""
        if self._kind == "concatenation":
            return torch.cat([pooled_BD, text_BD], dim=1)
        if self._kind == "shallow":
            pooled_BD = pooled_BD + self.projections[0](text_BD)
        return pooled_BD
