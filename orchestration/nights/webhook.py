"""Posts JSON to a webhook whose URL is a secret: it is in the environment, and in no message.

Nothing that a library says of the URL is repeated either: of an error its kind and the system's
words are told, of an answer its status.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import logging
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from ser_model.schema import ConfigError

logger = logging.getLogger(__name__)

NUM_RETRIES = 3
TIMEOUT_S = 10.0
FIRST_PAUSE_S = 1.0
"""Before the first retry; each further pause is twice as long."""

LONGEST_PAUSE_S = 30.0
"""What a service may ask for with Retry-After: a night does not wait for its notification."""

_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of a notification.

    Attributes:
        ok: whether the webhook took it.
        attempts: how often it was tried.
        detail: the last answer, for people.
    """

    ok: bool
    attempts: int
    detail: str


def webhook_url(variable: str) -> str:
    """Return the URL that an environment variable holds.

    Raises:
        ConfigError: there is none, or none to post a secret to; the message does not repeat it.
    """
    url = os.environ.get(variable, "").strip()
    if not url:
        raise ConfigError(f"the environment variable {variable} holds no webhook's URL; set it")
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"the environment variable {variable} holds no URL that can be used")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise ConfigError(
            f"the URL in the environment variable {variable} does not begin with https:// (http:// "
            "is for this machine itself alone)"
        )
    return url


def post(
    payload: Mapping[str, Any],
    url: str,
    *,
    timeout_s: float = TIMEOUT_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Delivery:
    """Post JSON, again where the service is busy or cannot be reached; redirects are not followed.

    Args:
        payload: what is posted.
        url: of `webhook_url`.
        timeout_s: for how long the service may stay silent in one attempt.
        sleep: waits between attempts.

    Returns:
        What became of it; no error of the network or of the service is raised.
    """
    pause_s = FIRST_PAUSE_S
    attempt = 1
    while True:
        answer = _post_once(payload, url, timeout_s)
        if answer.ok or not answer.may_pass or attempt > NUM_RETRIES:
            return Delivery(ok=answer.ok, attempts=attempt, detail=answer.detail)
        wait_s = min(max(pause_s, answer.retry_after_s), LONGEST_PAUSE_S)
        logger.info("the webhook: %s; trying again in %.0f s", answer.detail, wait_s)
        sleep(wait_s)
        pause_s *= 2
        attempt += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    ok: bool
    detail: str
    may_pass: bool = False
    retry_after_s: float = 0.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The message and the secret are for nobody else: a redirect is an answer like any other."""

    def redirect_request(self, *_: object) -> None:
        """Return no request to follow up with."""


def _post_once(payload: Mapping[str, Any], url: str, timeout_s: float) -> _Answer:
    request = urllib.request.Request(  # noqa: S310  webhook_url has looked at its scheme
        url,
        data=json.dumps(payload).encode(),
        headers={"Content-Type": "application/json; charset=utf-8", "User-Agent": "serval"},
        method="POST",
    )
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_s) as response:
            return _Answer(ok=True, detail=f"HTTP status {response.status}")
    except urllib.error.HTTPError as error:
        with error:  # it is the response, too
            return _refusal(error.code, error.headers)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _Answer(ok=False, detail=_described(error), may_pass=isinstance(error, OSError))


def _refusal(status: int, headers: Message) -> _Answer:
    is_redirect = 300 <= status < 400
    return _Answer(
        ok=False,
        detail=f"HTTP status {status}{', a redirect, is not followed' if is_redirect else ''}",
        may_pass=status == _TOO_MANY_REQUESTS or status >= 500,
        retry_after_s=_retry_after_s(headers.get("Retry-After", "")),
    )


def _retry_after_s(text: str) -> float:
    """Return the seconds that a header asks to wait for, as a number or as a date; 0 for none."""
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0.0
    return (until.astimezone(UTC) - datetime.now(UTC)).total_seconds()


def _described(error: Exception) -> str:
    """Name an error without its text, which may hold the URL."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if not isinstance(cause, Exception):
        cause = error
    words = cause.strerror if isinstance(cause, OSError) else None
    if isinstance(cause, ssl.SSLError):  # its text names the host
        words = cause.reason
    return f"{type(cause).__name__}: {words}" if words else type(cause).__name__


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
