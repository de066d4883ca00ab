"""The report as a browser shows it: Chromium lays it out, prints it, and finds every part.

axe-core checks the Web Content Accessibility Guidelines there. It comes with
`npm install --global axe-core`, or with `npm install --prefix FOLDER axe-core` and
SERVAL_AXE=FOLDER/node_modules/axe-core/axe.min.js.
"""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.report.render import render_report
from ser_model import storage
from ser_model.schema import STATISTICS

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
POLICY = re.compile('<meta http-equiv="Content-Security-Policy"[^>]*>')
RESULT = re.compile('<pre id="axe-result">(.*?)</pre>', re.DOTALL)
RUN = """
<script>{axe}</script>
<script>
axe.run(document, {{resultTypes: ["violations"]}}).then(result => {{
  const found = document.createElement("pre");
  found.id = "axe-result";
  found.textContent = JSON.stringify({{
    violations: result.violations.map(v => ({{
      id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.slice(0, 3).map(n => n.html)
    }})),
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    passes: result.passes.map(p => p.id),
  }});
  document.body.append(found);
}});
</script>
"""


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


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core."""
    given = os.environ.get("SERVAL_AXE")
    if given:
        return Path(given).read_text()
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no axe-core: set SERVAL_AXE to axe.min.js, or install npm and axe-core")
    listed = subprocess.run([npm, "root", "--global"], capture_output=True, text=True, check=True)
    script = Path(listed.stdout.strip(), "axe-core", "axe.min.js")
    if not script.exists():
        pytest.skip("no axe-core: npm install --global axe-core, or set SERVAL_AXE to axe.min.js")
    return script.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dimensions", "emotion", "several"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing(
    browse,
    axe: str,
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
    # The page's own policy forbids it scripts, this one too.
    text, num_policies = POLICY.subn("", page.read_text())
    assert num_policies == 1
    page.write_text(text.replace("</body>", RUN.format(axe=axe) + "</body>"))
    dom = browse(
        page,
        "--dump-dom",
        "--virtual-time-budget=60000",
        f"--window-size={width},2000",
        f"--blink-settings=preferredColorScheme={int(scheme == 'light')}",
    )
    found = RESULT.search(dom)
    assert found is not None
    result = json.loads(html.unescape(found[1]))
    assert result["dark"] == (scheme == "dark")
    assert {"color-contrast", "svg-img-alt", "scope-attr-valid"} <= set(result["passes"])
    assert result["violations"] == []


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
