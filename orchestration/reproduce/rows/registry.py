"""Which module plans and reads a row: its metric says by `given_by`."""

from __future__ import annotations

from collections.abc import Callable

from orchestration.reproduce.plan import Planner
from orchestration.reproduce.published import PublishedValue
from orchestration.reproduce.published_metrics import GivenBy, metric_of
from orchestration.reproduce.rows import statistics
from orchestration.reproduce.rows.planned import NOT_SUPPORTED, NotMadeError, Planned

PLANS: dict[GivenBy, Callable[[PublishedValue, Planner], Planned]] = {
    "statistics": statistics.plan,
}
"""By where the number comes from."""


def plan_row(row: PublishedValue, planner: Planner) -> Planned:
    """Return what is planned for a row.

    Raises:
        NotMadeError: there is nothing of ours for it, as of other authors' systems.
    """
    plan = PLANS.get(metric_of(row.metric).given_by)
    if plan is None:
        raise NotMadeError(NOT_SUPPORTED)
    return plan(row, planner)
