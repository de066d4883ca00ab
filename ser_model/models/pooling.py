"""Poolings: the frames of a segment become one vector. Frames that are padding never count.

Shapes: B batch, T frames, D hidden features, H features of the attention.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

PoolingName: TypeAlias = Literal["mean", "max", "max_plus_mean", "sum", "attentive_statistics"]
"""mean, max and sum over the frames; PANNs adds maximum and mean; the last has weights."""

NUM_ATTENTION_FEATURES = 128
"""Width of the layer that weighs frames."""

VARIANCE_FLOOR = 1e-8
"""Lower variances count as this: a segment of one frame has none, and roots have no slope at zero.
Not added to them: exporting to ONNX takes such a sum for the variance alone."""


class Pooling(nn.Module):
    """One of the poolings; only attentive statistics have parameters.

    Attributes:
        num_pooled: features of the pooled vector.

    Example:
        >>> hidden_BTD, mask_BT = torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[1, 1, 0]])
        >>> Pooling("max_plus_mean", num_hidden=1)(hidden_BTD, mask_BT.bool()).tolist()
        [[5.0]]
    """

    def __init__(self, name: PoolingName, num_hidden: int) -> None:
        """Make the layers, if any, with random weights."""
        super().__init__()
        self.name = name
        self.num_pooled = num_hidden
        if name == "attentive_statistics":
            self.num_pooled = 2 * num_hidden
            self.attention = FrameAttention(num_hidden)

    def forward(self, hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Return pooled_BD of the frames where the mask is true; every row must have one."""
        if self.name == "attentive_statistics":
            return _statistics(hidden_BTD, self.attention(hidden_BTD, mask_BT))
        if self.name == "mean":
            return _mean(hidden_BTD, mask_BT)
        if self.name == "max":
            return _max(hidden_BTD, mask_BT)
        if self.name == "sum":
            return _sum(hidden_BTD, mask_BT)
        return _max(hidden_BTD, mask_BT) + _mean(hidden_BTD, mask_BT)


class FrameAttention(nn.Module):
    """How much each frame counts: softmax over the true frames of v . tanh(W h + b).

    Okabe, Koshinaka, Shinoda: "Attentive statistics pooling for deep speaker embedding", 2018,
    equations 3 and 4; their constant behind v is left out, as a softmax does not see it.
    """

    def __init__(self, num_hidden: int) -> None:
        """Make the layers with random weights."""
        super().__init__()
        self.dense = nn.Linear(num_hidden, NUM_ATTENTION_FEATURES)
        self.score = nn.Linear(NUM_ATTENTION_FEATURES, 1, bias=False)

    def forward(self, hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """Return weight_BT1: a row's true frames sum to 1, its padding has exactly 0."""
        score_BT1 = self.score(torch.tanh(self.dense(hidden_BTD)))
        return torch.softmax(score_BT1.masked_fill(~mask_BT[..., None], -torch.inf), dim=1)


def _statistics(hidden_BTD: Tensor, weight_BT1: Tensor) -> Tensor:
    """Return the weighted mean and standard deviation side by side; equations 5 and 6 there.

    The squares are those of centred frames, which equals the paper's difference of two large
    numbers but loses no digits.
    """
    # What stands in padding has the weight 0, but 0 times infinity is not a number.
    hidden_BTD = hidden_BTD.masked_fill(weight_BT1 == 0.0, 0.0)
    mean_B1D = (weight_BT1 * hidden_BTD).sum(dim=1, keepdim=True)
    variance_BD = (weight_BT1 * (hidden_BTD - mean_B1D).square()).sum(dim=1)
    return torch.cat([mean_B1D[:, 0], torch.sqrt(variance_BD.clamp(min=VARIANCE_FLOOR))], dim=1)


def _sum(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    return hidden_BTD.masked_fill(~mask_BT[..., None], 0.0).sum(dim=1)


def _mean(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    return _sum(hidden_BTD, mask_BT) / mask_BT.sum(dim=1, keepdim=True)


def _max(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    return hidden_BTD.masked_fill(~mask_BT[..., None], -torch.inf).amax(dim=1)
