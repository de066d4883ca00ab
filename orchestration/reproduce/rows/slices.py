"""Rows that stand for every slice of a column, as `dialogue_act=*` does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow.compute as pc

from orchestration.reproduce.plan import Planner
from orchestration.reproduce.published import PublishedValue
from orchestration.reproduce.rows import statistics
from orchestration.reproduce.rows.planned import Made, NotMadeError, OurNumber
from orchestration.reproduce.steps.base import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class OfSlices:
    """A statistic on each slice of a column.

    Attributes:
        column: of the metadata.
        statistic: the same on all segments.
    """

    column: str
    statistic: statistics.OfStatistics

    @property
    def steps(self) -> tuple[Step, ...]:
        """The same."""
        return self.statistic.steps

    def read(self, made: Made) -> tuple[OurNumber, ...]:
        """Read it on each slice that the audit has."""
        row = self.statistic.row
        table = made.table(self.statistic.audit, "statistics")
        is_slice = pc.and_(
            pc.equal(table["slice_by"], self.column), pc.equal(table["metric"], row.metric)
        )
        names = table.filter(is_slice)["slice"].unique().to_pylist()
        if not names:
            raise NotMadeError(f"the audit has no slice by {self.column}")
        return tuple(
            replace(number, slice=name)
            for name in names
            for number in replace(self.statistic, row=replace(row, slice=name)).read(made)
        )


def plan(row: PublishedValue, planner: Planner) -> OfSlices:
    """Plan the audit that slices.

    Raises:
        NotMadeError: the system is of other authors.
    """
    column = row.slice.removesuffix("=*")
    return OfSlices(column=column, statistic=statistics.plan(replace(row, slice=""), planner))
