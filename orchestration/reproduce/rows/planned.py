"""What is planned for a row, and our number beside the published one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

import pyarrow as pa

from orchestration.reproduce.steps.audit import AuditStep
from orchestration.reproduce.steps.base import Step

OfStep = TypeVar("OfStep", bound=Step)


class NotMadeError(Exception):
    """There is no number of ours for a row; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OurNumber:
    """Our number for a row, in Serval's units.

    Attributes:
        value: mean over the seeds; None with a reason.
        standard_deviation: over seeds (n - 1); None for one training.
        ci_low: of the 95 % interval over speakers; of several seeds, the mean of their limits.
        ci_high: likewise.
        p_value: of the test that belongs to the metric, of a single training.
        num_seeds: trainings that it is of.
        slice: where a row stands for several numbers (`speaker_id=*`, a curve): which of them.
        note: what is to be known of it.
        reason: why there is no value.
    """

    value: float | None = None
    standard_deviation: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p_value: float | None = None
    num_seeds: int = 1
    slice: str = ""
    note: str = ""
    reason: str = ""


class Made:
    """The steps that were done, as rows look them up."""

    def __init__(self, work: str, done: Mapping[Step, Step], failed: Mapping[Step, str]) -> None:
        """Keep them.

        Args:
            work: folder of all steps.
            done: what was done, by what was planned: perhaps without some of its inputs.
            failed: why the others were not.
        """
        self.work, self._done, self._failed = work, done, failed
        self._tables: dict[tuple[AuditStep, str], pa.Table] = {}

    def find(self, step: OfStep) -> OfStep:
        """Return a step as it was done.

        Raises:
            NotMadeError: it was not.
        """
        if step in self._failed:
            raise NotMadeError(self._failed[step])
        return cast(OfStep, self._done[step])

    def table(self, audit: AuditStep, name: str) -> pa.Table:
        """Return a table of an audit, which is read once for all rows.

        Raises:
            NotMadeError: the audit was not done.
        """
        done = self.find(audit)
        if (audit, name) not in self._tables:
            self._tables[audit, name] = done.table(self.work, name)
        return self._tables[audit, name]

    def reason(self, step: Step) -> str:
        """Return why a step was not done; "" where it was."""
        return self._failed.get(step, "")


class Planned(Protocol):
    """What is planned for a row."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that it is read from."""

    def read(self, made: Made) -> tuple[OurNumber, ...]:
        """Return our numbers: one, or several for a row that stands for several.

        Raises:
            NotMadeError: a step that it needs was not done.
        """
