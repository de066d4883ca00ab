"""Which module plans and reads a row: its metric says by `given_by`."""

from __future__ import annotations

from collections.abc import Callable

from orchestration.reproduce.plan import Planner
from orchestration.reproduce.published import PublishedValue
from orchestration.reproduce.published_metrics import GivenBy, metric_of
from orchestration.reproduce.rows import (
    confusion,
    corpus,
    embeddings,
    means,
    probe,
    slices,
    speakers,
    statistics,
    table,
    training,
    transcription,
)
from orchestration.reproduce.rows.planned import Planned


def _plan_statistics(row: PublishedValue, planner: Planner) -> Planned:
    if row.slice.endswith("=*"):
        return slices.plan(row, planner)
    if row.metric.startswith("neighbour_"):
        return embeddings.plan(row, planner)
    if probe.is_of_probe(row, planner):
        return probe.plan(row, planner)
    return means.plan(row, planner) if means.is_mean(row) else statistics.plan(row, planner)


PLANS: dict[GivenBy, Callable[[PublishedValue, Planner], Planned]] = {
    "statistics": _plan_statistics,
    "speakers": speakers.plan,
    "confusion": confusion.plan,
    "training": training.plan,
    "table": table.plan,
    "corpus": corpus.plan,
    "transcription": transcription.plan,
}
"""By where the number comes from."""


def plan_row(row: PublishedValue, planner: Planner) -> Planned:
    """Return what is planned for a row.

    Raises:
        NotMadeError: there is nothing of ours for it, as of other authors' systems.
    """
    return PLANS[metric_of(row.metric).given_by](row, planner)
