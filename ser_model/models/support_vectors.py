"""A support vector machine as a head: scikit-learn's arrays as tensors, its arithmetic in torch.

Every decision is a sum over support vectors, `sum_s coefficient_s * kernel(support_s, x) + b`. For
dimensions the decisions are the scores, one regression each. For emotions there is one decision for
each pair of categories; every pair gives its winner a vote, as libsvm does, and the sum of a
category's decisions, squeezed into less than half a vote, breaks ties, as scikit-learn's
`decision_function_shape="ovr"` does. The scores are therefore votes: their softmax ranks categories
and is no calibrated probability.

Shapes: B batch, D features, S support vectors, P decisions, K scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

KernelName: TypeAlias = Literal["linear", "rbf"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportVectorConfig:
    """What a machine is apart from its numbers.

    Attributes:
        kind: name of the head.
        kernel: linear (the dot product) or rbf, exp(-gamma |x - y|^2).
        num_support_vectors: how many training left.
    """

    kind: Literal["support_vectors"] = "support_vectors"
    kernel: KernelName = "rbf"
    num_support_vectors: int

    def __post_init__(self) -> None:
        """Refuse what decides nothing."""
        if self.num_support_vectors < 1:
            raise ValueError(f"num_support_vectors {self.num_support_vectors} is not positive")


class SupportVectorHead(nn.Module):
    """Standardises features, and decides by their likeness to the support vectors.

    Everything is float64, as in scikit-learn. Nothing is a parameter: no gradient trains this head.

    Attributes:
        mean: of each feature over the training segments, [D].
        scale: their standard deviations, [D].
        support: the standardised support vectors, [S, D].
        coefficients: of each support vector in each decision, [S, P].
        intercepts: of each decision, [P].
        gamma: of the rbf kernel, [].
    """

    mean: Tensor
    scale: Tensor
    support: Tensor
    coefficients: Tensor
    intercepts: Tensor
    gamma: Tensor

    def __init__(
        self, config: SupportVectorConfig, *, num_in: int, num_scores: int, votes: bool
    ) -> None:
        """Make room for the numbers.

        Args:
            config: kernel and size.
            num_in: features, D.
            num_scores: categories or dimensions, K.
            votes: whether the decisions are between pairs of categories.
        """
        super().__init__()
        self.kernel = config.kernel
        self.num_scores = num_scores
        self.pairs = list(combinations(range(num_scores), 2)) if votes else []
        num_decisions = len(self.pairs) if votes else num_scores
        shapes = {
            "mean": (num_in,),
            "scale": (num_in,),
            "support": (config.num_support_vectors, num_in),
            "coefficients": (config.num_support_vectors, num_decisions),
            "intercepts": (num_decisions,),
            "gamma": (),
        }
        for name, shape in shapes.items():
            fill = 1.0 if name in ("scale", "gamma") else 0.0
            self.register_buffer(name, torch.full(shape, fill, dtype=torch.float64))

    def forward(self, pooled_BD: Tensor) -> Tensor:
        """Return scores_BK, float32: dimensions, or votes with their tie-breaks."""
        features_BD = (pooled_BD.double() - self.mean) / self.scale
        decisions_BP = self._kernel(features_BD) @ self.coefficients + self.intercepts
        scores_BK = self._votes(decisions_BP) if self.pairs else decisions_BP
        return scores_BK.float()

    def _kernel(self, features_BD: Tensor) -> Tensor:
        """Return kernel_BS; a row's values do not depend on the other rows."""
        dots_BS = features_BD @ self.support.T
        if self.kernel == "linear":
            return dots_BS
        norms_B1 = features_BD.square().sum(dim=1, keepdim=True)
        distances_BS = norms_B1 - 2.0 * dots_BS + self.support.square().sum(dim=1)
        return torch.exp(-self.gamma * distances_BS)

    def _votes(self, decisions_BP: Tensor) -> Tensor:
        """Return votes_BK; a decision of 0 or more is for the first of its pair."""
        votes_BK = decisions_BP.new_zeros(len(decisions_BP), self.num_scores)
        sums_BK = torch.zeros_like(votes_BK)
        for at, (first, second) in enumerate(self.pairs):
            decision_B = decisions_BP[:, at]
            votes_BK[:, first] += (decision_B >= 0).double()
            votes_BK[:, second] += (decision_B < 0).double()
            sums_BK[:, first] += decision_B
            sums_BK[:, second] -= decision_B
        return votes_BK + sums_BK / (3.0 * (sums_BK.abs() + 1.0))
