import numpy as np
import pytest
import torch

from ser_model.metrics.concordance import concordance_cc
from ser_model.training.losses import concordance_loss, inverse_frequency_weights


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
