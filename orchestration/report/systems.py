"""Systems over seeds: what their runs have on average, and whether two systems differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from orchestration.report import wording
from ser_model.schema import CLEAN

MAX_ROWS = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemRow:
    """A mean over the runs of a system; with `other_system` the first mean minus the second.

    The fields are those of systems.parquet.
    """

    system: str
    other_system: str | None
    condition: str
    target: str
    metric: str
    value: float | None
    standard_deviation: float | None
    num_runs: int
    ci_low: float | None
    ci_high: float | None
    p_adjusted: float | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemPanel:
    """The systems under one condition, in the metrics that models are known by.

    Attributes:
        condition: under which.
        means: of each system, MAX_ROWS at most.
        num_means: how many there are.
        differences: of two systems each, MAX_ROWS at most.
        num_differences: how many there are.
    """

    condition: str
    means: tuple[SystemRow, ...]
    num_means: int
    differences: tuple[SystemRow, ...]
    num_differences: int


def system_panels(audit: Mapping[str, Any]) -> tuple[SystemPanel, ...]:
    """Return a panel for each condition, clean first; none where no systems were named.

    Args:
        audit: audit.json.
    """
    names = [field.name for field in fields(SystemRow)]
    rows = [SystemRow(**{name: row[name] for name in names}) for row in audit.get("systems", ())]
    conditions = sorted({row.condition for row in rows}, key=lambda c: (c != CLEAN, c))
    return tuple(
        _panel(name, [row for row in rows if row.condition == name]) for name in conditions
    )


def _panel(condition: str, rows: Sequence[SystemRow]) -> SystemPanel:
    ordered = sorted(rows, key=lambda row: (wording.TARGETS.index(row.target), row.metric))
    means = [row for row in ordered if row.other_system is None]
    differences = [row for row in ordered if row.other_system is not None]
    return SystemPanel(
        condition=condition,
        means=tuple(means[:MAX_ROWS]),
        num_means=len(means),
        differences=tuple(differences[:MAX_ROWS]),
        num_differences=len(differences),
    )
