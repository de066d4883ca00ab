"""Losses that training minimises. All are computed in float32, of the scores of a whole batch.

Shapes: B batch, D dimensions, K categories (or dimensions: the scores of a model).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from ser_model.training.recipe import Recipe

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Of scores_BK and truth, truth_BD of dimensions or truth_B of category numbers, to one number."""

EPSILON = 1e-8
"""Added to the denominator of CCC, so that a batch of equal values has a loss and a gradient."""


def make_loss(recipe: Recipe, truth_B: Tensor, num_targets: int) -> Loss:
    """Return the loss of a recipe.

    Args:
        recipe: names the loss of its task and the weights of the dimensions.
        truth_B: the truth of all training segments; categories are weighted by it.
        num_targets: scores of the model.
    """
    if recipe.task == "emotion":
        if recipe.loss.emotion == "cross_entropy":
            return lambda scores_BK, truth_B: F.cross_entropy(scores_BK.float(), truth_B)
        weights_K = inverse_frequency_weights(torch.bincount(truth_B, minlength=num_targets))
        return lambda scores_BK, truth_B: F.cross_entropy(
            scores_BK.float(), truth_B, weight=weights_K.to(scores_BK.device)
        )
    alone = recipe.task != "dimensions"
    kind = recipe.loss.one_dimension if alone else recipe.loss.dimensions
    of_dimensions = concordance_loss if kind == "concordance_cc" else squared_error_loss
    weights_D = torch.tensor(recipe.dimension_weights)
    return lambda scores_BK, truth_BD: of_dimensions(
        scores_BK, truth_BD, weights_D.to(scores_BK.device)
    )


def concordance_loss(
    prediction_BD: Tensor, truth_BD: Tensor, weights_D: Tensor | None = None
) -> Tensor:
    """Return 1 minus the concordance correlation coefficient (CCC), averaged over dimensions.

    The CCC is Lin's (1989) with variances divided by n, as in `ser_model.metrics.concordance`,
    here in float32 and with an epsilon. The weighted mean over dimensions is the multitask loss of
    Parthasarathy and Busso (Interspeech 2017).

    Args:
        prediction_BD: any scale.
        truth_BD: the same scale.
        weights_D: of the dimensions, their sum 1; None for equal weights.

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
    return 1.0 - _weighted_mean(ccc_D, weights_D)


def squared_error_loss(
    prediction_BD: Tensor, truth_BD: Tensor, weights_D: Tensor | None = None
) -> Tensor:
    """Return the mean squared error, averaged over dimensions.

    >>> squared_error_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]])).item()
    0.5
    """
    errors_D = (prediction_BD.float() - truth_BD.float()).square().mean(dim=0)
    return _weighted_mean(errors_D, weights_D)


def _weighted_mean(values_D: Tensor, weights_D: Tensor | None) -> Tensor:
    return values_D.mean() if weights_D is None else (weights_D * values_D).sum()


def inverse_frequency_weights(counts: Sequence[int] | Tensor) -> Tensor:
    """Return weights_K for cross-entropy: num_segments / (num_categories * count).

    A rare category counts as much as a frequent one; over all segments the mean weight is 1.

    Args:
        counts: segments of each category, at least one.

    Example:
        >>> inverse_frequency_weights([30, 10]).tolist()
        [0.6666666865348816, 2.0]
    """
    counts_K = torch.as_tensor(counts, dtype=torch.float32)
    if counts_K.min() < 1:
        raise ValueError(f"a category has no segment: {counts_K.int().tolist()}")
    return counts_K.sum() / (len(counts) * counts_K)
