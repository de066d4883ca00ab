"""The report as a browser shows it: Chromium lays it out, prints it, and finds every part."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.report.render import render_report
from ser_model import storage
from ser_model.schema import STATISTICS

pytestmark = pytest.mark.browser

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def page(make_audit, tmp_path: Path) -> Path:
    output = tmp_path / "report.html"
    render_report(make_audit(), str(output))
    return output


def test_the_browser_finds_every_part(browse, page: Path) -> None:
    dom = browse(page, "--dump-dom")
    text = " ".join(re.sub(r"<(style|svg)\b.*?</\1>|<[^>]+>", " ", dom, flags=re.DOTALL).split())
    assert "it is not fair: accent=scottish is predicted worse than the rest on arousal" in text
    for heading in ("How right it is", "How fair it is", "Join ledger", "Provenance"):
        assert heading in text
    # The parser of a browser mends broken nesting by moving things; these would be gone or doubled.
    assert dom.count("<figure>") == 6
    assert len(re.findall("<main[ >]", dom)) == 1
    assert dom.count("<table") == dom.count("</table>") == dom.count("<caption>")
    assert re.search(r"<main.*<footer", dom, flags=re.DOTALL)


@pytest.mark.parametrize(("width", "height"), [(1100, 1500), (420, 1500)])
def test_a_screenshot_shows_a_page(
    browse, page: Path, tmp_path: Path, width: int, height: int
) -> None:
    picture = tmp_path / "report.png"
    browse(page, f"--screenshot={picture}", f"--window-size={width},{height}")
    data = picture.read_bytes()
    assert data.startswith(PNG)
    assert int.from_bytes(data[20:24]) == height
    assert len(data) > 40_000  # an empty page of this size takes some 5 kB


def test_it_prints(browse, page: Path, tmp_path: Path) -> None:
    printed = tmp_path / "report.pdf"
    browse(page, f"--print-to-pdf={printed}", "--no-pdf-header-footer")
    data = printed.read_bytes()
    assert data.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", data)) <= 12


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dimensions", "emotion", "several"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing(
    check_accessibility,
    make_audit,
    pair_row,
    condition_rows,
    break_point_row,
    comparison,
    decision,
    tmp_path: Path,
    kind: str,
    scheme: str,
    width: int,
) -> None:
    if kind == "several":
        folder = make_audit(pairs=[{}, {"model_version": "4"}, {"condition": "babble"}])
        families = [break_point_row("noise-*db", 0.0), break_point_row("gaps-*pct", None)]
        names = ("noise-20db", "noise-0db", "gaps-2pct", "gaps-10pct", "phone")
        _add(folder, [*_comparisons(pair_row), *condition_rows(names), *families])
    else:
        folder = make_audit(kind)
        decided = decision(comparison("fail"), comparison("inconclusive", counts_as="pass"))
        storage.write_json(f"{folder}/gate.json", decided.to_json())
    page = tmp_path / "report.html"
    render_report(folder, str(page), links={"run": "https://mlflow/x", "model": "s3://b/m"})
    accessibility = check_accessibility(page, scheme=scheme, width=width)
    assert {"color-contrast", "svg-img-alt", "scope-attr-valid"} <= set(accessibility["passes"])
    assert accessibility["violations"] == []


def _comparisons(pair_row) -> list[dict]:
    models = ("model_version", "model_version=3-model_version=4")
    conditions = ("condition", "condition=babble-condition=clean")
    return [
        pair_row("concordance_cc_difference", *models, -0.031, 0.4),
        pair_row("concordance_cc_change", *conditions, -0.2, 0.001, condition="babble"),
    ]


def _add(folder: str, rows: list[dict]) -> None:
    uri = storage.join(folder, "statistics.parquet")
    added = pa.Table.from_pylist(rows, schema=STATISTICS)
    storage.write_table(uri, pa.concat_tables([storage.read_table(uri), added]))
