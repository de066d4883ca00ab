"""The image copies what is there, compiles nothing, and runs as nobody."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGE = (ROOT / "infra/docker/Dockerfile").read_text()
DOCKERFILES = sorted((ROOT / "infra").rglob("*Dockerfile"))


def allowed() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_copied_is_there_and_not_ignored(path: Path) -> None:
    text = path.read_text()
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    assert copies
    for source in " ".join(copies).split():
        assert (ROOT / source).exists()
        assert any(Path(source).match(pattern) for pattern in allowed()), source


def test_a_digest_can_pin_the_base_of_every_stage() -> None:
    assert re.findall(r"^FROM (\S+)", IMAGE, re.MULTILINE) == ["${BASE}", "${BASE}"]
    assert re.search(r"^ARG BASE=python:3\.11-", IMAGE, re.MULTILINE)


def test_every_install_takes_wheels_at_the_tested_versions() -> None:
    installs = re.findall(r"pip --python \S+ install (.+)", IMAGE.replace("\\\n", ""))
    assert len(installs) == 2
    for words in installs:
        assert "--only-binary :all:" in words
        assert "constraints.txt" in words


def test_the_extras_are_ones_that_serval_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r"^ARG EXTRAS=(.+)$", IMAGE, re.MULTILINE)
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()


def test_the_last_stage_runs_as_nobody_and_has_no_pip() -> None:
    last = IMAGE[IMAGE.rindex("\nFROM ") :]
    assert re.search(r"^USER 65532:65532$", last, re.MULTILINE)
    assert "rm -r /usr/local/bin/pip*" in last
    assert "apt-get" not in IMAGE
    assert 'ENTRYPOINT ["serval"]' in last
