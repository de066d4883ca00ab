"""What rows have in common whose number an audit gives."""

from __future__ import annotations

from dataclasses import dataclass

from orchestration.reproduce.plan import Planner
from orchestration.reproduce.published import PublishedValue
from orchestration.reproduce.rows.planned import NotMadeError
from orchestration.reproduce.steps.audit import AuditStep
from orchestration.reproduce.steps.base import Step
from orchestration.reproduce.steps.predictions import PredictionsStep


@dataclass(frozen=True, slots=True, kw_only=True)
class OfAudit:
    """A row, and the audit that its number is of.

    Attributes:
        row: that it is for.
        audit: that computes it.
        predictions: of the system, by seed and fold.
    """

    row: PublishedValue
    audit: AuditStep
    predictions: tuple[PredictionsStep, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The audit, which needs the rest."""
        return (self.audit,)


def audit_of(
    row: PublishedValue, planner: Planner
) -> tuple[AuditStep, tuple[PredictionsStep, ...]]:
    """Return the audit of a row, and those of its predictions that are the system's.

    Raises:
        NotMadeError: the system is of other authors.
    """
    if not planner.is_made(row.system):
        raise NotMadeError(f"not trained here: {planner.system(row.system).note}")
    audit = planner.audit(row)
    return audit, tuple(step for step in audit.predictions if step.system == row.system)
