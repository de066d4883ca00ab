"""Numbers that follow from others of a table, slices that one row stands for, and the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from orchestration.reproduce.rows.planned import NotMadeError
from ser_model import storage

CCC = "concordance_cc"


def write_cccs(table: Any, planned: Any, target: str, values: dict[tuple[str, str], Any]) -> None:
    """Write the CCC by system and test, a value a seed, into all audits."""
    for audit in dict.fromkeys(planned.steps):
        test = audit.corpus.part.place
        rows = [
            {"metric": CCC, "target": target, "model_version": step.name, "value": value[step.seed]}
            for step in audit.predictions
            if (value := values.get((step.system, test))) is not None
        ]
        table.write(audit, "statistics", rows)


def test_a_drop_is_a_share_of_the_result_in_domain(hand_made: Callable[..., Any]) -> None:
    table = hand_made("wagner/fig2", num_seeds=2)
    planned = table.plan(
        metric="concordance_cc_relative_drop", system="w2v2-L-robust", test="cmu-mosi/test"
    )
    values = {
        ("w2v2-L-robust", "cmu-mosi/test"): [0.5, 0.4],
        ("w2v2-L-robust", "msp-podcast/test-1"): [0.6, 0.7],
        ("cnn14", "msp-podcast/test-1"): [0.1, 0.1],
    }
    write_cccs(table, planned, "valence", values)
    (number,) = table.read(planned)
    assert number.value == pytest.approx((0.65 - 0.45) / 0.65)
    assert (number.note, number.num_seeds) == ("1 - 0.45 / 0.65", 2)


def test_what_fusion_adds_is_a_share_of_audio_alone(hand_made: Callable[..., Any]) -> None:
    table = hand_made("deoliveira/fig3")
    planned = table.plan(system="hubert-base-tinybert", test="msp-podcast/test-2")
    values = {
        ("hubert-base-tinybert", "msp-podcast/test-2"): [0.315],
        ("hubert-base", "msp-podcast/test-2"): [0.225],
    }
    write_cccs(table, planned, "valence", values)
    (number,) = table.read(planned)
    assert number.value == pytest.approx(0.4)
    assert number.note == "0.315 / 0.225 - 1"


@pytest.mark.parametrize(
    ("base", "why"), [(-0.1, "is not above 0"), (None, "the truth does not vary")]
)
def test_nothing_is_a_share_of_nothing(
    hand_made: Callable[..., Any], base: float | None, why: str
) -> None:
    table = hand_made("deoliveira/fig3")
    planned = table.plan(system="hubert-base-tinybert", test="msp-podcast/test-1")
    (audit,) = dict.fromkeys(planned.steps)
    head = {"metric": CCC, "target": "valence", "reason": "the truth does not vary"}
    rows = [
        {**head, "model_version": step.name, "value": base if step.system == "hubert-base" else 0.3}
        for step in audit.predictions
    ]
    table.write(audit, "statistics", rows)
    with pytest.raises(NotMadeError, match=why):
        table.read(planned)


def test_counts_of_a_confusion_are_held_against_another_systems(
    hand_made: Callable[..., Any],
) -> None:
    table = hand_made("triantafyllopoulos/fig3", num_seeds=1)
    metric = "confusion_relative_difference[happiness,happiness]"
    planned = table.plan(system="sfcnn14", metric=metric)
    (audit,) = dict.fromkeys(planned.steps)
    counts = {"sfcnn14": (133, 7), "cnn14": (100, 50)}
    table.write(
        audit,
        "confusion",
        [
            {
                "model_version": f"{system} seed 0",
                "condition": "clean",
                "truth": "happiness",
                "prediction": prediction,
                "num_segments": count,
            }
            for system, both in counts.items()
            for prediction, count in zip(("happiness", "anger"), both, strict=True)
        ],
    )
    (number,) = table.read(planned)
    assert number.value == pytest.approx(0.33)


def test_a_row_for_all_slices_has_a_number_for_each(hand_made: Callable[..., Any]) -> None:
    table = hand_made("triantafyllopoulos/fig4", num_seeds=1)
    planned = table.plan(system="bert", target="valence", metric="residual_p25")
    (audit,) = planned.steps
    (step,) = [step for step in audit.predictions if step.system == "bert"]
    head = {"target": "valence"}
    rows = [
        {**head, "model_version": model, "metric": metric, "value": value, "slice": slice_}
        for place, slice_ in enumerate(("dialogue_act=greeting", "dialogue_act=thanking", ""))
        for model, metric, value in (
            (step.name, "residual_p25", place / 8),
            (step.name, "residual_p75", 0.9),
            ("cnn14 seed 0", "residual_p25", 0.8),
        )
    ]
    by = [{**row, "slice_by": row["slice"].partition("=")[0]} for row in rows]
    hidden = {"model_version": step.name, "metric": "residual_p25", "value": None}
    act = {"slice": "dialogue_act=apology", "slice_by": "dialogue_act", "reason": "one segment"}
    table.write(audit, "statistics", [*by, {**head, **hidden, **act}])
    found = {number.slice: (number.value, number.reason) for number in table.read(planned)}
    assert found == {
        "dialogue_act=greeting": (0.0, ""),
        "dialogue_act=thanking": (0.125, ""),
        "dialogue_act=apology": (None, "one segment"),
    }


def test_without_such_a_column_there_are_no_slices(hand_made: Callable[..., Any]) -> None:
    table = hand_made("triantafyllopoulos/fig4", num_seeds=1)
    planned = table.plan(system="bert", target="valence", metric="residual_p25")
    table.write(planned.steps[0], "statistics", [])
    with pytest.raises(NotMadeError, match="no slice by dialogue_act"):
        table.read(planned)


@pytest.fixture
def manifest() -> pa.Table:
    rng = np.random.default_rng(0)
    emotions = rng.choice(["anger", "neutral"], size=100).tolist()
    return pa.table(
        {
            "emotion": pa.array([None, *emotions[1:]], pa.string()),
            "valence": pa.array([*rng.uniform(size=99), None], pa.float64()),
            "elicitation": rng.choice(["scripted", "improvised"], size=100).tolist(),
        }
    )


def write_manifest(table: Any, planned: Any, manifest: pa.Table) -> None:
    (step,) = planned.steps
    storage.write_table(step.uri(table.work), manifest)


def test_emotions_of_a_part_are_counted(hand_made: Callable[..., Any], manifest: pa.Table) -> None:
    table = hand_made("triantafyllopoulos/fig6")
    planned = table.plan(target="emotion", slice="elicitation=scripted")
    write_manifest(table, planned, manifest)
    rows = [row for row in manifest.to_pylist() if row["elicitation"] == "scripted"]
    expected = Counter(row["emotion"] for row in rows if row["emotion"])
    numbers = table.read(planned)
    found = {number.slice: number.value for number in numbers}
    assert found == {
        f"elicitation=scripted,emotion={emotion}": count for emotion, count in expected.items()
    }
    assert {number.note for number in numbers} == {f"of {expected.total()} segments"}


def test_a_dimension_of_a_part_has_its_quartiles(
    hand_made: Callable[..., Any], manifest: pa.Table
) -> None:
    table = hand_made("triantafyllopoulos/fig6")
    planned = table.plan(target="valence", slice="elicitation=improvised")
    write_manifest(table, planned, manifest)
    rows = [row for row in manifest.to_pylist() if row["elicitation"] == "improvised"]
    values = [row["valence"] for row in rows if row["valence"] is not None]
    found = {number.slice: number.value for number in table.read(planned)}
    expected = np.percentile(values, [25, 50, 75])
    assert list(found) == [f"elicitation=improvised,quantile={q}" for q in (0.25, 0.5, 0.75)]
    assert list(found.values()) == pytest.approx(expected)


def test_truth_that_is_not_there_has_a_reason(
    hand_made: Callable[..., Any], manifest: pa.Table
) -> None:
    table = hand_made("triantafyllopoulos/fig6")
    planned = table.plan(target="valence", slice="elicitation=scripted")
    write_manifest(table, planned, manifest.drop_columns(["elicitation"]))
    with pytest.raises(NotMadeError, match="no column 'elicitation'"):
        table.read(planned)
    empty = manifest.slice(0, 0)
    write_manifest(table, planned, empty)
    with pytest.raises(NotMadeError, match="no segment of elicitation=scripted has a truth"):
        table.read(planned)
