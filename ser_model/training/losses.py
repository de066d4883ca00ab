"""Losses that training minimises.

Shapes: B batch, D dimensions, K categories.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

EPSILON = 1e-8
"""Added to the denominator of CCC, so that a batch of equal values has a loss and a gradient."""


def concordance_loss(prediction_BD: Tensor, truth_BD: Tensor) -> Tensor:
    """Return 1 minus the concordance correlation coefficient (CCC), averaged over dimensions.

    The CCC is Lin's (1989) with variances divided by n, as in `ser_model.metrics.concordance`,
    here in float32 and with an epsilon. Averaging over dimensions is the multitask loss of
    Parthasarathy and Busso (Interspeech 2017) with equal weights.

    Args:
        prediction_BD: any scale.
        truth_BD: the same scale.

    Returns:
        0 (all agree) to 2; 1 for a batch of equal values.

    Example:
        >>> truth_BD = torch.tensor([[0.0], [1.0], [2.0]])
        >>> round(concordance_loss(torch.tensor([[0.0], [1.0], [1.0]]), truth_BD).item(), 6)
        0.333333
    """
    prediction_BD, truth_BD = prediction_BD.float(), truth_BD.float()
    mean_p_D, mean_t_D = prediction_BD.mean(dim=0), truth_BD.mean(dim=0)
    p_BD, t_BD = prediction_BD - mean_p_D, truth_BD - mean_t_D
    covariance_D = (p_BD * t_BD).mean(dim=0)
    variances_D = p_BD.square().mean(dim=0) + t_BD.square().mean(dim=0)
    ccc_D = 2.0 * covariance_D / (variances_D + (mean_p_D - mean_t_D).square() + EPSILON)
    return 1.0 - ccc_D.mean()


def inverse_frequency_weights(counts: Sequence[int]) -> Tensor:
    """Return weights_K for cross-entropy: num_segments / (num_categories * count).

    A rare category counts as much as a frequent one; over all segments the mean weight is 1.

    Args:
        counts: segments of each category, at least one.

    Example:
        >>> inverse_frequency_weights([30, 10]).tolist()
        [0.6666666865348816, 2.0]
    """
    if min(counts) < 1:
        raise ValueError(f"a category has no segment: {list(counts)}")
    counts_K = torch.tensor(counts, dtype=torch.float32)
    return counts_K.sum() / (len(counts) * counts_K)
