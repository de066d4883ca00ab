"""What a page may link to, and what it may not."""

import pytest

from orchestration.report.links import link


@pytest.mark.parametrize(
    ("target", "href"),
    [
        ("https://mlflow:5000/#/experiments/1/runs/2?a=b&c", None),
        ("HTTP://mlflow", None),
        ("nights/2026-11-21/report.html", None),
        ("../audit/gate.json", None),
        ("a b%/ü#?.html", "a%20b%25/%C3%BC%23%3F.html"),
        ("/data/a b.json", "file:///data/a%20b.json"),
        ("file:///data/a.json", "file:///data/a.json"),
        ("lone \ud800", "lone%20%3F"),
    ],
)
def test_what_may_be_linked(target: str, href: str | None) -> None:
    assert link("name", target).href == (href or target)


@pytest.mark.parametrize(
    "target",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,<script>",
        "vbscript:x",
        "s3://bucket/gate.json",
        "sqlite:///mlruns.db",
        "a: b",
        "//elsewhere/x",
        "file://elsewhere/x",
        "file:////elsewhere/x",
        "http://a b",
        'https://x"onmouseover=alert(1)',
        "",
    ],
)
def test_what_may_not(target: str) -> None:
    assert link("name", target).href is None


@pytest.mark.parametrize("target", [" javascript:alert(1)", "java\nscript:alert(1)", "\tdata:x"])
def test_what_a_browser_would_mend_is_a_path(target: str) -> None:
    href = link("name", target).href
    assert href is not None
    assert ":" not in href


def test_secrets_are_not_shown() -> None:
    for target in ("https://anna:secret@mlflow/x", "https://store/x?sig=secret"):
        found = link("name", target)
        assert "secret" not in found.target
        assert found.href is None
