"""Several processes that train one model together, each on its part of every batch.

The scores of all parts are gathered before the loss: CCC of a part is another number than CCC of
the batch. Every worker then knows the whole loss, and the gradients of the parts add up to the
gradient of the batch. No other wrapper is needed, and one worker alone is the same code.

A batch norm sees its worker's part of the batch only; its statistics are averaged over the workers.

Shapes: B batch, K scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """The process group, seen from one of its workers.

    Attributes:
        rank: which worker this is, from 0 on.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    def part(self, items: Sequence[T]) -> list[T]:
        """Return this worker's items: every `count`-th."""
        return list(items[self.rank :: self.count])

    def gather_scores(self, scores_BK: Tensor, num_rows: int) -> Tensor:
        """Return the scores of all rows, in their order; a gradient reaches this worker's alone.

        Args:
            scores_BK: of `part`; may have no rows.
            num_rows: of the whole batch.
        """
        if self.count == 1:
            return scores_BK
        most = -(-num_rows // self.count)
        own = torch.zeros(most, scores_BK.shape[1], device=scores_BK.device)
        own[: len(scores_BK)] = scores_BK.detach()
        parts = [torch.empty_like(own) for _ in range(self.count)]
        dist.all_gather(parts, own)
        parts = [part[: len(range(rank, num_rows, self.count))] for rank, part in enumerate(parts)]
        parts[self.rank] = scores_BK.float()
        places = [
            place for rank in range(self.count) for place in range(rank, num_rows, self.count)
        ]
        in_order = torch.argsort(torch.tensor(places, device=scores_BK.device))
        return torch.cat(parts)[in_order]

    def add_gradients(self, model: nn.Module) -> None:
        """Make gradients their sum over the workers, and batch norms' statistics their mean."""
        if self.count == 1:
            return
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        device = weights[0].device
        used = torch.tensor([float(weight.grad is not None) for weight in weights], device=device)
        dist.all_reduce(used)
        for weight, users in zip(weights, used.tolist(), strict=True):
            if users:
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
                dist.all_reduce(weight.grad)
        norms = [
            module
            for module in model.modules()
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        ]
        for norm in norms:
            for statistic in (norm.running_mean, norm.running_var):
                if statistic is not None:
                    dist.all_reduce(statistic)
                    statistic.div_(self.count)

    def gather(self, item: T) -> list[T]:
        """Return the items of all workers, by rank."""
        if self.count == 1:
            return [item]
        items: list[Any] = [None] * self.count
        dist.all_gather_object(items, item)
        return items
