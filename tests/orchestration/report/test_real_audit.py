"""A real audit is shown whole: the two halves agree on the files between them."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from orchestration.auditing import audit_runs
from orchestration.report.audit_folder import read_audit
from orchestration.report.page import build_page
from orchestration.report.render import render_page, render_report
from ser_model import storage

NUM_SPEAKERS = 24
SEGMENTS_PER_SPEAKER = 30
EMOTIONS = np.array(["anger", "neutral", "sadness"])


@pytest.fixture(scope="module")
def audit_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One accent's arousal is noise; one model predicts dimensions, another emotions."""
    folder = tmp_path_factory.mktemp("real")
    rng = np.random.default_rng(11)
    num = NUM_SPEAKERS * SEGMENTS_PER_SPEAKER
    speaker = np.repeat(np.arange(NUM_SPEAKERS), SEGMENTS_PER_SPEAKER)
    accent = np.array(["american", "english", "scottish"])[speaker % 3]
    truth = {name: rng.beta(3, 3, num) for name in ("arousal", "dominance", "valence")}
    emotion = EMOTIONS[rng.integers(0, 3, num)]
    ids = [f"segment-{index:04d}" for index in range(num)]
    metadata = {
        "segment_id": ids,
        "recording": ["episode.flac"] * num,
        "speaker_id": [f"speaker {index:02d}" for index in speaker],
        "sex": np.array(["female", "male"])[speaker // 3 % 2],
        "accent": accent,
        "emotion": emotion,
        **truth,
    }
    storage.write_table(str(folder / "metadata.parquet"), pa.table(metadata))
    predictions = {
        name: 0.1 + 0.8 * values + rng.normal(0, 0.07, num) for name, values in truth.items()
    }
    is_scottish = accent == "scottish"
    predictions["arousal"][is_scottish] = rng.beta(3, 3, is_scottish.sum())
    dimensional = pa.table({"segment_id": ids, **predictions})
    storage.write_table(str(folder / "dimensional.parquet"), dimensional)
    is_right = rng.random(num) < 0.8
    guessed = np.where(is_right, emotion, EMOTIONS[rng.integers(0, 3, num)])
    categorical = pa.table({"segment_id": ids, "emotion": guessed})
    storage.write_table(str(folder / "categorical.parquet"), categorical)
    output = str(folder / "audit")
    audit_runs(
        [str(folder / "dimensional.parquet"), str(folder / "categorical.parquet")],
        str(folder / "metadata.parquet"),
        output,
        num_replicates=200,
        provenance={"corpus": {"synthetic": True}},
    )
    return output


@pytest.fixture(scope="module")
def robustness_folder(audit_folder: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The model of dimensions under noise at three levels, which harms one sex more."""
    source = Path(audit_folder).parent
    folder = tmp_path_factory.mktemp("robustness")
    metadata = storage.read_table(str(source / "metadata.parquet"))
    clean = storage.read_table(str(source / "dimensional.parquet"))
    is_female = np.array(metadata["sex"].to_pylist()) == "female"
    rng = np.random.default_rng(12)
    tables = []
    for condition, scale in (("clean", 0.0), ("noise-20db", 0.01), ("noise-5db", 0.2)):
        table = clean.append_column("condition", pa.array([condition] * len(clean)))
        for place, name in enumerate(("arousal", "dominance", "valence"), start=1):
            noise = rng.normal(0, 1, len(clean)) * scale * (1 + is_female)
            table = table.set_column(place, name, pa.array(clean[name].to_numpy() + noise))
        tables.append(table)
    storage.write_table(str(folder / "said.parquet"), pa.concat_tables(tables))
    output = str(folder / "audit")
    audit_runs(
        [str(folder / "said.parquet")],
        str(source / "metadata.parquet"),
        output,
        num_replicates=100,
    )
    return output


def test_conditions_are_shown_with_their_break_point_and_whom_they_harm(
    robustness_folder: str,
) -> None:
    panel = build_page(read_audit(robustness_folder)).sections[0].conditions
    assert panel is not None
    assert [row.condition for row in panel.rows] == ["noise-20db", "noise-5db"]
    assert [curve.target for curve in panel.curves] == ["arousal", "dominance", "valence"]
    on_dominance = panel.curves[1]
    assert on_dominance.break_point is not None
    assert on_dominance.break_point.value == 5.0
    assert on_dominance.break_x == on_dominance.levels[1].x
    worst = panel.gaps[0].gaps[0]
    assert (worst.first, worst.second, worst.condition) == ("sex=female", "sex=male", "noise-5db")
    assert worst.statistic.value is not None
    assert worst.statistic.value < -0.1
    assert worst.statistic.is_shown
    html = render_page(build_page(read_audit(robustness_folder)))
    assert "Changes tested against 0" in html
    assert numbers_shown(html) <= numbers_in(robustness_folder)


def test_both_models_are_judged(audit_folder: str) -> None:
    page = build_page(read_audit(audit_folder))
    categorical, dimensional = page.sections
    assert "predicts emotion well enough (UAR above .5)" in categorical.verdict.sentence
    assert "accent=scottish is predicted worse than the rest on arousal by" in (
        dimensional.verdict.sentence
    )
    assert dimensional.verdict.findings[0] in dimensional.verdict.sentence
    assert page.provenance.is_synthetic
    assert page.provenance.seed == 0
    assert page.provenance.num_replicates == 200


def test_counts_agree(audit_folder: str) -> None:
    categorical, dimensional = build_page(read_audit(audit_folder)).sections
    num = NUM_SPEAKERS * SEGMENTS_PER_SPEAKER
    assert [figure.num_segments for _, figure in dimensional.densities] == [num] * 3
    assert categorical.emotion is not None
    assert sum(categorical.emotion.row_totals) == num
    assert [panel.num_speakers for panel in dimensional.speakers] == [NUM_SPEAKERS] * 3
    assert [panel.num_groups for panel in dimensional.fairness] == [3, 2]
    for section in (categorical, dimensional):
        assert section.lights[-1].answer == f"{num} of {num} predictions matched"


def test_it_renders(audit_folder: str, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    summary = render_report(audit_folder, str(output))
    assert summary.num_sections == 2
    assert output.stat().st_size == summary.num_bytes < 200_000
    assert "The speech in this corpus is synthetic." in output.read_text()


def test_every_number_is_in_the_tables(audit_folder: str, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    render_report(audit_folder, str(output))
    shown = numbers_shown(output.read_text())
    assert len(shown) > 300
    assert shown <= numbers_in(audit_folder)


def numbers_shown(html: str) -> set[float]:
    return {float(value) for value in re.findall(r'<data value="([^"]*)">', html)}


def numbers_in(folder: str) -> set[float]:
    numbers: set[float] = set()
    for name in ("statistics", "speakers"):
        table = storage.read_table(f"{folder}/{name}.parquet")
        for column, field in zip(table.columns, table.schema, strict=True):
            if pa.types.is_floating(field.type):
                numbers |= set(column.drop_null().to_pylist())
    return numbers


def test_residuals_of_dimensions_have_boxes_and_speakers_of_emotions_intervals(
    audit_folder: str,
) -> None:
    categorical, dimensional = build_page(read_audit(audit_folder)).sections
    assert categorical.boxes is None
    assert dimensional.boxes is not None
    assert [column.slice_by for column in dimensional.boxes.columns] == ["", "accent", "sex"]
    (panel,) = categorical.speakers
    assert panel.metric == "unweighted_average_recall"
    assert all(speaker.ci_low is not None for speaker in panel.lowest)
