"""Numbers of a linguistic probe: on recorded and on synthetic speech of the same words."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.reproduce.plan import Planner
from orchestration.reproduce.published import PublishedValue
from orchestration.reproduce.rows.over_seeds import Row, mean_of
from orchestration.reproduce.rows.planned import Made, OurNumber
from orchestration.reproduce.steps.base import Step
from orchestration.reproduce.steps.probe import ProbeStep
from orchestration.reproduce.steps.score import ScoreStep

SYNTHETIC = "synthetic"
"""As `serval probe text` calls the condition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfProbe:
    """A statistic of a probe.

    Attributes:
        row: that it is for.
        probes: of the system, by seed.
    """

    row: PublishedValue
    probes: tuple[ProbeStep, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The probes."""
        return self.probes

    def read(self, made: Made) -> tuple[OurNumber, ...]:
        """Find the statistic of every seed."""
        found = [self._find(made.find(probe).statistics(made.work)) for probe in self.probes]
        return (mean_of(found),)

    def _find(self, statistics: pa.Table) -> Row:
        for name in ("condition", "target", "metric"):
            statistics = statistics.filter(pc.equal(statistics[name], getattr(self.row, name)))
        found: list[Row] = statistics.to_pylist()
        return found[0]


def is_of_probe(row: PublishedValue, planner: Planner) -> bool:
    """Tell whether a row stands beside one of synthetic speech, or is one."""
    return any(
        (other.system, other.target, other.metric, other.condition)
        == (row.system, row.target, row.metric, SYNTHETIC)
        for other in planner.table.rows
    )


def plan(row: PublishedValue, planner: Planner) -> OfProbe:
    """Plan the probes of a system, one a seed.

    Where the corpus has transcripts of some segments, these alone are spoken, as in the paper.
    """
    corpus = planner.corpus(row.test, "")
    has_some = planner.corpora.num_without_transcript(corpus.part) < corpus.num_segments
    system = planner.system(row.system)
    transcripts = None if has_some else planner.transcripts(row.test, system)
    probes = tuple(
        ProbeStep(scored=step.source, predictions=step, transcripts=transcripts)
        for step in planner.predictions(row.system, row)
        if isinstance(step.source, ScoreStep)
    )
    return OfProbe(row=row, probes=probes)
