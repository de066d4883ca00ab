"""What the neighbours of an embedding share, over the test corpora of a table together."""

from __future__ import annotations

from collections.abc import Iterator

from orchestration.reproduce.places import TESTS
from orchestration.reproduce.plan import Planner
from orchestration.reproduce.published import PublishedSystem, PublishedValue
from orchestration.reproduce.rows.statistics import OfStatistics
from orchestration.reproduce.steps.audit import AuditStep
from orchestration.reproduce.steps.corpus import JoinedStep
from orchestration.reproduce.steps.predictions import PredictionsStep
from orchestration.reproduce.steps.score import ScoreStep


def plan(row: PublishedValue, planner: Planner) -> OfStatistics:
    """Plan the audit of all systems of the table that have such a row."""
    tests = [TESTS[corpus] for corpus in planner.table.needs]
    joined = JoinedStep(corpora=tuple(planner.corpus(test, row.target) for test in tests))
    rows = [other for other in planner.table.rows if other.metric.startswith("neighbour_")]
    columns = {
        other.metric.partition("[")[2].rstrip("]"): None for other in rows if "[" in other.metric
    }
    predictions = [
        step
        for name in dict.fromkeys(other.system for other in rows)
        for step in _embedded(planner.system(name), row, planner, joined)
    ]
    audit = AuditStep(
        corpus=joined,
        predictions=tuple(predictions),
        strata=tuple(column for column in columns if column != "speaker_id"),
        smallest_slices=True,
    )
    of_system = tuple(step for step in predictions if step.system == row.system)
    return OfStatistics(row=row, audit=audit, predictions=of_system)


def _embedded(
    system: PublishedSystem, row: PublishedValue, planner: Planner, joined: JoinedStep
) -> Iterator[PredictionsStep]:
    training = planner.training(system, row.trained_on, row.target)
    for seed in training.seeds:
        run = ScoreStep(training=training, seed=seed, corpus=joined, embeddings=True)
        yield PredictionsStep(system=system.name, seed=seed, source=run)
