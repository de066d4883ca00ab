"""Rows of folds and seeds, of the best seed, and of one system against another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import scipy.stats

from orchestration.reproduce.plan import in_order
from orchestration.reproduce.steps.audit import AuditStep
from orchestration.reproduce.steps.best_seed import BestSeedStep
from orchestration.reproduce.steps.score import ScoreStep
from orchestration.reproduce.steps.train import TrainStep
from ser_model import storage

UAR = "unweighted_average_recall"
FOLDS = {"trained_on": "iemocap/leave-one-speaker-out"}


def statistic(model: str, value: float, **columns: object) -> dict[str, Any]:
    return {
        "model_version": model,
        "condition": "clean",
        "target": "emotion",
        "metric": UAR,
        "value": value,
        "ci_low": value - 0.1,
        "ci_high": value + 0.1,
        "num_segments": 100,
        "num_speakers": 9,
        **columns,
    }


def audit_of(planned: Any) -> AuditStep:
    (audit,) = planned.steps
    assert isinstance(audit, AuditStep)
    return audit


def fold_values(audit: AuditStep) -> dict[str, np.ndarray]:
    """Draw what every seed and fold of every system comes to: [seeds, folds]."""
    rng = np.random.default_rng(0)
    systems = dict.fromkeys(step.system for step in audit.predictions)
    return {name: rng.uniform(0.3, 0.4, size=(5, 10)) for name in systems}


def test_models_of_all_folds_are_scored_elsewhere_and_averaged(
    hand_made: Callable[..., Any],
) -> None:
    table = hand_made("triantafyllopoulos/table1")
    planned = table.plan(system="sfcnn14", test="msp-podcast/test-1", **FOLDS)
    audit = audit_of(planned)
    values = fold_values(audit)
    rows = [
        statistic(step.name, values[step.system][step.seed, step.fold])
        for step in audit.predictions
    ]
    table.write(audit, "statistics", rows)
    (number,) = table.read(planned)
    of_seeds = {name: drawn.mean(axis=1) for name, drawn in values.items()}
    assert number.value == pytest.approx(of_seeds["sfcnn14"].mean())
    assert number.standard_deviation == pytest.approx(of_seeds["sfcnn14"].std(ddof=1))
    assert number.num_seeds == 5
    p_values = {
        name: scipy.stats.ttest_ind(of_seeds["sfcnn14"], of_seeds[name]).pvalue
        for name in ("cnn14", "bert")
    }
    assert number.note == "t-test over trainings: " + ", ".join(
        f"{name} p = {p_value:.3f} (paper: differs)" for name, p_value in p_values.items()
    )
    runs = {s for s in in_order([audit]) if isinstance(s, ScoreStep) and "/cnn14" in s.name}
    assert {(run.seed, run.fold) for run in runs} == {(s, f) for s in range(5) for f in range(10)}
    assert len({run.folder(table.work) for run in runs}) == 50


def test_a_row_without_a_mark_is_tested_all_the_same(hand_made: Callable[..., Any]) -> None:
    table = hand_made("triantafyllopoulos/table1")
    planned = table.plan(system="mfcnn14", trained_on="msp-podcast/train", test="iemocap")
    audit = audit_of(planned)
    rng = np.random.default_rng(1)
    rows = [statistic(step.name, rng.uniform()) for step in audit.predictions]
    table.write(audit, "statistics", rows)
    (number,) = table.read(planned)
    assert "(paper: differs), bert" in number.note
    assert number.note.endswith("(paper: no mark)")
    (baseline,) = table.read(table.plan(system="cnn14", test="iemocap"))
    assert baseline.note == "", "the paper tests others against it"


def test_folds_of_a_seed_are_audited_together_in_their_own_corpus(
    hand_made: Callable[..., Any],
) -> None:
    table = hand_made("triantafyllopoulos/table1")
    audit = audit_of(table.plan(system="cnn14", test=FOLDS["trained_on"]))
    own = [step for step in audit.predictions if step.system == "cnn14"]
    assert [(step.seed, step.fold) for step in own] == [(seed, None) for seed in range(5)]
    assert all(isinstance(step.source, TrainStep) for step in own)
    assert own[0].source.num_folds == 10


def test_the_best_seed_stands_for_a_system_and_is_named(hand_made: Callable[..., Any]) -> None:
    table = hand_made("triantafyllopoulos/table6")
    planned = table.plan(system="cnn14", target="valence", metric="concordance_cc")
    audit = audit_of(planned)
    (mine,) = [step for step in audit.predictions if step.system == "cnn14"]
    assert (mine.name, len(audit.predictions)) == ("cnn14 best seed", 5)
    assert isinstance(mine.source, BestSeedStep)
    storage.write_json(storage.join(mine.source.folder(table.work), "choice.json"), {"seed": 3})
    valence = {"target": "valence", "metric": "concordance_cc"}
    rows = [
        statistic(step.name, 0.2 + at / 10, **valence) for at, step in enumerate(audit.predictions)
    ]
    table.write(audit, "statistics", rows)
    (number,) = table.read(planned)
    assert number.value == {row["model_version"]: row["value"] for row in rows}["cnn14 best seed"]
    assert (number.note, number.num_seeds) == ("seed 3, best of 5 on dev", 1)


def test_late_fusion_is_of_the_best_of_its_members(hand_made: Callable[..., Any]) -> None:
    table = hand_made("triantafyllopoulos/table3")
    where: Mapping[str, str] = {"target": "arousal", "metric": "concordance_cc"}
    audit = audit_of(table.plan(system="late-fusion", **where))
    by_system = {step.system: step for step in audit.predictions}
    members = {member.system: member for member in by_system["late-fusion"].source.members}
    assert set(members) == {"cnn14", "bert"}
    for name, member in members.items():
        assert member.folder(table.work) == by_system[name].folder(table.work), name
        assert member.dimensions == ("arousal",)
    assert isinstance(members["cnn14"].source, BestSeedStep)
    assert members["bert"].name == "bert seed 0", "it was trained once"


def test_a_vote_names_the_seeds_of_its_members(hand_made: Callable[..., Any]) -> None:
    table = hand_made("triantafyllopoulos/table6")
    planned = table.plan(system="late-fusion", target="valence", metric="concordance_cc")
    audit = audit_of(planned)
    (vote,) = [step.source for step in audit.predictions if step.system == "late-fusion"]
    for seed, member in enumerate(vote.members):
        uri = storage.join(member.source.folder(table.work), "choice.json")
        storage.write_json(uri, {"seed": seed})
    valence = {"target": "valence", "metric": "concordance_cc"}
    table.write(audit, "statistics", [statistic("late-fusion best seed", 0.5, **valence)])
    (number,) = table.read(planned)
    assert number.note == "cnn14 seed 0, best of 5 on dev; bert seed 1, best of 5 on dev"


@pytest.mark.parametrize("turned", [False, True], ids=["as named", "the other way round"])
def test_a_difference_has_an_audit_of_its_two_systems(
    hand_made: Callable[..., Any], turned: bool
) -> None:
    table = hand_made("wagner/fig5")
    planned = table.plan(system="hubert-L", target="arousal")
    audit = audit_of(planned)
    names = [step.name for step in audit.predictions]
    assert names == ["hubert-L seed 0", "hubert-L frozen seed 0"]
    one, other = reversed(names) if turned else names
    slice_ = f"model_version={one}-model_version={other}"
    difference = {"target": "arousal", "metric": "concordance_cc_difference", "slice": slice_}
    row = statistic("", 0.25, slice_by="model_version", **difference)
    table.write(audit, "statistics", [{**row, "ci_low": 0.2, "ci_high": 0.4}])
    (number,) = table.read(planned)
    found = (number.value, number.ci_low, number.ci_high)
    assert found == ((-0.25, -0.4, -0.2) if turned else (0.25, 0.2, 0.4))


def test_a_fusion_begins_with_the_fine_tuned_model_and_reads_what_was_transcribed(
    hand_made: Callable[..., Any],
) -> None:
    table = hand_made("wagner/fig3")
    audit = audit_of(table.plan(system="w2v2-L-vox with BERT", target="valence"))
    fused, alone = audit.predictions
    assert fused.source.training.backbone_from == alone.source.training
    places = [fused.source.training.transcripts.corpus, fused.source.transcripts.corpus]
    assert [corpus.name for corpus in places] == ["msp-podcast/train", "msp-podcast/test-1"]
    assert fused.source.transcripts.short_model == "facebook/wav2vec2-base-960h"
    assert alone.source.training.transcripts is None
