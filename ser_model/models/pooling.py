"""Poolings: the frames of a segment become one vector. Frames that are padding never count.

Shapes: B batch, T frames, D hidden features.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

PoolingName: TypeAlias = Literal["mean", "max", "max_plus_mean"]
"""mean and max over the frames; PANNs adds the two."""


def pool(name: PoolingName, hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Return pooled_BD of the frames where the mask is true; every row must have one.

    Example:
        >>> hidden_BTD, mask_BT = torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[1, 1, 0]])
        >>> pool("max_plus_mean", hidden_BTD, mask_BT.bool()).tolist()
        [[5.0]]
    """
    if name == "mean":
        return _mean(hidden_BTD, mask_BT)
    if name == "max":
        return _max(hidden_BTD, mask_BT)
    return _max(hidden_BTD, mask_BT) + _mean(hidden_BTD, mask_BT)


def _mean(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    total_BD = hidden_BTD.masked_fill(~mask_BT[..., None], 0.0).sum(dim=1)
    return total_BD / mask_BT.sum(dim=1, keepdim=True)


def _max(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    return hidden_BTD.masked_fill(~mask_BT[..., None], -torch.inf).amax(dim=1)
