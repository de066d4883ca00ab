"""Counts and weighted averages, against those of scikit-learn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import classification_report, confusion_matrix

from orchestration.reproduce.rows.planned import NotMadeError

EMOTIONS = ("anger", "happiness", "neutral", "sadness")
Values = tuple[list[str], list[str]]


def draw(seed: int, *, predicted: tuple[str, ...] = EMOTIONS) -> Values:
    """Return truth and prediction of 200 segments."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(EMOTIONS, size=200, p=[0.4, 0.3, 0.2, 0.1]).tolist()
    chance = rng.choice(predicted, size=200).tolist()
    found = [
        t if t in predicted and rng.uniform() < 0.6 else c
        for t, c in zip(truth, chance, strict=True)
    ]
    return truth, found


def write_counts(table: Any, audit: Any, by_model: dict[str, Values]) -> None:
    table.write(
        audit,
        "confusion",
        [
            {
                "model_version": model,
                "condition": "clean",
                "truth": truth,
                "prediction": prediction,
                "num_segments": count,
            }
            for model, values in by_model.items()
            for (truth, prediction), count in Counter(zip(*values, strict=True)).items()
        ],
    )


def planned_of(hand_made: Callable[..., Any], metric: str, *values: Values) -> tuple[Any, Any]:
    """Return gavali/fig7 with one seed a pair of values, and its row of a metric."""
    table = hand_made("gavali/fig7", num_seeds=len(values))
    planned = table.plan(metric=metric)
    write_counts(
        table,
        planned.audit,
        {step.name: pair for step, pair in zip(planned.predictions, values, strict=True)},
    )
    return table, planned


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("weighted_average_precision", "precision"),
        ("weighted_average_recall", "recall"),
        ("weighted_average_f1", "f1-score"),
    ],
)
@pytest.mark.parametrize("predicted", [EMOTIONS, ("anger", "neutral")])
def test_averages_are_weighed_by_the_truth(
    hand_made: Callable[..., Any], metric: str, name: str, predicted: tuple[str, ...]
) -> None:
    values = [draw(seed, predicted=predicted) for seed in (0, 1)]
    table, planned = planned_of(hand_made, metric, *values)
    (number,) = table.read(planned)
    expected = [
        classification_report(*pair, output_dict=True, zero_division=0)["weighted avg"][name]
        for pair in values
    ]
    assert number.value == pytest.approx(np.mean(expected))
    assert number.standard_deviation == pytest.approx(np.std(expected, ddof=1))
    assert number.num_seeds == 2


def test_the_whole_matrix_is_a_number_a_cell(hand_made: Callable[..., Any]) -> None:
    values = draw(2)
    table, planned = planned_of(hand_made, "confusion", values)
    expected = confusion_matrix(*values, labels=EMOTIONS)
    found = {number.slice: number.value for number in table.read(planned)}
    assert found == {
        f"truth={truth},prediction={prediction}": expected[row, column]
        for row, truth in enumerate(EMOTIONS)
        for column, prediction in enumerate(EMOTIONS)
    }


def test_a_cell_that_a_seed_lacks_is_empty_there(hand_made: Callable[..., Any]) -> None:
    values = [(["anger", "sadness"], ["anger", "anger"]), (["anger"], ["anger"])]
    table, planned = planned_of(hand_made, "confusion", *values)
    found = {number.slice: number.value for number in table.read(planned)}
    assert found["truth=sadness,prediction=anger"] == 0.5
    assert found["truth=anger,prediction=anger"] == 1.0


def test_one_cell_is_asked_for_by_truth_and_prediction(hand_made: Callable[..., Any]) -> None:
    table = hand_made("triantafyllopoulos/fig3", num_seeds=1)
    planned = table.plan(metric="confusion[neutral,sadness]")
    values = draw(3)
    (step,) = planned.predictions
    write_counts(table, planned.audit, {step.name: values})
    (number,) = table.read(planned)
    assert number.value == confusion_matrix(*values, labels=EMOTIONS)[2, 3] > 0


def test_a_system_without_emotions_has_no_matrix(hand_made: Callable[..., Any]) -> None:
    table, planned = planned_of(hand_made, "confusion", draw(4))
    write_counts(table, planned.audit, {"another": draw(4)})
    with pytest.raises(NotMadeError, match="no segment has both"):
        table.read(planned)
