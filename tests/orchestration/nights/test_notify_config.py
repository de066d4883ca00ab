"""What a configuration may say of notifications."""

import pytest

from orchestration.nights.notify_config import NotifyConfig
from ser_model.models.configuration import build


def test_by_default_nobody_is_told_and_a_junit_file_is_written() -> None:
    config = build(NotifyConfig, {})
    assert not config.wants(is_bad=True)
    assert config.junit_uri("s3://bucket/nights/2026-11-21") == (
        "s3://bucket/nights/2026-11-21/junit.xml"
    )


@pytest.mark.parametrize(
    ("when", "is_bad", "wanted"),
    [("bad", True, True), ("bad", False, False), ("always", True, True), ("always", False, True)],
)
def test_when_a_webhook_is_told(when: str, is_bad: bool, wanted: bool) -> None:
    config = build(NotifyConfig, {"webhook_variable": "SERVAL_WEBHOOK", "when": when})
    assert config.wants(is_bad=is_bad) is wanted


def test_a_url_in_the_place_of_a_variable_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="not the name of an environment variable") as raised:
        build(NotifyConfig, {"webhook_variable": "https://hooks.example/T0/secret"})
    assert "secret" not in str(raised.value).replace("is a secret", "")
    assert "hooks.example" not in str(raised.value)


@pytest.mark.parametrize("junit", ["", "../junit.xml", "s3://bucket/../other.xml"])
def test_a_junit_file_outside_of_the_night_is_named_absolutely(junit: str) -> None:
    with pytest.raises(ValueError, match="junit is"):
        NotifyConfig(junit=junit)


@pytest.mark.parametrize(
    ("junit", "uri"), [("/ci/junit.xml", "/ci/junit.xml"), ("s3://b/j.xml", "s3://b/j.xml")]
)
def test_an_absolute_junit_file_stays_where_it_is(junit: str, uri: str) -> None:
    assert NotifyConfig(junit=junit).junit_uri("/nights/2026-11-21") == uri


def test_a_night_without_a_junit_file() -> None:
    assert NotifyConfig(junit=None).junit_uri("/nights/2026-11-21") is None
