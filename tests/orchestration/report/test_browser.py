"""The report as a browser shows it: Chromium lays it out, prints it, and finds every part."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestration.report.render import render_report

pytestmark = pytest.mark.browser

# JavaScript stays on, since Chromium dumps the DOM by it; the page's own policy forbids it scripts.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def chromium() -> str:
    found = os.environ.get("SERVAL_CHROMIUM") or shutil.which("chromium")
    if found is None:
        pytest.skip("no Chromium: set SERVAL_CHROMIUM or install chromium")
    return found


@pytest.fixture
def browse(chromium: str, tmp_path: Path):
    """browse(page, *flags) -> what Chromium writes on stdout."""

    def run(page: Path, *flags: str) -> str:
        profile = tmp_path / "profile"
        command = [chromium, *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        return result.stdout

    return run


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
