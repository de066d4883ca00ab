"""Trouble with an object store, got over: again, after a random pause, until a deadline.

Object stores throttle, answer 503, close connections and cut answers short, all of it for seconds
or minutes. What may pass is tried again; what will not (a missing file, a missing permission, a
wrong name) fails at once. The pauses are drawn with full jitter (Brooker, "Exponential Backoff And
Jitter", AWS Architecture Blog, 2015), so that a thousand workers that failed together do not come
back together.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from ser_model.redaction import redact
from ser_model.schema import UnfinishedError

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

DEADLINE_S = 120.0
"""How long one operation is tried: longer than a store's usual hiccup, shorter than a night."""

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0


class StorageError(UnfinishedError):
    """A store did not answer until the deadline.

    No OSError on purpose: whoever takes an OSError for a broken file must not take an outage for
    one. It ends the job, and the same command resumes it.
    """


class ChangedError(OSError):
    """A file has another size than it had when it was opened."""


_FINAL_ERRORS = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    ChangedError,
)

# The libraries of the stores are not imported here: their exceptions are known by name.
_CREDENTIAL_ERRORS = frozenset(
    {
        "NoCredentialsError",  # botocore
        "PartialCredentialsError",
        "ProfileNotFound",
        "NoAuthTokenError",
        "SSOError",
        "DefaultCredentialsError",  # google.auth
        "ClientAuthenticationError",  # azure.core
    }
)
_TRANSIENT_ERRORS = frozenset(
    {
        "HTTPClientError",  # botocore; its ConnectionError, timeouts and closed connections
        "ConnectionError",
        "IncompleteReadError",
        "ResponseParserError",
        "FlexibleChecksumError",
        "CredentialRetrievalError",
        "MetadataRetrievalError",
        "ClientPayloadError",  # aiohttp
        "ClientConnectionError",
        "IncompleteRead",  # urllib3 and http.client
        "ChecksumError",  # gcsfs
        "TransportError",  # google.auth
        "ServiceRequestError",  # azure.core
        "ServiceResponseError",
    }
)
_TRANSIENT_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_TRANSIENT_CODES = frozenset(
    {  # of S3, with the status 400
        "BadDigest",
        "IncompleteBody",
        "RequestTimeout",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "RequestThrottled",
        "XAmzContentSHA256Mismatch",
    }
)

_jitter = random.Random()  # noqa: S311  # pauses need no cryptography
_deadline_s = DEADLINE_S


def set_deadline(seconds: float) -> None:
    """Choose for how long each operation of this process is tried (DEADLINE_S by default)."""
    global _deadline_s
    _deadline_s = seconds


def retry(operation: str, uri: str, attempt: Callable[[], Answer]) -> Answer:
    """Return what `attempt` returns, trying again while its trouble is transient.

    Args:
        operation: what is attempted, as a message says it: "read", "list" ...
        uri: of what.
        attempt: does it, by nothing but calls to the store's library.

    Raises:
        StorageError: the deadline is over.
        FileNotFoundError: or another lasting error, as an OSError that names the URI.
    """
    begin_s = time.monotonic()
    num_tries = 0
    while True:
        num_tries += 1
        try:
            return attempt()
        except Exception as error:  # stores' libraries raise what they like
            if not is_transient(error):
                raise _lasting(operation, uri, error) from error
            spent_s = time.monotonic() - begin_s
            if spent_s >= _deadline_s:
                raise StorageError(
                    f"{redact(uri)}: could not {operation} it in {spent_s:.0f} s and {num_tries} "
                    f"tries (last {_described(error)}); run the same command again to resume"
                ) from error
            pause_s = min(draw_pause_s(num_tries), _deadline_s - spent_s)
            logger.log(
                logging.INFO if num_tries == 1 else logging.WARNING,
                "%s: could not %s it (%s); try %d in %.1f s",
                redact(uri),
                operation,
                _described(error),
                num_tries + 1,
                pause_s,
            )
            time.sleep(pause_s)


def draw_pause_s(num_tries: int) -> float:
    """Draw how long to wait after so many tries: uniform from 0 to a bound that doubles.

    >>> 0 <= draw_pause_s(1) <= FIRST_PAUSE_S and 0 <= draw_pause_s(99) <= LONGEST_PAUSE_S
    True
    """
    return _jitter.uniform(0.0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(num_tries - 1, 30)))


def is_transient(error: BaseException) -> bool:
    """Tell whether the same request may succeed a moment later.

    The kind of the exception or the store's answer decides; an OSError of unknown kind is taken for
    trouble of the network.

    >>> is_transient(ConnectionResetError()), is_transient(FileNotFoundError())
    (True, False)
    """
    if isinstance(error, _FINAL_ERRORS) or _is_of(error, _CREDENTIAL_ERRORS):
        return False
    for link in _chain(error):
        # Before any status: aiohttp gives a cut answer, which is none, the status 400.
        if _is_of(link, _TRANSIENT_ERRORS):
            return True
        code, status = _http_answer(link)
        if code in _TRANSIENT_CODES:
            return True
        if status is not None:
            return status in _TRANSIENT_STATUS
    is_closed = isinstance(error, RuntimeError) and str(error).startswith("Connection closed")
    return isinstance(error, OSError) or is_closed  # the latter from aiohttp


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status that lies behind an error of a store's library, if one does."""
    return next((s for _, s in map(_http_answer, _chain(error)) if s is not None), None)


def _lasting(operation: str, uri: str, error: Exception) -> OSError:
    where = redact(uri)
    if _is_of(error, _CREDENTIAL_ERRORS):
        return PermissionError(
            f"{where}: could not {operation} it: no usable credentials ({_described(error)}); give "
            "them as the store's own tools take them (for s3: AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's role)"
        )
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"{where} does not exist")
    kind = next((kind for kind in _FINAL_ERRORS if isinstance(error, kind)), OSError)
    return kind(f"{where}: could not {operation} it: {_described(error)}")


def _described(error: BaseException) -> str:
    text = redact(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_of(error: BaseException, names: frozenset[str]) -> bool:
    return any(kind.__name__ in names for kind in type(error).__mro__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _http_answer(error: BaseException) -> tuple[str, int | None]:
    """The store's error code and HTTP status, where its library keeps them."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return str(response.get("Error", {}).get("Code", "")), status
    for attribute in ("status", "status_code", "code"):  # aiohttp, azure.core, gcsfs
        status = getattr(error, attribute, None)
        if isinstance(status, int | str) and str(status).isdecimal():
            return "", int(status)
    return "", None
