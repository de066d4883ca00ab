"""What conditions do, on the page: scores, curves, whom they change more, shifts."""

import re

import pytest

from orchestration.report.audit_folder import Statistic, read_audit
from orchestration.report.page import build_page
from orchestration.report.render import MAX_BYTES, render_page, render_report
from orchestration.report.robustness import MAX_CONDITIONS, MAX_GAPS, condition_panel
from orchestration.report.severity_curves import MAX_FAMILIES, severity_curves

LEVELS = ("noise-20db", "noise-10db", "noise-0db")


@pytest.fixture
def rows(row, condition_rows, break_point_row) -> list[dict]:
    """Noise at three levels, and a phone; noise breaks the model at 10 dB."""
    clean = [row("concordance_cc", 0.8)]
    return [*clean, *condition_rows((*LEVELS, "phone")), break_point_row("noise-*db", 10.0)]


def panel_of(rows: list[dict]):
    return condition_panel([Statistic(**row) for row in rows], "3")


def test_scores_changes_and_shifts_stand_by_condition(rows) -> None:
    panel = panel_of(rows)
    assert (panel.targets, panel.metrics) == (("arousal",), ("concordance_cc",))
    assert [row.condition for row in panel.rows] == [*LEVELS, "phone"]
    (cell,) = panel.rows[1].cells
    found = [s.value for s in (cell.score, cell.change, cell.unchanged, cell.shift)]
    assert found == pytest.approx([0.76, -0.04, 0.86, 0.011])
    assert [score.value for score in panel.clean] == [0.8]


def test_curves_run_from_mild_to_harsh_with_the_break_point(rows) -> None:
    (curve,) = panel_of(rows).curves
    assert [level.label for level in curve.levels] == ["20", "10", "0"]
    assert [level.x for level in curve.levels] == [50.0, 150.0, 250.0]
    assert curve.break_x == 150.0
    heights = [180 * (1 - value) for value in (0.78, 0.76, 0.74)]
    points = [float(y) for y in re.findall(r"M\S+ (\S+)h0", curve.points)]
    assert points == pytest.approx(heights, abs=0.06)
    assert curve.clean_y == pytest.approx(36.0)
    edges = [float(y) for y in re.findall(r"[ML]\S+ ([\d.]+)", curve.bands)]
    ends = [0.82, 0.8, 0.78, 0.7, 0.72, 0.74]
    assert edges == pytest.approx([180 * (1 - end) for end in ends], abs=0.06)


def test_a_level_without_interval_has_no_band_and_one_without_value_no_point(rows) -> None:
    for row in rows:
        if row["metric"] == "concordance_cc" and row["condition"] == "noise-10db":
            row |= {"ci_low": None, "ci_high": None}
        if row["metric"] == "concordance_cc" and row["condition"] == "noise-0db":
            row |= {"value": None, "ci_low": None, "ci_high": None}
    (curve,) = panel_of(rows).curves
    assert [level.label for level in curve.levels] == ["20", "10"]
    assert curve.bands.count("M") == 1
    assert curve.bands.count("L") == 1


def test_the_most_certain_gaps_are_shown_and_the_suppressed_counted(rows) -> None:
    change, unchanged, shift = panel_of(rows).gaps
    assert (change.title, change.left) == ("Change in CCC", "first loses more")
    assert (change.num_gaps, change.num_shown_to_differ, change.num_suppressed) == (4, 4, 0)
    gap = change.gaps[0]
    assert (gap.first, gap.second, gap.statistic.is_shown) == ("sex=female", "sex=male", True)
    assert (unchanged.num_gaps, unchanged.num_shown_to_differ) == (4, 0)
    assert (shift.gaps, shift.num_gaps, shift.num_suppressed) == ((), 0, 4)


def test_all_of_it_is_on_the_page(make_audit, rows) -> None:
    html = render_page(build_page(read_audit(make_audit(rows=rows))))
    for text in (
        "<h4>Over severity</h4>",
        "break point at <data",
        "<h4>Whom conditions change more</h4>",
        "<bdi>sex=female</bdi> against <bdi>sex=male</bdi>, arousal",
        "Change in CCC: 4 of 4 gaps differ from 0",
        "4 more are suppressed, their groups being too small",
        "<h4>How far predictions move</h4>",
        "20: .780, 10: .760, 0: .740.",
    ):
        assert text in html
    assert html.count("How robust it is") == 1  # in the section on clean audio alone


def test_gaps_of_changes_are_no_gaps_of_the_model(make_audit, rows) -> None:
    page = build_page(read_audit(make_audit(rows=rows)))
    for section in page.sections:
        assert not [light for light in section.lights if "condition" in light.question]


def test_without_conditions_there_is_no_panel(make_audit, row) -> None:
    assert panel_of([row("concordance_cc", 0.8)]) is None
    html = render_page(build_page(read_audit(make_audit())))
    assert "Over severity" not in html
    assert ".curve" not in html


def test_many_conditions_are_cut_to_those_that_cost_most(
    make_audit, row, condition_rows, break_point_row
) -> None:
    names = [f"kind-{family:02}-{level}db" for family in range(25) for level in (20, 10, 0)]
    made = [row("concordance_cc", 0.9, target=t) for t in ("arousal", "dominance", "valence")]
    for target in ("arousal", "dominance", "valence"):
        made += condition_rows(names, target=target)
        made += [break_point_row(f"kind-{n:02}-*db", 0.0, target=target) for n in range(25)]
    panel = panel_of(made)
    assert (len(panel.rows), panel.num_conditions) == (MAX_CONDITIONS, 75)
    assert {row.condition for row in panel.rows} == set(names[-MAX_CONDITIONS:])
    assert (len(panel.curves), panel.num_curves) == (3 * MAX_FAMILIES, 75)
    assert len(panel.gaps[0].gaps) == MAX_GAPS
    folder = make_audit(rows=made)
    summary = render_report(folder, f"{folder}/report.html")
    assert summary.num_bytes < MAX_BYTES / 2


def test_a_family_of_one_has_no_curve(rows) -> None:
    statistics = [Statistic(**row) for row in rows]
    found = severity_curves(statistics, ["noise-0db", "phone"], {"arousal": "concordance_cc"})
    assert found == ((), 0)
