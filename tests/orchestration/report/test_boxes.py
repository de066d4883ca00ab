"""Box plots of residuals: which are shown, and where each part of a box stands."""

import re

from orchestration.report.audit_folder import read_audit
from orchestration.report.boxes import MAX_BOXES, QUANTILE_METRICS, box_panel
from orchestration.report.page import build_page
from orchestration.report.render import render_page, render_report
from ser_model import storage


def test_all_segments_come_first_then_every_column(make_audit) -> None:
    panel = box_panel(read_audit(make_audit()).statistics)
    assert panel is not None
    assert [column.slice_by for column in panel.columns] == ["", "accent", "sex"]
    assert [target for target, _ in panel.columns[0].boxes] == ["arousal", "dominance", "valence"]
    (box,) = panel.columns[0].boxes[0][1]
    assert [row.value for row in box.quantiles] == [-0.295, -0.115, -0.005, 0.105, 0.275]
    assert [row.metric for row in box.quantiles] == list(QUANTILE_METRICS)
    names = [box.slice for box in panel.columns[1].boxes[0][1]]
    assert names == ["accent=american", "accent=english", "accent=scottish"]


def test_a_model_of_emotions_has_no_boxes(make_audit) -> None:
    assert box_panel(read_audit(make_audit("emotion")).statistics) is None


def test_only_the_largest_slices_are_drawn_and_that_is_said(make_audit, row, quantile_rows) -> None:
    rows = [row("concordance_cc", 0.7), row("residual_mean", 0.0), *quantile_rows(0.0)]
    for number in range(30):
        of = {"slice_by": "accent", "slice": f"accent={number:02}", "num_segments": 20 + number}
        rows += quantile_rows(0.0, **of)
    folder = make_audit(rows=rows)
    panel = box_panel(read_audit(folder).statistics)
    assert panel is not None
    (_, column) = panel.columns
    (_, boxes) = column.boxes[0]
    assert [box.slice for box in boxes] == [f"accent={number}" for number in range(18, 30)]
    assert (column.num_shown, column.num_slices) == (MAX_BOXES, 30)
    assert "the 12 largest of 30" in render_page(build_page(read_audit(folder)))


def test_a_box_stands_between_its_quantiles(make_audit) -> None:
    folder = make_audit()
    render_report(folder, f"{folder}/report.html")
    html = storage.read_bytes(f"{folder}/report.html").decode()
    panel = box_panel(read_audit(folder).statistics)
    assert panel is not None
    at = [panel.axis.percent(value) for value in (-0.295, -0.115, -0.005, 0.105, 0.275)]
    whisker = f'<line class="interval" x1="{at[0]}%" x2="{at[4]}%"'
    box = f'<rect class="box" x="{at[1]}%" width="{round(at[3] - at[1], 2)}%"'
    assert f'{whisker} y1="50%" y2="50%"/>{box}' in html
    assert f'class="median" x1="{at[2]}%"' in html
    assert len(re.findall('<rect class="box"', html)) == 3 * (1 + 3 + 2)
