"""Which segments are spoken, and what is read of a probe; speaking itself is tested with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from orchestration.reproduce.plan import TRANSCRIBER, Planner
from orchestration.reproduce.rows import probe
from orchestration.reproduce.rows.planned import Made
from orchestration.reproduce.rows.probe import OfProbe
from orchestration.reproduce.steps.probe import ProbeStep
from orchestration.text_probe import probing
from ser_model import storage
from ser_model.manifest import read_manifest


def plan_probe(planned: Planner, condition: str = "synthetic") -> OfProbe:
    (row,) = [r for r in planned.table.rows if (r.system, r.condition) == ("cnn14", condition)]
    assert probe.is_of_probe(row, planned)
    return probe.plan(row, planned)


def test_recorded_and_synthetic_speech_are_of_one_probe(
    make_corpora: Callable, planner: Callable
) -> None:
    planned = planner("wagner/fig4", make_corpora(("a", "b")))
    assert plan_probe(planned, "clean").steps == plan_probe(planned).steps


def test_the_corpus_is_transcribed_where_it_has_no_transcript_at_all(
    make_corpora: Callable, planner: Callable
) -> None:
    (some,) = plan_probe(planner("wagner/fig4", make_corpora(("a", None)))).probes
    assert some.transcripts is None
    (none,) = plan_probe(planner("wagner/fig4", make_corpora((None, None)))).probes
    assert none.transcripts is not None
    assert none.transcripts.model == TRANSCRIBER


def test_only_segments_with_a_transcript_are_probed(
    make_corpora: Callable,
    planner: Callable,
    context_of: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corpora = make_corpora(("a", None, "c"))
    context = context_of(corpora)
    (step,) = plan_probe(planner("wagner/fig4", corpora)).probes
    assert isinstance(step, ProbeStep)
    step.scored.corpus.run(context)
    said = pa.table({"segment_id": ["s2", "s1", "s0"], "valence": [0.2, 0.1, 0.0]})
    storage.write_table(step.predictions.uri(context.work), said)
    calls: list[dict[str, Any]] = []

    def listen(run_uri: str, metadata_uri: str, output: str, **options: object) -> None:
        calls.append({"run": run_uri, "metadata": metadata_uri, **options})

    monkeypatch.setattr(probing, "probe_text", listen)
    step.run(context)
    (call,) = calls
    rows = read_manifest(call["metadata"]).to_pylist()
    assert [(row["segment_id"], row["transcript"]) for row in rows] == [("s0", "a"), ("s2", "c")]
    assert storage.read_table(call["run"])["segment_id"].to_pylist() == ["s2", "s0"]
    assert call["model_uri"] == step.scored.training.folder(context.work)


@pytest.mark.parametrize(("condition", "value"), [("clean", 0.6), ("synthetic", 0.1)])
def test_a_row_is_that_of_its_condition(
    make_corpora: Callable,
    planner: Callable,
    context_of: Callable,
    condition: str,
    value: float,
) -> None:
    corpora = make_corpora(("a", "b"))
    context = context_of(corpora)
    planned = plan_probe(planner("wagner/fig4", corpora), condition)
    (step,) = planned.probes
    rows = [
        {"condition": name, "target": target, "metric": metric, "value": number}
        for target in ("valence", "arousal")
        for metric in ("concordance_cc", "pearson_cc")
        for name, number in (("clean", 0.6), ("synthetic", 0.1), ("synthetic-clean", -0.5))
    ]
    for row in rows:
        is_it = (row["target"], row["metric"]) == ("valence", "concordance_cc")
        row |= {"value": row["value"] if is_it else 0.9, "ci_low": 0.0, "ci_high": 1.0}
        row |= {"p_value": None, "reason": None}
    uri = storage.join(step.folder(context.work), "probe", "probe.parquet")
    storage.write_table(uri, pa.Table.from_pylist(rows))
    (number,) = planned.read(Made(context.work, {step: step}, {}))
    assert (number.value, number.ci_low, number.ci_high) == (value, 0.0, 1.0)
