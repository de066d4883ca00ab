"""The CCC of speakers, and agreement on them against SciPy's rank correlation."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from orchestration.reproduce.rows.planned import NotMadeError
from orchestration.reproduce.rows.speakers import DRAWS

SPEAKERS = ("7", "12", "101", "931")


def write_speakers(table: Any, audit: Any, target: str, seed: int = 0) -> dict[str, list[float]]:
    """Draw the CCC of each speaker for all models, and return them by model."""
    rng = np.random.default_rng(seed)
    of_model = {step.name: rng.uniform(size=len(SPEAKERS)).tolist() for step in audit.predictions}
    head = {"target": target}
    rows = [
        {**head, "model_version": model, "speaker_id": speaker, "metric": DRAWS, "value": value}
        for model, values in of_model.items()
        for speaker, value in zip(SPEAKERS, values, strict=True)
    ]
    others = [{**row, "metric": "concordance_cc", "value": 0.0} for row in rows]
    table.write(audit, "speakers", [*others, *reversed(rows)])
    return of_model


def test_every_speaker_has_a_number(hand_made: Callable[..., Any]) -> None:
    table = hand_made("wagner/fig8", num_seeds=2)
    planned = table.plan(system="hubert-b", target="valence")
    of_model = write_speakers(table, planned.audit, "valence")
    numbers = table.read(planned)
    values = np.array([of_model[f"hubert-b seed {seed}"] for seed in (0, 1)])
    assert [number.slice for number in numbers] == [f"speaker_id={name}" for name in SPEAKERS]
    assert [number.value for number in numbers] == pytest.approx(values.mean(axis=0))
    assert [n.standard_deviation for n in numbers] == pytest.approx(values.std(axis=0, ddof=1))


@pytest.mark.parametrize(
    ("system", "choose"), [("most alike pair", max), ("least alike pair", min)]
)
def test_pairs_agree_by_the_ranks_of_speakers(
    hand_made: Callable[..., Any], system: str, choose: Callable[[Any], Any]
) -> None:
    table = hand_made("wagner/fig8")
    planned = table.plan(system=system, target="dominance")
    of_model = write_speakers(table, planned.audit, "dominance", seed=1)
    (number,) = table.read(planned)
    expected = {
        pair: spearmanr(of_model[pair[0]], of_model[pair[1]]).statistic
        for pair in itertools.combinations(of_model, 2)
    }
    assert len(expected) == 28
    assert number.value == pytest.approx(choose(expected.values()))
    first, _, second = number.note.partition(", ")[0].partition(" and ")
    of_note = expected[f"{first} seed 0", f"{second} seed 0"]
    assert number.value == pytest.approx(of_note)
    assert number.note.endswith("of 28 pairs, 4 speakers")


def test_agreement_is_the_mean_over_seeds(hand_made: Callable[..., Any]) -> None:
    table = hand_made("wagner/fig8", num_seeds=2)
    planned = table.plan(system="most alike pair", target="dominance")
    of_model = write_speakers(table, planned.audit, "dominance", seed=1)
    (number,) = table.read(planned)
    systems = {name.partition(" seed")[0] for name in of_model}
    means = [
        np.mean(
            [spearmanr(of_model[f"{a} seed {s}"], of_model[f"{b} seed {s}"])[0] for s in (0, 1)]
        )
        for a, b in itertools.combinations(systems, 2)
    ]
    assert number.value == pytest.approx(max(means))
    assert number.num_seeds == 2


@pytest.mark.parametrize("system", ["cnn14", "most alike pair"])
def test_without_speakers_of_200_segments_there_is_a_reason(
    hand_made: Callable[..., Any], system: str
) -> None:
    table = hand_made("wagner/fig8")
    planned = table.plan(system=system, target="arousal")
    table.write(planned.audit, "speakers", [])
    with pytest.raises(NotMadeError, match="no speaker has the 200 segments"):
        table.read(planned)


def test_a_speaker_whose_ratings_do_not_vary_has_a_reason(hand_made: Callable[..., Any]) -> None:
    table = hand_made("wagner/fig8")
    planned = table.plan(system="cnn14", target="arousal")
    (step,) = planned.predictions
    head = {"target": "arousal", "metric": DRAWS}
    table.write(
        planned.audit, "speakers", [{**head, "model_version": step.name, "speaker_id": "7"}]
    )
    (number,) = table.read(planned)
    assert number.value is None
    assert "does not vary" in number.reason
