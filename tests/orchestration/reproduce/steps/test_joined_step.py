"""Two corpora in one manifest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestration.reproduce.rows import embeddings
from orchestration.reproduce.steps.corpus import JoinedStep
from ser_model.manifest import read_manifest


def test_segments_and_speakers_of_two_corpora_are_told_apart(
    make_corpora: Callable, planner: Callable, context_of: Callable
) -> None:
    corpora = make_corpora(("a", None, "c"), "msp-podcast", "iemocap")
    context = context_of(corpora)
    plan = planner("wagner/fig10", corpora)
    parts = tuple(plan.corpus(place, "valence") for place in ("msp-podcast/test-1", "iemocap"))
    joined = JoinedStep(corpora=parts)
    for step in (*parts, joined):
        step.run(context)
    rows = read_manifest(joined.uri(context.work)).to_pylist()
    assert [row["segment_id"] for row in rows] == [
        f"{corpus}/s{number}" for corpus in ("msp-podcast", "iemocap") for number in range(3)
    ]
    assert {(row["corpus"], row["speaker_id"]) for row in rows} == {
        (corpus, f"{corpus}/speaker {number}")
        for corpus in ("msp-podcast", "iemocap")
        for number in range(2)
    }
    assert [row["valence"] for row in rows] == pytest.approx([0.0, 0.1, 0.2] * 2)
    sources = [row["recording"] for row in rows]
    assert len(set(sources)) == 6, "recordings of both are called 0.wav"


def test_all_systems_are_audited_on_the_same_embeddings(
    make_corpora: Callable, planner: Callable
) -> None:
    corpora = make_corpora(("a", None, "c"), "msp-podcast", "iemocap")
    plan = planner("wagner/fig10", corpora)
    planned = [embeddings.plan(row, plan) for row in plan.table.rows]
    assert len({one.audit.key for one in planned}) == 1
    audit = planned[0].audit
    assert set(audit.strata) == {"corpus", "sex"}
    assert [step.system for step in audit.predictions] == [one.name for one in plan.table.systems]
    assert all(step.source.embeddings for step in audit.predictions)
    assert all(step.source.corpus == audit.corpus for step in audit.predictions)
