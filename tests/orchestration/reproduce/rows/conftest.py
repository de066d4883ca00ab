"""Steps whose folders are written by hand: what a row reads from them can be checked by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from orchestration.reproduce.changes import Changes
from orchestration.reproduce.corpora import Corpora
from orchestration.reproduce.plan import Planner, in_order
from orchestration.reproduce.published import PublishedValue, read_published
from orchestration.reproduce.rows.planned import Made, OurNumber, Planned
from orchestration.reproduce.rows.registry import plan_row
from orchestration.reproduce.steps.audit import AuditStep
from orchestration.reproduce.steps.base import Step
from orchestration.reproduce.steps.train import TrainStep
from ser_model import storage
from ser_model.schema import SPEAKERS, STATISTICS


class HandMade:
    """A table of a paper, whose steps are done by hand."""

    def __init__(self, name: str, work: str, num_seeds: int | None) -> None:
        self.work = work
        changes = Changes(num_seeds=num_seeds)
        self.planner = Planner(table=read_published(name), corpora=Corpora({}), changes=changes)
        self.failed: dict[Step, str] = {}

    def row(self, **wanted: object) -> PublishedValue:
        """Return the only row that has these values."""
        rows = self.planner.table.rows
        (row,) = [r for r in rows if all(getattr(r, key) == v for key, v in wanted.items())]
        return row

    def plan(self, **wanted: object) -> Planned:
        return plan_row(self.row(**wanted), self.planner)

    def read(self, planned: Planned) -> tuple[OurNumber, ...]:
        done = {step: step for step in in_order(planned.steps) if step not in self.failed}
        return planned.read(Made(self.work, done, self.failed))

    def write_records(self, planned: Planned, records: Iterable[Mapping[str, Any]]) -> None:
        """Write the record of each seed."""
        (step,) = planned.steps
        assert isinstance(step, TrainStep)
        for seed, record in zip(step.seeds, records, strict=True):
            (folder,) = step.model_folders(self.work, seed)
            storage.write_json(storage.join(folder, "train.json"), record)

    def write(self, step: Step, name: str, rows: list[dict[str, Any]]) -> None:
        """Write a table of an audit."""
        assert isinstance(step, AuditStep)
        schema = {"statistics": STATISTICS, "speakers": SPEAKERS}.get(name)
        if schema is not None:
            usual = {"condition": "clean", "slice_by": "", "slice": "", "num_segments": 9}
            rows = [{**dict.fromkeys(schema.names), **usual, **row} for row in rows]
        table = pa.Table.from_pylist(rows, schema=schema)
        storage.write_table(storage.join(step.folder(self.work), f"{name}.parquet"), table)


@pytest.fixture
def hand_made(tmp_path: Path) -> Callable[..., HandMade]:
    def make(name: str, *, num_seeds: int | None = None) -> HandMade:
        return HandMade(name, str(tmp_path), num_seeds)

    return make


def names_of(audit: Step, system: str) -> list[str]:
    """Return what an audit calls the trainings of a system."""
    assert isinstance(audit, AuditStep)
    return [step.name for step in audit.predictions if step.system == system]
