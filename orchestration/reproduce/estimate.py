"""What a table would take, before it is run: arithmetic, device hours, cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.reproduce.steps.base import Step

DEFAULT_TFLOPS = 30.0
"""Sustained by a large GPU of a data centre in float32 with TF32; an assumption, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedWork:
    """A line of an estimate.

    Attributes:
        title: a training, or all steps of another kind.
        num_steps: that it is of.
        num_done: of these, done before; the numbers below are of the others.
        petaflop: arithmetic.
        device_h: hours of one device.
        cost: None without a price.
    """

    title: str
    num_steps: int
    num_done: int
    petaflop: float
    device_h: float
    cost: float | None


def estimate(
    steps: Sequence[Step],
    done: Sequence[bool],
    *,
    tflops: float = DEFAULT_TFLOPS,
    price_per_hour: float | None = None,
) -> list[EstimatedWork]:
    """Estimate steps: a line for each training, and one for each other kind; the total is last.

    Args:
        steps: of a table.
        done: whether each was done before.
        tflops: sustained arithmetic of a device, 1e12 operations a second.
        price_per_hour: of a device.
    """
    groups: dict[str, list[tuple[Step, bool]]] = {}
    # Systems of other names may be the same training.
    unique = {step.key: (step, was_done) for step, was_done in zip(steps, done, strict=True)}
    pairs = sorted(unique.values(), key=lambda pair: pair[0].kind != "trainings")
    for step, was_done in pairs:
        title = step.title if step.kind == "trainings" else step.kind
        groups.setdefault(title, []).append((step, was_done))
    groups["all"] = pairs
    return [_work(title, group, tflops, price_per_hour) for title, group in groups.items()]


def _work(
    title: str, group: Sequence[tuple[Step, bool]], tflops: float, price_per_hour: float | None
) -> EstimatedWork:
    petaflop = sum(step.petaflop for step, was_done in group if not was_done)
    device_h = petaflop * 1e3 / tflops / 3600
    return EstimatedWork(
        title=title,
        num_steps=len(group),
        num_done=sum(was_done for _, was_done in group),
        petaflop=petaflop,
        device_h=device_h,
        cost=None if price_per_hour is None else device_h * price_per_hour,
    )


def estimate_text(works: Sequence[EstimatedWork]) -> str:
    """Return the estimate with aligned columns."""
    width = max(len(work.title) for work in works)
    return "\n".join(
        f"{work.title:<{width}}  {work.num_steps:>4} steps{_done(work)}  "
        f"{work.petaflop:>9.1f} PFLOP  {work.device_h:>8.2f} h{_cost(work)}"
        for work in works
    )


def _done(work: EstimatedWork) -> str:
    return f", {work.num_done} done" if work.num_done else ""


def _cost(work: EstimatedWork) -> str:
    return "" if work.cost is None else f"  {work.cost:>9.2f}"
