"""The head: the pooled vector of a segment becomes scores.

Shapes: B batch, D hidden features, K scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

_ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadConfig:
    """A dense layer, an activation and the output layer, with dropout before both layers.

    Attributes:
        kind: name of the head.
        num_hidden: features of the dense layer; null for the output layer alone.
        activation: relu (PANNs) or tanh (Wagner et al. 2023).
        dropout: part of the features that training leaves out.
    """

    kind: Literal["dense"] = "dense"
    num_hidden: int | None
    activation: Literal["relu", "tanh"] = "relu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what gives no layer."""
        if self.num_hidden is not None and self.num_hidden < 1:
            raise ValueError(f"num_hidden {self.num_hidden} is not positive")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout {self.dropout} is not in [0, 1)")


class Head(nn.Module):
    """Dense layer, activation, output layer; no activation behind the output.

    Attributes:
        dense: None where the output layer is the only one.
    """

    def __init__(self, config: HeadConfig, *, num_in: int, num_scores: int) -> None:
        """Make the layers with random weights."""
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.dense: nn.Linear | None = None
        if config.num_hidden is not None:
            self.dense = nn.Linear(num_in, config.num_hidden)
            num_in = config.num_hidden
        self.out_proj = nn.Linear(num_in, num_scores)
        self._activation = _ACTIVATIONS[config.activation]

    def forward(self, pooled_BD: Tensor) -> Tensor:
        """Return scores_BK."""
        hidden_BD = self.dropout(pooled_BD)
        if self.dense is not None:
            hidden_BD = self.dropout(self._activation(self.dense(hidden_BD)))
        scores_BK: Tensor = self.out_proj(hidden_BD)
        return scores_BK
