"""Means over conditions, tests and targets, and what is said of cells that are missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from orchestration.reproduce.rows.planned import NotMadeError

HUMAN = ("human-0db", "human-10db", "human-20db")
WAGNER = (
    *(f"{kind}-{snr}db" for kind in ("natural", "human", "interior") for snr in (0, 10, 20)),
    *("speed-up-segment", "fade"),
)
PLACES = {
    "msp-podcast/test-1": ("arousal", "dominance", "valence"),
    "iemocap": ("arousal", "dominance", "valence"),
    "cmu-mosi/test": ("valence",),
}


def write_statistics(
    table: Any, planned: Any, *, metric: str, slice_: str, conditions: tuple[str, ...]
) -> dict[tuple[str, str, str, int], float]:
    """Draw the statistic of every seed under all conditions, in every audit of a mean.

    Returns:
        Values by test, target, condition and seed.
    """
    rng = np.random.default_rng(0)
    values: dict[tuple[str, str, str, int], float] = {}
    for audit in planned.steps:
        test = audit.corpus.part.place
        rows = []
        for step in audit.predictions:
            for target in ("arousal", "dominance", "valence"):
                for condition in conditions:
                    value = rng.uniform(-1.0, 1.0)
                    head = {"model_version": step.name, "condition": condition, "target": target}
                    of_slice = {"slice": slice_.format(condition), "slice_by": slice_[:3]}
                    rows.append({**head, **of_slice, "metric": metric, "value": value})
                    # None of these is asked for.
                    rows.append({**rows[-1], "metric": "accuracy", "value": 9.0})
                    rows.append({**rows[-1], "metric": metric, "slice": "another=1"})
                    if step.system == "w2v2-L-robust":
                        values[test, target, condition, step.seed] = value
        table.write(audit, "statistics", rows)
    return values


def mean_over(
    values: dict[tuple[str, str, str, int], float], conditions: tuple[str, ...], seed: int = 0
) -> float:
    cells = [
        values[test, target, condition, seed]
        for test, targets in PLACES.items()
        for target in targets
        for condition in conditions
    ]
    return float(np.mean(cells))


CHANGE = {"metric": "concordance_cc_change", "slice_": "condition={}-condition=clean"}


def test_a_pattern_of_conditions_is_a_mean_over_them_and_all_places(
    hand_made: Callable[..., Any],
) -> None:
    table = hand_made("wagner/table3")
    planned = table.plan(test="all", condition="human-*db")
    values = write_statistics(table, planned, conditions=WAGNER, **CHANGE)
    (number,) = table.read(planned)
    assert number.value == pytest.approx(mean_over(values, HUMAN))
    assert number.note == "mean of 21 of 21 cells"
    assert (number.ci_low, number.standard_deviation) == (None, None)


def test_the_mean_of_a_set_of_conditions_has_a_deviation_over_seeds(
    hand_made: Callable[..., Any],
) -> None:
    table = hand_made("wagner/fig6", num_seeds=2)
    planned = table.plan(system="w2v2-L-robust", test="all")
    values = write_statistics(table, planned, conditions=WAGNER, **CHANGE)
    (number,) = table.read(planned)
    of_seeds = [mean_over(values, WAGNER, seed) for seed in (0, 1)]
    assert number.value == pytest.approx(np.mean(of_seeds))
    assert number.standard_deviation == pytest.approx(np.std(of_seeds, ddof=1))
    assert (number.num_seeds, number.note) == (2, "mean of 77 of 77 cells")


def test_one_place_under_a_set_of_conditions(hand_made: Callable[..., Any]) -> None:
    table = hand_made("wagner/fig6")
    planned = table.plan(system="w2v2-L-robust", test="iemocap", target="dominance")
    values = write_statistics(
        table, planned, metric="concordance_cc", slice_="", conditions=("clean", *WAGNER)
    )
    (number,) = table.read(planned)
    expected = [values["iemocap", "dominance", condition, 0] for condition in WAGNER]
    assert number.value == pytest.approx(np.mean(expected))
    assert number.note == "mean of 11 of 11 cells"


SCORE = {"metric": "gender_fairness_score", "slice_": "sex=female-sex=male"}


def test_a_test_that_could_not_be_audited_is_named(hand_made: Callable[..., Any]) -> None:
    table = hand_made("wagner/fig7")
    planned = table.plan(system="w2v2-L-robust", test="all")
    values = write_statistics(table, planned, conditions=("clean",), **SCORE)
    (of_mosi,) = [step for step in planned.steps if step.corpus.part.place == "cmu-mosi/test"]
    table.failed[of_mosi] = "no column 'sex'"
    (number,) = table.read(planned)
    left = [value for (test, *_), value in values.items() if test != "cmu-mosi/test"]
    assert len(left) == 6
    assert number.value == pytest.approx(np.mean(left))
    assert number.note == "mean of 6 of 7 cells; 1 of cmu-mosi/test missing (no column 'sex')"


def test_a_cell_without_a_value_is_missing_too(hand_made: Callable[..., Any]) -> None:
    table = hand_made("wagner/fig7")
    planned = table.plan(system="w2v2-L-robust", test="all")
    write_statistics(table, planned, conditions=("clean",), **SCORE)
    table.write(planned.steps[1], "statistics", [])
    (number,) = table.read(planned)
    assert number.note == ("mean of 4 of 7 cells; 3 of iemocap missing (the audit has no such row)")


def test_without_any_cell_there_is_no_mean(hand_made: Callable[..., Any]) -> None:
    table = hand_made("wagner/fig7")
    planned = table.plan(system="w2v2-L-robust", test="all")
    table.failed |= dict.fromkeys(planned.steps, "no weights")
    with pytest.raises(NotMadeError, match=r"^3 of msp-podcast/test-1 missing \(no weights\), 3 "):
        table.read(planned)
