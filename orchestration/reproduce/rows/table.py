"""Rows that are arithmetic of other rows of the table: ours of ours, as the paper's of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestration.reproduce.plan import Planner
from orchestration.reproduce.published import PublishedValue
from orchestration.reproduce.rows import confusion, statistics
from orchestration.reproduce.rows.planned import Made, NotMadeError, OurNumber, Planned
from orchestration.reproduce.steps.base import Step

CCC = "concordance_cc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How much one number is above, or below, another.

    Attributes:
        value: the one.
        base: the other.
        is_drop: whether it is 1 - value / base; else value / base - 1.
    """

    value: Planned
    base: Planned
    is_drop: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        """Those of both."""
        return (*self.value.steps, *self.base.steps)

    def read(self, made: Made) -> tuple[OurNumber, ...]:
        """Divide the means over the seeds."""
        one, other = (_read(planned, made) for planned in (self.value, self.base))
        value, base = one.value, other.value
        assert value is not None and base is not None  # `_read` has seen to it
        if base <= 0.0:
            raise NotMadeError(f"no share of {base:.4g}, which is not above 0")
        ratio = value / base
        words = f"{value:.4g} / {base:.4g}"
        return (
            OurNumber(
                value=1.0 - ratio if self.is_drop else ratio - 1.0,
                num_seeds=min(one.num_seeds, other.num_seeds),
                note=f"1 - {words}" if self.is_drop else f"{words} - 1",
            ),
        )


def plan(row: PublishedValue, planner: Planner) -> Ratio:
    """Plan both numbers.

    Raises:
        NotMadeError: a system is of other authors, or the table has no result in-domain.
    """
    metric, bracket, cell = row.metric.partition("[")
    make, base_metric = _OF[metric]
    one = replace(row, metric=base_metric + bracket + cell, against="", value=None, unit="one")
    if metric == "concordance_cc_relative_drop":
        base = replace(one, test=_own_test(row, planner))
        return Ratio(value=make(one, planner), base=make(base, planner), is_drop=True)
    return Ratio(value=make(one, planner), base=make(replace(one, system=row.against), planner))


_OF: dict[str, tuple[Callable[[PublishedValue, Planner], Planned], str]] = {
    "concordance_cc_relative_drop": (statistics.plan, CCC),
    "concordance_cc_relative_difference": (statistics.plan, CCC),
    "confusion_relative_difference": (confusion.plan, "confusion"),
}
"""By metric: what plans the numbers that are divided, and their metric."""


def _own_test(row: PublishedValue, planner: Planner) -> str:
    """Return the test of the corpus that was trained on."""
    corpus = row.trained_on.partition("/")[0]
    for other in planner.table.rows:
        is_same = (other.system, other.target, other.metric) == (row.system, row.target, CCC)
        if is_same and other.test.partition("/")[0] == corpus:
            return other.test
    raise NotMadeError(f"the table has no CCC of {row.system} on {corpus}")


def _read(planned: Planned, made: Made) -> OurNumber:
    (number,) = planned.read(made)
    if number.value is None:
        raise NotMadeError(number.reason)
    return number
