import pytest
import torch
from torch import nn

from ser_model.training.optimisers import make_optimiser, rate_factor
from ser_model.training.settings import OptimiserConfig, ScheduleConfig

GRADIENTS = [[1.0, -2.0], [0.5, 0.5], [-1.0, 3.0]]


def walk(config: OptimiserConfig) -> torch.Tensor:
    weight = nn.Parameter(torch.tensor([1.0, -1.0]))
    optimiser = make_optimiser(config, [weight])
    for gradient in GRADIENTS:
        weight.grad = torch.tensor(gradient)
        optimiser.step()
    return weight.detach()


@pytest.mark.parametrize("decoupled", [True, False])
def test_adam_without_bias_correction_is_the_formula(decoupled: bool) -> None:
    rate, eps, decay = 0.1, 1e-6, 0.01
    weight, m, v = torch.tensor([1.0, -1.0]), torch.zeros(2), torch.zeros(2)
    for values in GRADIENTS:
        gradient = torch.tensor(values) + (0.0 if decoupled else decay) * weight
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        step = m / (v.sqrt() + eps) + (decay if decoupled else 0.0) * weight
        weight = weight - rate * step
    config = OptimiserConfig(
        kind="adamw" if decoupled else "adam",
        learning_rate=rate,
        eps=eps,
        weight_decay=decay,
        bias_correction=False,
    )
    torch.testing.assert_close(walk(config), weight)


def test_sgd_is_nesterovs() -> None:
    weight, velocity = torch.tensor([1.0, -1.0]), torch.zeros(2)
    for values in GRADIENTS:
        gradient = torch.tensor(values)
        velocity = 0.9 * velocity + gradient
        weight = weight - 0.1 * (gradient + 0.9 * velocity)
    config = OptimiserConfig(kind="sgd", learning_rate=0.1, weight_decay=0.0)
    torch.testing.assert_close(walk(config), weight)


@pytest.mark.parametrize(
    ("kind", "library"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_adam_is_the_librarys(kind: str, library: type[torch.optim.Optimizer]) -> None:
    weight = nn.Parameter(torch.tensor([1.0, -1.0]))
    optimiser = library([weight], lr=0.1, eps=1e-3, weight_decay=0.5)
    for gradient in GRADIENTS:
        weight.grad = torch.tensor(gradient)
        optimiser.step()
    config = OptimiserConfig(kind=kind, learning_rate=0.1, eps=1e-3, weight_decay=0.5)
    assert torch.equal(walk(config), weight.detach())


def test_frozen_parameters_are_left_out() -> None:
    frozen = nn.Parameter(torch.zeros(1), requires_grad=False)
    free = nn.Parameter(torch.zeros(1))
    optimiser = make_optimiser(OptimiserConfig(learning_rate=0.1), [frozen, free])
    assert [id(p) for p in optimiser.param_groups[0]["params"]] == [id(free)]


def test_berts_schedule_ends_where_it_says() -> None:
    schedule = ScheduleConfig(kind="linear", warmup=0.1, num_steps=1000)
    rates = [rate_factor(schedule, step, 4000) for step in range(1500)]
    assert rates[49] == pytest.approx(0.495)
    assert max(rates) == pytest.approx(1.0, abs=0.01)
    assert rates.index(max(rates)) in (99, 100)
    assert rates[550] == pytest.approx(0.4995, abs=0.001)
    assert set(rates[1000:]) == {0.0}


def test_without_a_schedule_the_rate_stays() -> None:
    assert {rate_factor(ScheduleConfig(), step, 10) for step in range(10)} == {1.0}
