import numpy as np
import pytest
import torch

from ser_model.metrics.concordance import concordance_cc
from ser_model.training.losses import (
    concordance_loss,
    inverse_frequency_weights,
    make_loss,
    squared_error_loss,
)
from ser_model.training.recipe import load_recipe


def test_the_loss_is_one_minus_the_mean_of_the_metric() -> None:
    rng = np.random.default_rng(0)
    truth, prediction = rng.random((40, 3)), rng.random((40, 3)) + 0.2
    prediction[:, 1] += truth[:, 1]
    expected = 1 - np.mean([concordance_cc(truth[:, k], prediction[:, k]) for k in range(3)])
    loss = concordance_loss(torch.tensor(prediction), torch.tensor(truth))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("factor", "expected"), [(1.0, 0.0), (-1.0, 2.0)])
def test_the_loss_ends_at_agreement_and_at_its_opposite(factor: float, expected: float) -> None:
    truth = torch.tensor([[-1.0], [0.0], [1.0]])
    assert concordance_loss(factor * truth, truth).item() == pytest.approx(expected, abs=1e-6)


def test_a_constant_batch_has_a_loss_of_one_and_a_finite_gradient() -> None:
    prediction = torch.full((4, 2), 0.5, requires_grad=True)
    loss = concordance_loss(prediction, torch.full((4, 2), 0.5))
    loss.backward()
    assert loss.item() == 1.0
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()


def test_half_precision_scores_are_compared_in_float32() -> None:
    truth = torch.rand(16, 3, generator=torch.Generator().manual_seed(0))
    scores = (truth + 100).to(torch.bfloat16)
    assert concordance_loss(scores, truth + 100).dtype == torch.float32


def test_a_rare_category_weighs_as_much_as_a_frequent_one() -> None:
    counts = [5, 20, 75]
    weights = inverse_frequency_weights(counts)
    per_category = weights * torch.tensor(counts)
    torch.testing.assert_close(per_category, torch.full((3,), 100 / 3))


def test_a_category_without_segments_is_refused() -> None:
    with pytest.raises(ValueError, match="has no segment"):
        inverse_frequency_weights([3, 0])


def test_dimensions_are_weighed() -> None:
    truth_BD = torch.tensor([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.5, 0.7, 0.2]])
    scores_BD = torch.tensor([[0.1, 0.3, 0.9], [0.8, 0.2, 0.4], [0.6, 0.6, 0.5]])
    weights_D = torch.tensor([0.5, 0.3, 0.2])
    for loss in (concordance_loss, squared_error_loss):
        alone = [loss(scores_BD[:, at, None], truth_BD[:, at, None]) for at in range(3)]
        torch.testing.assert_close(
            loss(scores_BD, truth_BD, weights_D), (weights_D * torch.stack(alone)).sum()
        )
        equal = torch.full((3,), 1 / 3)
        torch.testing.assert_close(loss(scores_BD, truth_BD, equal), loss(scores_BD, truth_BD))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["task=arousal", "loss.one_dimension=mean_squared_error"], 0.25),
        (["loss.dimensions=mean_squared_error"], (0.25 + 1.0 + 0.0) / 3),
        (["loss={dimensions: mean_squared_error, arousal: 0.0, valence: 0.0}"], 1.0),
    ],
)
def test_a_recipe_names_its_loss(overrides: list[str], expected: float) -> None:
    truth_BD = torch.tensor([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    scores_BD = truth_BD + torch.tensor([0.5, 1.0, 0.0])
    loss = make_loss(load_recipe("demo", overrides), truth_BD, 3)
    assert loss(scores_BD, truth_BD).item() == pytest.approx(expected)


def test_cross_entropy_is_weighted_or_plain() -> None:
    truth_B = torch.tensor([0, 0, 0, 1])
    scores_BK = torch.tensor([[1.0, 0.0]] * 4)
    plain = make_loss(
        load_recipe("demo", ["task=emotion", "loss.emotion=cross_entropy"]), truth_B, 2
    )
    weighted = make_loss(load_recipe("demo", ["task=emotion"]), truth_B, 2)
    right, wrong = 0.313262, 1.313262
    assert plain(scores_BK, truth_B).item() == pytest.approx((3 * right + wrong) / 4, abs=1e-5)
    assert weighted(scores_BK, truth_B).item() == pytest.approx((right + wrong) / 2, abs=1e-5)
