"""A page is cut to its size, and says what it lacks."""

import pytest

from orchestration.report.audit_folder import read_audit
from orchestration.report.fitting import shorter
from orchestration.report.page import build_page
from orchestration.report.render import MAX_BYTES, render_page, render_report


@pytest.fixture
def full(make_audit, many_groups, quantile_rows):
    """Ten models with eight columns, each of many slices."""
    rows = many_groups(num_pairs=10, num_columns=8, num_slices=5, name="n")
    for column in range(8):
        of = {"slice_by": f"{column}n", "slice": f"{column}n=0n", "condition": "c0"}
        rows += quantile_rows(0.0, **of)
    folder = make_audit(rows=rows, pairs=[{"condition": f"c{i}"} for i in range(10)])
    return build_page(read_audit(folder))


def test_first_models_then_columns_are_left_out(full) -> None:
    sizes, page = [], full
    while page is not None:
        sizes.append((len(page.sections), len(page.sections[0].fairness)))
        last, page = page, shorter(page)
    assert sizes == [(10, 10), (5, 10), (2, 10), (1, 10), (1, 5), (1, 2), (1, 1)]
    assert len(last.sections[0].residuals.columns) == 1
    assert [column.slice_by for column in last.sections[0].boxes.columns] == ["", "0n"]
    assert len(last.overview) == 10


def test_what_is_left_out_is_said(full) -> None:
    html = render_page(shorter(shorter(shorter(shorter(full)))))
    assert "5 of 10 columns are shown; all stand in statistics.parquet." in html
    assert "5 of 10 columns" not in render_page(full)
    assert "10 models and conditions; the first 1 is shown in full below" in html


def test_many_speakers_and_slices_fit(
    make_audit, row, gap_row, quantile_rows, dimension_rows
) -> None:
    rows = dimension_rows()
    for column in ("corpus", "dialogue_act"):
        for target in ("arousal", "dominance", "valence"):
            for number in range(300):
                name = f"{column}={number:03}"
                of = {"slice_by": column, "slice": name, "target": target}
                rows += [row("concordance_cc", number / 300, **of), *quantile_rows(0.1, **of)]
                rows.append(row("residual_mean", 0.1, p_adjusted=0.2, **of))
                rows.append(
                    gap_row(f"{name}-rest", -0.2, fails=True, slice_by=column, target=target)
                )
    folder = make_audit(rows=rows, num_speakers=100_000)
    summary = render_report(folder, f"{folder}/report.html")
    assert summary.num_bytes < MAX_BYTES / 2
    assert summary.num_sections == 1


def test_a_page_that_would_be_too_large_is_cut(
    make_audit, many_groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = many_groups(num_pairs=1, num_columns=12, num_slices=25, name="n" * 300)
    folder = make_audit(rows=rows, pairs=[{"condition": "c0"}])
    whole = render_report(folder, f"{folder}/report.html").num_bytes
    monkeypatch.setattr("orchestration.report.render.MAX_BYTES", whole // 3)
    assert render_report(folder, f"{folder}/report.html").num_bytes <= whole // 3
