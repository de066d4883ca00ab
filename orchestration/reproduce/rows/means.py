"""Rows that are a mean: over conditions, tests or targets of a table.

A cell is a statistic under one condition, on one test and for one target; "all" tests and targets
are those that the table has rows of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from statistics import fmean

from orchestration.reproduce.places import PLACES
from orchestration.reproduce.plan import Planner
from orchestration.reproduce.published import ALL, PublishedTable, PublishedValue
from orchestration.reproduce.rows import statistics
from orchestration.reproduce.rows.over_seeds import Row, mean_of, plain_row
from orchestration.reproduce.rows.planned import Made, NotMadeError, OurNumber
from orchestration.reproduce.steps.base import Step
from ser_model.augment import SETS, known_names
from ser_model.schema import CLEAN, DIMENSIONS

EMBEDDING = "embedding"
"""A target whose tests are one, not several: all are in one space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanOfCells:
    """The mean of several statistics of a system.

    Attributes:
        cells: each of them.
    """

    cells: tuple[statistics.OfStatistics, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """Those of all cells."""
        return tuple(dict.fromkeys(step for cell in self.cells for step in cell.steps))

    def read(self, made: Made) -> tuple[OurNumber, ...]:
        """Read the cells that there are, and say which are not.

        Cells share segments and speakers, so their intervals do not add up to one of the mean.
        """
        found: list[Sequence[Row]] = []
        missing: Counter[tuple[str, str]] = Counter()
        for cell in self.cells:
            rows = _rows(cell, made)
            empty = [row["reason"] for row in rows if row["value"] is None]
            if empty:
                missing[cell.row.test, empty[0]] += 1
            else:
                found.append(rows)
        lacks = [f"{count} of {test} missing ({why})" for (test, why), count in missing.items()]
        if not found:
            raise NotMadeError(", ".join(lacks))
        of_seeds = [
            plain_row(fmean(row["value"] for row in of_seed))
            for of_seed in zip(*found, strict=False)
        ]
        note = "; ".join([f"mean of {len(found)} of {len(self.cells)} cells", *lacks])
        return (replace(mean_of(of_seeds), note=note),)


def is_mean(row: PublishedValue) -> bool:
    """Tell whether a row is a mean of cells."""
    is_over_conditions = row.condition in SETS or "*" in row.condition
    return (ALL in (row.test, row.target) or is_over_conditions) and row.target != EMBEDDING


def plan(row: PublishedValue, planner: Planner) -> MeanOfCells:
    """Plan every cell.

    Raises:
        NotMadeError: the system is of other authors.
    """
    whole = replace(row, value=None, differs_from=(), condition=CLEAN)
    places = [
        statistics.plan(replace(whole, test=test, target=target), planner)
        for test, target in _places(row, planner.table)
    ]
    return MeanOfCells(
        cells=tuple(
            replace(place, row=replace(place.row, condition=name, slice=_slice(row, name)))
            for place in places  # whose audit is of all conditions
            for name in _conditions(row.condition)
        )
    )


def _rows(cell: statistics.OfStatistics, made: Made) -> Sequence[Row]:
    """Return the rows of all seeds, or one that says why there are none."""
    try:
        return cell.of_seeds(made)
    except NotMadeError as error:
        return [plain_row(None, str(error))]


def _places(row: PublishedValue, table: PublishedTable) -> dict[tuple[str, str], None]:
    """Return the tests and targets that a row is over, in the order of the table."""
    return {
        (test, target): None
        for test, target in ((other.test, other.target) for other in (*table.rows, row))
        if test in PLACES
        and target in (*DIMENSIONS, "emotion")
        and row.test in (ALL, test)
        and row.target in (ALL, target)
    }


def _conditions(word: str) -> list[str]:
    """Return the conditions of a set, or whose name matches a pattern.

    >>> _conditions("human-*db")
    ['human-0db', 'human-10db', 'human-20db']
    """
    members = SETS.get(word, ())
    return [name for name in known_names() if name in members or fnmatchcase(name, word)]


def _slice(row: PublishedValue, condition: str) -> str:
    """Return the slice of a cell: a change is of a condition, whatever slice the mean is of."""
    is_change = row.metric.endswith("_change")
    return f"condition={condition}-condition={CLEAN}" if is_change else row.slice
