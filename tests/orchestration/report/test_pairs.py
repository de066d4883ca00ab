"""Models side by side and conditions against clean, where the audit has them."""

import pytest

from orchestration.report.audit_folder import Statistic, read_audit
from orchestration.report.page import build_page
from orchestration.report.pairs import change_panels, describe, model_panels
from orchestration.report.render import render_page


@pytest.fixture
def compared(make_audit, row, pair_row) -> str:
    """Models 3 and 4 under two conditions; 3 is worse in noise, 4 is better than 3 at women."""
    rows = []
    for model in ("3", "4"):
        for condition in ("clean", "noise, 10 dB"):
            at = {"model_version": model, "condition": condition}
            rows.append(row("concordance_cc", 0.7, **at))
    models = ("model_version", "model_version=3-model_version=4")
    women = (f"{models[0]},sex", f"{models[1]},sex=female")
    rows += [
        pair_row("concordance_cc_difference", *models, -0.031, 0.4),
        pair_row("pearson_cc_difference", *models, -0.9, 0.001),
        pair_row("concordance_cc_difference", *women, -0.123, 0.004),
        pair_row("concordance_cc_difference", women[0], f"{models[1]},sex=male", 0.011, 0.8),
        pair_row(
            "concordance_cc_change",
            "condition",
            "condition=noise, 10 dB-condition=clean",
            -0.222,
            0.0001,
            condition="noise, 10 dB",
        ),
    ]
    return make_audit(rows=rows, pairs=[{}, {"model_version": "4"}])


def test_models_are_compared_in_what_verdicts_rest_on(compared: str) -> None:
    (panel,) = model_panels(read_audit(compared).statistics, {"4": "models:/new/4"})
    assert (panel.title, panel.metric) == ("clean", "concordance_cc")
    ((target, (pair,)),) = panel.pairs
    assert (target, pair.first, pair.second, pair.slice) == ("arousal", "3", "models:/new/4", "")
    assert pair.statistic.value == -0.031
    (of_slice,) = panel.of_slices
    assert describe(of_slice) == (
        "3 is worse than models:/new/4 on sex=female, arousal, by .123 CCC "
        "(95% interval .073 to .173)"
    )


def test_a_condition_is_held_against_clean_where_clean_is_shown(compared: str) -> None:
    page = build_page(read_audit(compared))
    robust = {section.title: section.robustness for section in page.sections}
    (panel,) = robust["Model 3, clean"]
    others = {title: panels for title, panels in robust.items() if title != "Model 3, clean"}
    assert others
    assert all(title.endswith(", clean") and panels == () for title, panels in others.items())
    ((_, (pair,)),) = panel.pairs
    assert (pair.first, pair.second) == ("noise, 10 dB", "clean")


def test_both_are_on_the_page(compared: str) -> None:
    html = render_page(build_page(read_audit(compared)))
    assert "How robust it is" in html
    assert '<h2 id="comparison">Comparison of models</h2>' in html
    assert "<bdi>noise, 10 dB</bdi> against <bdi>clean</bdi>" in html
    assert "<bdi>3</bdi> against <bdi>4</bdi>" in html
    assert html.index("How robust it is") < html.index("Comparison of models</h2>")
    assert ".900" not in html  # of PCC, which no verdict rests on


def test_neither_is_there_without_a_second_side(make_audit) -> None:
    html = render_page(build_page(read_audit(make_audit())))
    assert "How robust it is" not in html
    assert "Comparison of models" not in html


def test_the_longest_version_that_fits_is_meant(make_statistic) -> None:
    rows = [
        make_statistic(
            model_version="a",
            metric="concordance_cc_difference",
            slice_by="model_version,sex",
            slice=f"model_version=a-model_version={second},sex=male",
            value=value,
            p_adjusted=0.01,
        )
        for second, value in (("b", 0.2), ("b,sex=male", -0.1))
    ]
    others = [make_statistic(model_version=name) for name in ("b", "b,sex=male")]
    (panel,) = model_panels([*rows, *others], {})
    assert [(pair.second, pair.slice) for pair in panel.of_slices] == [
        ("b", "sex=male"),
        ("b,sex=male", "sex=male"),
    ]


@pytest.fixture
def make_statistic(row):
    def make(metric: str = "concordance_cc", value: float = 0.5, **columns: object) -> Statistic:
        return Statistic(**row(metric, value, **columns))

    return make


def test_a_comparison_with_a_model_that_is_not_there_is_left_out(make_statistic) -> None:
    rows = [
        make_statistic(
            metric="concordance_cc_difference",
            slice_by="model_version",
            slice="model_version=3-model_version=9",
        )
    ]
    assert model_panels(rows, {}) == ()
    assert change_panels(rows, "3", "Model 3") == ()
