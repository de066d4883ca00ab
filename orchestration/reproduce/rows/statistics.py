"""Numbers of `statistics.parquet`."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.reproduce.places import PLACES
from orchestration.reproduce.plan import Planner
from orchestration.reproduce.published import PublishedValue
from orchestration.reproduce.rows.planned import (
    NOT_SUPPORTED,
    Made,
    NotMadeError,
    OurNumber,
)
from orchestration.reproduce.steps.audit import AuditStep
from orchestration.reproduce.steps.base import Step
from orchestration.reproduce.steps.predictions import PredictionsStep
from ser_model.augment import known_names

_MIRRORED = {"ci_low": "ci_high", "ci_high": "ci_low"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfStatistics:
    """A statistic of a system, or of a system against another.

    Attributes:
        row: that it is for.
        audit: that computes it.
        predictions: of the system, by seed.
        against: of the other system, by seed; empty without one.
    """

    row: PublishedValue
    audit: AuditStep
    predictions: tuple[PredictionsStep, ...]
    against: tuple[PredictionsStep, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """The audit, which needs the rest."""
        return (self.audit,)

    def read(self, made: Made) -> tuple[OurNumber, ...]:
        """Find the statistic of every seed."""
        for step in (*self.predictions, *self.against):
            made.find(step)
        table = made.find(self.audit).table(made.work, "statistics")
        wanted = {
            "metric": self.row.metric,
            "target": self.row.target,
            "condition": self.row.condition,
        }
        for column, value in wanted.items():
            table = table.filter(pc.equal(table[column], value))
        if self.against:
            pairs = zip(self.predictions, self.against, strict=False)
            return (mean_of([_of_pair(table, one.name, other.name) for one, other in pairs]),)
        return (
            mean_of([_of_model(table, step.name, self.row.slice) for step in self.predictions]),
        )


def plan(row: PublishedValue, planner: Planner) -> OfStatistics:
    """Plan the audit that a statistic is of.

    Raises:
        NotMadeError: the system is of other authors.
    """
    system = planner.system(row.system)
    if not planner.is_made(row.system):
        raise NotMadeError(f"not trained here: {system.note}")
    is_single = row.test in PLACES and row.condition in known_names()
    if not is_single or row.slice.endswith("=*") or row.target == "embedding":
        raise NotMadeError(NOT_SUPPORTED)
    audit = planner.audit(row)
    of_system = [step for step in audit.predictions if step.system == row.system]
    against = [step for step in audit.predictions if row.against and step.system == row.against]
    return OfStatistics(row=row, audit=audit, predictions=tuple(of_system), against=tuple(against))


def mean_of(found: Sequence[Mapping[str, Any]]) -> OurNumber:
    """Return the mean over seeds of rows of statistics.

    Several trainings are measured on the same speakers, so the mean of their intervals says how
    another sample of speakers would move each of them, and about how it would move the mean.

    Args:
        found: a row a seed.
    """
    values = [row["value"] for row in found]
    if any(value is None for value in values):
        return OurNumber(reason=next(row["reason"] for row in found if row["value"] is None))
    return OurNumber(
        value=statistics.fmean(values),
        standard_deviation=statistics.stdev(values) if len(values) > 1 else None,
        ci_low=_mean(row["ci_low"] for row in found),
        ci_high=_mean(row["ci_high"] for row in found),
        p_value=found[0]["p_value"] if len(found) == 1 else None,
        num_seeds=len(found),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    listed = list(values)
    known = [value for value in listed if value is not None]
    return statistics.fmean(known) if len(known) == len(listed) else None


def _of_model(table: pa.Table, model: str, slice_: str) -> Mapping[str, Any]:
    chosen = pc.and_(pc.equal(table["model_version"], model), pc.equal(table["slice"], slice_))
    return _only(table.filter(chosen).to_pylist())


def _of_pair(table: pa.Table, model: str, other: str) -> Mapping[str, Any]:
    """Find a difference; the audit has it of the model whose name comes first."""
    there = f"model_version={model}-model_version={other}"
    back = f"model_version={other}-model_version={model}"
    rows = table.filter(pc.is_in(table["slice"], pa.array([there, back]))).to_pylist()
    row = _only(rows)
    if row["slice"] == there or row["value"] is None:
        return row
    turned = {name: row[_MIRRORED.get(name, name)] for name in ("value", "ci_low", "ci_high")}
    return {**row, **{name: None if v is None else -v for name, v in turned.items()}}


def _only(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    if not rows:
        return {"value": None, "reason": "the audit has no such row"}
    (row,) = rows
    return row
