"""The optimisers of a recipe, and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from ser_model.training.settings import OptimiserConfig, ScheduleConfig


def make_optimiser(
    config: OptimiserConfig, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe over the parameters that are trained."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    rate, decay = config.learning_rate, config.weight_decay
    if config.kind == "sgd":
        return torch.optim.SGD(
            trained, lr=rate, momentum=config.momentum, nesterov=True, weight_decay=decay
        )
    if not config.bias_correction:
        decoupled = config.kind == "adamw"
        return UncorrectedAdam(
            trained, lr=rate, eps=config.eps, weight_decay=decay, decoupled=decoupled
        )
    kind = torch.optim.AdamW if config.kind == "adamw" else torch.optim.Adam
    return kind(trained, lr=rate, eps=config.eps, weight_decay=decay)


class UncorrectedAdam(torch.optim.Optimizer):
    """Adam without bias correction, as BERT was trained: the first steps are shorter.

    Devlin et al. 2019, optimization.py of the published code:
    m = .9 m + .1 g; v = .999 v + .001 g^2; weight -= rate * (m / (sqrt(v) + eps) + decay * weight).
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        eps: float,
        weight_decay: float,
        decoupled: bool,
    ) -> None:
        """Keep the settings; `decoupled` decay is added to the step, else to the gradient."""
        super().__init__(parameters, {"lr": lr})
        self._eps, self._weight_decay, self._decoupled = eps, weight_decay, decoupled

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # torch declares overloads
        """Take a step."""
        assert closure is None, "no closure is used here"
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group["lr"])

    def _move(self, weight: nn.Parameter, rate: float) -> None:
        assert weight.grad is not None, "the caller has seen it"
        gradient, state = weight.grad, self.state[weight]
        if not state:
            state["exp_avg"] = torch.zeros_like(weight)
            state["exp_avg_sq"] = torch.zeros_like(weight)
        if not self._decoupled:
            gradient = gradient + self._weight_decay * weight
        state["exp_avg"].lerp_(gradient, 0.1)
        state["exp_avg_sq"].mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        move = state["exp_avg"] / (state["exp_avg_sq"].sqrt() + self._eps)
        if self._decoupled:
            move = move + self._weight_decay * weight
        weight.sub_(rate * move)


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the state of an optimiser as tensors by name."""
    return {
        f"{index}.{name}": value
        for index, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
        if value is not None
    }


def load_optimiser_tensors(
    optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    """Restore what `optimiser_tensors` returned of an optimiser of the same recipe and model."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        index, _, field = name.partition(".")
        state.setdefault(int(index), {})[field] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def rate_factor(schedule: ScheduleConfig, step: int, num_steps: int) -> float:
    """Return the part of the highest learning rate that a step uses.

    A step is taken at its middle, so that neither the first nor the last one is lost.

    Args:
        schedule: its kind and warm-up.
        step: counted from 0.
        num_steps: of the whole training; the schedule may name its own number.

    Example:
        >>> linear = ScheduleConfig(kind="linear", warmup=0.5)
        >>> [rate_factor(linear, step, 4) for step in range(4)]
        [0.25, 0.75, 0.75, 0.25]
    """
    progress = min((step + 0.5) / (schedule.num_steps or num_steps), 1.0)
    if progress < schedule.warmup:
        return progress / schedule.warmup
    done = (progress - schedule.warmup) / (1.0 - schedule.warmup)
    if schedule.kind == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * done))
    return 1.0 - done if schedule.kind == "linear" else 1.0
