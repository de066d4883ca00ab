"""Numbers of `statistics.parquet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.reproduce.places import PLACES
from orchestration.reproduce.plan import Planner
from orchestration.reproduce.published import PublishedValue
from orchestration.reproduce.rows.audited import OfAudit, audit_of
from orchestration.reproduce.rows.over_seeds import Row, by_seed, mean_of, p_value_of_difference
from orchestration.reproduce.rows.planned import (
    Made,
    OurNumber,
)
from orchestration.reproduce.steps.base import PredictingStep
from orchestration.reproduce.steps.best_seed import BestSeedStep
from orchestration.reproduce.steps.predictions import PredictionsStep
from orchestration.reproduce.steps.vote import VoteStep
from ser_model.augment import known_names

_MIRRORED = {"ci_low": "ci_high", "ci_high": "ci_low"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfStatistics(OfAudit):
    """A statistic of a system, or of a system against another.

    Attributes:
        against: predictions of the other system, likewise; empty without one.
        tested_against: those of systems from which a test over trainings tells this one.
    """

    against: tuple[PredictionsStep, ...] = ()
    tested_against: tuple[tuple[PredictionsStep, ...], ...] = ()

    def read(self, made: Made) -> tuple[OurNumber, ...]:
        """Find the statistic of every seed."""
        table = self._table(made)
        if self.against:
            pairs = list(zip(self.predictions, self.against, strict=False))
            found = [_of_pair(table, one.name, other.name) for one, other in pairs]
            return (mean_of(by_seed(found, [one.seed for one, _ in pairs])),)
        number = mean_of(self._of_seeds(table, self.predictions))
        notes = (choice_note(self.predictions, made), self._test_note(table, made))
        return (replace(number, note="; ".join(filter(None, notes))),)

    def of_seeds(self, made: Made) -> list[Row]:
        """Return the statistic of every seed, as the audit has it.

        Raises:
            NotMadeError: a step that it needs was not done.
        """
        return self._of_seeds(self._table(made), self.predictions)

    def _table(self, made: Made) -> pa.Table:
        """Return the rows of the metric, of all models and slices."""
        for step in (*self.predictions, *self.against):
            made.find(step)
        table = made.table(self.audit, "statistics")
        wanted = {
            "metric": self.row.metric,
            "target": self.row.target,
            "condition": self.row.condition,
        }
        for column, value in wanted.items():
            table = table.filter(pc.equal(table[column], value))
        return table

    def _of_seeds(self, table: pa.Table, steps: Sequence[PredictionsStep]) -> list[Row]:
        found = [_of_model(table, step.name, self.row.slice) for step in steps]
        return by_seed(found, [step.seed for step in steps])

    def _test_note(self, table: pa.Table, made: Made) -> str:
        """Say by our trainings, and by the paper's, from which systems this one differs."""
        words = []
        for steps in self.tested_against:
            if any(map(made.reason, steps)):
                continue
            ours, theirs = (self._of_seeds(table, s) for s in (self.predictions, steps))
            p_value = p_value_of_difference(ours, theirs)
            name = steps[0].system
            claim = "differs" if name in self.row.differs_from else "no mark"
            shown = "no p" if p_value is None else f"p = {p_value:.3f}"
            words.append(f"{name} {shown} (paper: {claim})")
        return f"t-test over trainings: {', '.join(words)}" if words else ""


def plan(row: PublishedValue, planner: Planner) -> OfStatistics:
    """Plan the audit that a statistic is of.

    Raises:
        NotMadeError: the system is of other authors.
    """
    audit, of_system = audit_of(row, planner)
    assert row.test in PLACES, "a mean over tests is of `means`"
    assert row.condition in known_names(), "a mean over conditions is of `means`"
    assert not row.slice.endswith("=*"), "each slice is of `slices`"
    against = [step for step in audit.predictions if row.against and step.system == row.against]
    tested = [
        tuple(step for step in audit.predictions if step.system == name)
        for name in _tested_against(row, planner)
        if name != row.system
    ]
    return OfStatistics(
        row=row,
        audit=audit,
        predictions=of_system,
        against=tuple(against),
        tested_against=tuple(tested),
    )


def choice_note(steps: Sequence[PredictionsStep], made: Made) -> str:
    """Say which seed was chosen, where one was."""
    chosen = (_choice(made.find(step).source, made.work) for step in steps)
    return ", ".join(filter(None, chosen))


def _choice(source: PredictingStep, work: str) -> str:
    if isinstance(source, BestSeedStep):
        return f"seed {source.chosen_seed(work)}, best of {len(source.sources)} on dev"
    if isinstance(source, VoteStep):
        of_members = [(m.system, _choice(m.source, work)) for m in source.members]
        return "; ".join(f"{system} {choice}" for system, choice in of_members if choice)
    return ""


def _tested_against(row: PublishedValue, planner: Planner) -> tuple[str, ...]:
    """Return the systems against which the paper tests this one over trainings, in any row."""
    rows = planner.table.rows
    if not any(other.differs_from for other in rows if other.system == row.system):
        return ()
    return tuple(dict.fromkeys(name for other in rows for name in other.differs_from))


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
