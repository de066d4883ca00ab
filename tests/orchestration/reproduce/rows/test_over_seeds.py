"""Means over folds and seeds, and tests over trainings, against numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from orchestration.reproduce.rows.over_seeds import (
    Row,
    by_seed,
    mean_of,
    p_value_of_difference,
)

OF_SYSTEM = (0.61, 0.64, 0.60, 0.66)
OF_OTHER = (0.58, 0.60, 0.59)


def row_of(value: float | None, p_value: float | None = None) -> Row:
    around = {"ci_low": None, "ci_high": None}
    if value is not None:
        around = {"ci_low": value - 0.1, "ci_high": value + 0.3}
    return {"value": value, **around, "p_value": p_value, "reason": "one fold has no value"}


def rows_of(*values: float | None) -> list[Row]:
    return [row_of(value) for value in values]


def test_folds_are_averaged_before_seeds() -> None:
    values = np.random.default_rng(0).uniform(size=(3, 4))
    seeds = np.repeat([7, 8, 9], 4).tolist()
    found = mean_of(by_seed(rows_of(*values.ravel()), seeds))
    of_seeds = values.mean(axis=1)
    assert found.num_seeds == 3
    assert found.value == pytest.approx(of_seeds.mean())
    assert found.standard_deviation == pytest.approx(of_seeds.std(ddof=1))
    assert found.standard_deviation != pytest.approx(values.std(ddof=1))
    assert (found.ci_low, found.ci_high) == pytest.approx(
        (of_seeds.mean() - 0.1, of_seeds.mean() + 0.3)
    )


def test_a_fold_without_a_value_leaves_its_seed_without_one() -> None:
    found = by_seed(rows_of(0.5, None, 0.3, 0.4), [0, 0, 1, 1])
    assert [row["value"] for row in found] == [None, pytest.approx(0.35)]
    number = mean_of(found)
    assert (number.value, number.reason) == (None, "one fold has no value")


def test_a_single_training_keeps_its_test_and_has_no_deviation() -> None:
    number = mean_of([row_of(0.5, p_value=0.01)])
    assert (number.value, number.p_value, number.standard_deviation) == (0.5, 0.01, None)
    assert mean_of([row_of(0.5, p_value=0.01)] * 2).p_value is None


def test_the_test_over_trainings_is_the_usual_one_of_two_samples() -> None:
    p_value = p_value_of_difference(rows_of(*OF_SYSTEM), rows_of(*OF_OTHER))
    assert p_value == pytest.approx(scipy.stats.ttest_ind(OF_SYSTEM, OF_OTHER).pvalue)


@pytest.mark.parametrize(
    "other", [(0.5,), (0.5, None)], ids=["one training", "a training without a value"]
)
def test_there_is_no_test_without_two_trainings_of_each(other: tuple[float | None, ...]) -> None:
    assert p_value_of_difference(rows_of(*OF_SYSTEM), rows_of(*other)) is None
    assert p_value_of_difference(rows_of(*other), rows_of(*OF_SYSTEM)) is None


def test_there_is_no_test_without_any_spread() -> None:
    assert p_value_of_difference(rows_of(0.5, 0.5), rows_of(0.6, 0.6)) is None
