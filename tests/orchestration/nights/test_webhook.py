"""A real server on this machine that answers as services do, or does not."""

from __future__ import annotations

import logging
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from orchestration.nights.webhook import LONGEST_PAUSE_S, NUM_RETRIES, Delivery, post, webhook_url
from ser_model.schema import ConfigError

PAYLOAD = {"text": "night 2026-11-21"}


@pytest.fixture(autouse=True)
def _no_secret(caplog: pytest.LogCaptureFixture, webhook: Any) -> Any:
    """Whatever happens, no log line holds a part of the URL's path."""
    caplog.set_level(logging.DEBUG)
    yield
    assert "T0SECRET" not in caplog.text
    assert "SIGNED" not in caplog.text


def try_to_post(url: str, **options: Any) -> tuple[Delivery, list[float]]:
    """Post, and return how long it would have waited between attempts."""
    pauses: list[float] = []
    delivery = post(PAYLOAD, url, sleep=pauses.append, **options)
    assert "T0SECRET" not in repr(delivery)
    assert "SIGNED" not in repr(delivery)
    return delivery, pauses


def test_json_is_posted_once(webhook: Any) -> None:
    assert try_to_post(webhook.url) == (
        Delivery(ok=True, attempts=1, detail="HTTP status 200"),
        [],
    )
    assert webhook.received == [PAYLOAD]


def test_a_service_that_fails_is_tried_again(webhook: Any) -> None:
    webhook.answers = [(500, {}), (503, {}), (200, {})]
    delivery, pauses = try_to_post(webhook.url)
    assert delivery == Delivery(ok=True, attempts=3, detail="HTTP status 200")
    assert pauses == [1.0, 2.0]


def test_a_service_that_goes_on_failing_is_left_alone(webhook: Any) -> None:
    webhook.answers = [(502, {})]
    delivery, pauses = try_to_post(webhook.url)
    assert delivery == Delivery(ok=False, attempts=1 + NUM_RETRIES, detail="HTTP status 502")
    assert pauses == [1.0, 2.0, 4.0]
    assert len(webhook.received) == 1 + NUM_RETRIES


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_final(webhook: Any, status: int) -> None:
    webhook.answers = [(status, {})]
    delivery, pauses = try_to_post(webhook.url)
    assert delivery == Delivery(ok=False, attempts=1, detail=f"HTTP status {status}")
    assert pauses == []


@pytest.mark.parametrize(
    ("retry_after", "pause_s"),
    [("7", 7.0), ("86400", LONGEST_PAUSE_S), ("0", 1.0), ("soon", 1.0), ("-5", 1.0), ("", 1.0)],
)
def test_a_busy_service_says_how_long_to_wait(
    webhook: Any, retry_after: str, pause_s: float
) -> None:
    webhook.answers = [(429, {"Retry-After": retry_after}), (200, {})]
    delivery, pauses = try_to_post(webhook.url)
    assert delivery.ok
    assert pauses == [pause_s]


def test_a_busy_service_may_say_until_when_to_wait(webhook: Any) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    webhook.answers = [(429, {"Retry-After": format_datetime(until, usegmt=True)}), (200, {})]
    assert try_to_post(webhook.url)[1] == [LONGEST_PAUSE_S]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(webhook: Any, status: int) -> None:
    webhook.answers = [(status, {"Location": f"{webhook.url}/elsewhere"}), (200, {})]
    delivery, _ = try_to_post(webhook.url)
    assert delivery == Delivery(
        ok=False, attempts=1, detail=f"HTTP status {status}, a redirect, is not followed"
    )
    assert len(webhook.received) == 1


def test_a_silent_service_is_given_up(webhook: Any) -> None:
    webhook.answers = [None]
    delivery, pauses = try_to_post(webhook.url, timeout_s=0.1)
    assert delivery == Delivery(ok=False, attempts=1 + NUM_RETRIES, detail="TimeoutError")
    assert len(pauses) == NUM_RETRIES


def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/T0SECRET"
        delivery, pauses = try_to_post(url)
    assert delivery.attempts == 1 + NUM_RETRIES
    assert delivery.detail == "ConnectionRefusedError: Connection refused"
    assert len(pauses) == NUM_RETRIES


def test_what_the_library_says_of_a_url_is_not_repeated() -> None:
    delivery, pauses = try_to_post("http://127.0.0.1:8x/T0SECRET")
    assert delivery == Delivery(ok=False, attempts=1, detail="InvalidURL")
    assert pauses == []


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example/services/T0SECRET",
        "http://localhost:8065/T0SECRET",
        "http://127.0.0.2/T0SECRET",
        "http://[::1]:80/T0SECRET",
    ],
)
def test_urls_that_are_posted_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", f"{url}\n")  # as files of secrets end
    assert webhook_url("HOOK") == url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "holds no webhook's URL"),
        ("http://hooks.example/T0SECRET", "does not begin with https://"),
        ("http://127.0.0.1.example/T0SECRET", "does not begin with https://"),
        ("http://localhost.example/T0SECRET", "does not begin with https://"),
        ("file:///etc/T0SECRET", "no URL that can be used"),
        ("ftp://hooks.example/T0SECRET", "does not begin with https://"),
        ("hooks.example/T0SECRET", "no URL that can be used"),
        ("https://anna:T0SECRET@hooks.example/", "no URL that can be used"),
        ("https://hooks.example:port/T0SECRET", "no URL that can be used"),
        ("https://[hooks/T0SECRET", "no URL that can be used"),
        ("https://hooks.example/T0 SECRET", "no URL that can be used"),
        ("https://hooks.example/T0SECRET\nHost: other", "no URL that can be used"),
        ("https://hooks.exämple/T0SECRET", "no URL that can be used"),
    ],
)
def test_urls_that_are_refused(url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", url)
    with pytest.raises(ConfigError, match=message) as raised:
        webhook_url("HOOK")
    assert "environment variable HOOK" in str(raised.value)
    assert "SECRET" not in str(raised.value)
    assert "hooks" not in str(raised.value).replace("webhook's", "")


def test_a_variable_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    with pytest.raises(ConfigError, match="HOOK holds no webhook's URL; set it"):
        webhook_url("HOOK")
