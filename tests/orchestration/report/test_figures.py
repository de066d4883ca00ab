"""Marks stand where their numbers say."""

import numpy as np
import pyarrow as pa
import pytest

from orchestration.report.figures import axis_around, caterpillar_figure, density_figure
from orchestration.report.speakers import QUANTILES, speaker_panel


@pytest.mark.parametrize(
    "values", [[-0.31, 0.12], [0.0], [], [None, 0.4], [0.4, 0.4], [1e-7, 2e-7], [-3.0, 250.0]]
)
def test_an_axis_holds_its_values_on_a_few_round_ticks(values: list[float | None]) -> None:
    axis = axis_around(values)
    assert 2 <= len(axis.ticks) <= 8
    assert (axis.low, axis.high) == (axis.ticks[0], axis.ticks[-1])
    for value in values:
        if value is not None:
            assert axis.low <= value <= axis.high


def test_percent_is_linear_and_stays_on_the_axis() -> None:
    axis = axis_around([0.0, 1.0])
    assert [axis.percent(value) for value in (-1.0, 0.0, 0.25, 1.0, 7.0)] == [0, 0, 25, 100, 100]


def test_density_cells_stand_with_high_predictions_on_top() -> None:
    figure = density_figure([0, 19], [0, 19], [1, 64])
    assert figure.levels == ((0.125, "M0 19h1v1h-1z"), (1.0, "M19 0h1v1h-1z"))
    assert figure.num_segments == 65


def test_a_caterpillar_draws_whiskers_only_where_there_are_intervals() -> None:
    values = np.array([0.0, 1.0])
    low, high = np.array([np.nan, 0.9]), np.array([np.nan, 1.0])
    figure = caterpillar_figure(values, low, high, reference=0.5)
    assert figure.points == "M75 180h0M225 0h0"
    assert figure.whiskers == "M225 18V0"
    assert figure.reference_y == 90.0


def speakers(values: list[float | None]) -> pa.Table:
    num = len(values)
    return pa.table(
        {
            "speaker_id": [f"s{index:04d}" for index in range(num)],
            "target": ["arousal"] * num,
            "metric": ["concordance_cc"] * num,
            "value": pa.array(values, pa.float64()),
            "ci_low": pa.array([None] * num, pa.float64()),
            "ci_high": pa.array([None] * num, pa.float64()),
            "num_segments": [5] * num,
            "reason": pa.array([None] * num, pa.string()),
        }
    )


def panel_of(values: list[float | None]):
    table = speakers(values)
    return speaker_panel(table, target="arousal", metric="concordance_cc", reference=None)


def test_speakers_are_sorted_and_no_one_stands_twice() -> None:
    panel = panel_of([0.5, None, 0.1, 0.9, 0.1, 0.7, 0.2])
    assert [one.speaker_id for one in panel.lowest] == ["s0002", "s0004", "s0006", "s0000", "s0005"]
    assert [one.speaker_id for one in panel.highest] == ["s0003"]
    assert (panel.num_speakers, panel.num_without_value) == (6, 1)


def test_many_speakers_are_thinned_but_for_the_first_and_the_last() -> None:
    values = np.random.default_rng(5).permutation(np.linspace(0, 1, 1001)).tolist()
    panel = panel_of(values)
    assert panel.num_plotted == 200
    assert panel.figure.points.startswith("M0.8 180h0")
    assert panel.figure.points.endswith(" 0h0")
    assert [one.value for _, one in panel.quantiles] == pytest.approx(QUANTILES)
    assert panel.lowest[0].value == 0.0
    assert panel.highest[0].value == 1.0


def test_no_panel_without_a_value() -> None:
    assert panel_of([None, None]) is None
