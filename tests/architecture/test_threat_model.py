"""The threat model names only files and tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text()


def test_every_file_of_the_threat_model_exists() -> None:
    files = set(re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", PAGE))
    assert len(files) > 10
    assert not [file for file in files if not (ROOT / file).is_file()]


def test_every_test_of_the_threat_model_exists() -> None:
    tests = set(re.findall(r"`(test_\w+)`", PAGE))
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"^def (test_\w+)\(", sources, re.MULTILINE))
    assert len(tests) > 40
    assert not tests - defined
