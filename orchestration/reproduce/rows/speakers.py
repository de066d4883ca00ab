"""Numbers of speakers: the CCC of draws of each, and how far models agree on whom they serve."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.reproduce.plan import Planner
from orchestration.reproduce.published import PublishedValue
from orchestration.reproduce.rows.audited import OfAudit, audit_of
from orchestration.reproduce.rows.over_seeds import by_seed, mean_of, plain_row
from orchestration.reproduce.rows.planned import Made, NotMadeError, OurNumber
from orchestration.reproduce.steps.audit import AuditStep
from orchestration.reproduce.steps.base import Step
from ser_model.metrics.speakers import spearman_cc

DRAWS = "concordance_cc_of_draws"
AGREEMENT = "speaker_agreement"
NO_SPEAKER = "no speaker has the 200 segments that are drawn"
NO_VARIANCE = "truth or prediction of the speaker does not vary"
MIN_SPEAKERS = 3
"""Fewer are in the same order too often by chance."""

EXTREMES: dict[str, Callable[[Iterable[float]], float]] = {
    "most alike pair": max,
    "least alike pair": min,
}
"""By the name that tables give a system that stands for a pair of all systems."""

BySpeaker = Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfSpeakers(OfAudit):
    """The CCC of draws of each speaker."""

    def read(self, made: Made) -> tuple[OurNumber, ...]:
        """Read the mean over the seeds for each speaker with enough segments."""
        for step in self.predictions:
            made.find(step)
        table = _draws(made.table(self.audit, "speakers"), self.row)
        found = [_of_model(table, step.name) for step in self.predictions]
        speakers = sorted({name for one in found for name in one}, key=_by_number)
        if not speakers:
            raise NotMadeError(NO_SPEAKER)
        seeds = [step.seed for step in self.predictions]
        return tuple(
            replace(
                mean_of(by_seed([plain_row(one.get(name), NO_VARIANCE) for one in found], seeds)),
                slice=f"speaker_id={name}",
            )
            for name in speakers
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OfPairs:
    """The highest, or lowest, agreement of two systems on the speakers.

    Attributes:
        row: that it is for.
        audit: that draws, of all systems.
    """

    row: PublishedValue
    audit: AuditStep

    @property
    def steps(self) -> tuple[Step, ...]:
        """The audit, which needs the rest."""
        return (self.audit,)

    def read(self, made: Made) -> tuple[OurNumber, ...]:
        """Correlate each pair of systems, seed by seed, and choose."""
        audit = made.find(self.audit)
        table = _draws(made.table(self.audit, "speakers"), self.row)
        systems: dict[str, list[BySpeaker]] = {}
        for step in audit.predictions:
            systems.setdefault(step.system, []).append(_of_model(table, step.name))
        pairs = {
            (first, second): _mean_agreement(systems[first], systems[second])
            for first, second in itertools.combinations(systems, 2)
        }
        known = {pair: value for pair, value in pairs.items() if math.isfinite(value)}
        if not known:
            raise NotMadeError(f"fewer than {MIN_SPEAKERS} speakers: {NO_SPEAKER}")
        value = EXTREMES[self.row.system](known.values())
        first, second = next(pair for pair in known if known[pair] == value)
        num_speakers = len({name for runs in systems.values() for one in runs for name in one})
        note = f"{first} and {second}, of {len(known)} pairs, {num_speakers} speakers"
        return (OurNumber(value=value, num_seeds=min(map(len, systems.values())), note=note),)


def plan(row: PublishedValue, planner: Planner) -> OfSpeakers | OfPairs:
    """Plan the audit that draws.

    Raises:
        NotMadeError: the system is of other authors.
    """
    if row.metric == AGREEMENT and row.system in EXTREMES:
        return OfPairs(row=row, audit=planner.audit(row))
    audit, of_system = audit_of(row, planner)
    return OfSpeakers(row=row, audit=audit, predictions=of_system)


def agreement(first: BySpeaker, second: BySpeaker) -> float:
    """Return Spearman's correlation over the speakers of both; NaN where they are too few.

    >>> first = {"a": 0.1, "b": 0.2, "c": 0.9, "e": 0.4}
    >>> round(agreement(first, {"a": 0.3, "b": 0.2, "c": 0.1, "d": 0.0}), 6)
    -1.0
    """
    pairs = [(first[name], second.get(name)) for name in first]
    known = [(one, other) for one, other in pairs if one is not None and other is not None]
    if len(known) < MIN_SPEAKERS:
        return math.nan
    return spearman_cc(*zip(*known, strict=True))


def _mean_agreement(first: list[BySpeaker], second: list[BySpeaker]) -> float:
    return fmean(agreement(one, other) for one, other in zip(first, second, strict=False))


def _draws(table: pa.Table, row: PublishedValue) -> pa.Table:
    wanted = {"metric": DRAWS, "target": row.target, "condition": row.condition}
    for column, value in wanted.items():
        table = table.filter(pc.equal(table[column], value))
    return table


def _of_model(table: pa.Table, model: str) -> BySpeaker:
    rows = table.filter(pc.equal(table["model_version"], model))
    return dict(zip(rows["speaker_id"].to_pylist(), rows["value"].to_pylist(), strict=True))


def _by_number(speaker_id: str) -> tuple[int, str]:
    """Sort 7 before 12."""
    return len(speaker_id), speaker_id
