"""What several tests need: one small Ray, one MLflow store, and a browser that looks at pages.

axe-core checks the Web Content Accessibility Guidelines in Chromium. It comes with
`npm install --global axe-core`, or with `npm install --prefix FOLDER axe-core` and
SERVAL_AXE=FOLDER/node_modules/axe-core/axe.min.js.
"""

import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

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


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    import ray

    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One MLflow store for all tests that need one; its tables take seconds to make."""
    folder = tmp_path_factory.mktemp("ml flow")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        yield folder


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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


@pytest.fixture
def check_accessibility(browse, axe: str) -> Callable[..., dict[str, Any]]:
    """check_accessibility(page, scheme="light"|"dark", width=...) -> what axe-core finds"""

    def check(page: Path, *, scheme: str, width: int) -> dict[str, Any]:
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
        result: dict[str, Any] = json.loads(html.unescape(found[1]))
        assert result["dark"] == (scheme == "dark")
        return result

    return check
