"""The wheel holds all that an installed Serval needs, and works where there is no checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from what git tracks: a stray file of the checkout is not in it."""
    source, target = (tmp_path_factory.mktemp(name) for name in ("source", "wheel"))
    archive = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, archive.stdout.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(target), str(source)]
    subprocess.run(command, capture_output=True, check=True)
    (built,) = target.glob("serval-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, in a folder of its own; the libraries are those of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    code = "import sys, orchestration.cli as cli; print(cli.__file__); sys.exit(cli.main())"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_data_files_are_in_the_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for package in ("ser_model", "pipelines", "orchestration"):
        assert f"{package}/py.typed" in names
        data = {
            path.relative_to(ROOT).as_posix()
            for suffix in ("*.yaml", "*.txt", "*.j2", "*.css")
            for path in (ROOT / package).rglob(suffix)
        }
        assert data <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_help_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    result = run(installed, tmp_path, "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(installed))
    assert "score" in result.stdout


@pytest.mark.slow
def test_the_demo_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    result = run(installed, tmp_path, "demo", "--quick")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "serval-demo" / "report.html").exists()
