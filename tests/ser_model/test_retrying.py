import logging
import random
from collections.abc import Callable

import pytest

from ser_model import retrying
from ser_model.retrying import ChangedError, StorageError, is_transient, retry
from ser_model.schema import UnfinishedError

URI = "s3://bucket/a b.flac"


class Clock:
    """Time that passes only in pauses."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses_s: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.pauses_s.append(seconds)
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(retrying, "time", clock)
    monkeypatch.setattr(retrying, "_jitter", random.Random(0))
    return clock


def failing(*errors: Exception) -> Callable[[], str]:
    """Fail with each of the errors in turn, then succeed."""
    left = list(errors)

    def attempt() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return attempt


def always(error: Exception) -> Callable[[], str]:
    def attempt() -> str:
        raise error

    return attempt


def library_error(name: str, message: str = "", **attributes: object) -> Exception:
    """An exception as a store's library has it."""
    kind = type(name, (Exception,), {})
    error: Exception = kind(message)
    for attribute, value in attributes.items():
        setattr(error, attribute, value)
    return error


def s3_error(status: int, code: str = "") -> OSError:
    """As s3fs translates what botocore raises."""
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = OSError(22, code)
    error.__cause__ = library_error("ClientError", response=answer)
    return error


TRANSIENT = [
    OSError(5, "Input/output error"),
    TimeoutError(),
    ConnectionResetError(104, "reset"),
    *(s3_error(status) for status in (408, 409, 429, 500, 502, 503, 504)),
    s3_error(503, "SlowDown"),
    s3_error(400, "IncompleteBody"),
    RuntimeError("Connection closed."),  # aiohttp
    library_error("IncompleteReadError"),
    library_error("HTTPClientError"),
    library_error("HttpError", code=503),
    library_error("HttpResponseError", status_code=429),
]
CUT_ANSWER = library_error("ClientPayloadError", "Response payload is not completed")
CUT_ANSWER.__cause__ = library_error("ContentLengthError", code=400)
TRANSIENT.append(CUT_ANSWER)
LASTING = [
    FileNotFoundError(2, "no such file"),
    PermissionError("Access Denied"),
    FileExistsError(),
    IsADirectoryError(),
    ChangedError(),
    s3_error(400, "InvalidBucketName"),
    s3_error(412, "PreconditionFailed"),
    s3_error(416, "InvalidRange"),
    library_error("NoCredentialsError", "Unable to locate credentials"),
    library_error("ParamValidationError", "Invalid bucket name"),
    library_error("HttpError", code=401),
    ValueError("Bad Request"),
    RuntimeError("cannot schedule new futures"),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
def test_what_may_pass_is_tried_again(error: Exception, clock: Clock) -> None:
    assert retry("read", URI, failing(error, error, error)) == "answer"
    assert len(clock.pauses_s) == 3


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_will_not_pass_fails_at_once_as_an_os_error(error: Exception, clock: Clock) -> None:
    with pytest.raises(OSError, match=r"a b\.flac") as raised:
        retry("read", URI, always(error))
    assert clock.pauses_s == []
    assert raised.value.__cause__ is error
    if isinstance(error, OSError) and type(error) is not OSError:
        assert type(raised.value) is type(error)


def test_a_deadline_ends_it(clock: Clock) -> None:
    with pytest.raises(StorageError, match="could not list it in 120 s") as raised:
        retry("list", URI, always(TimeoutError("no answer")))
    assert clock.now_s == pytest.approx(retrying.DEADLINE_S)
    message = str(raised.value)
    assert f"{len(clock.pauses_s) + 1} tries" in message
    for part in (URI, "TimeoutError: no answer", "run the same command again"):
        assert part in message
    assert "\n" not in message


def test_the_deadline_can_be_chosen(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_deadline_s", retrying.DEADLINE_S)  # put back afterwards
    retrying.set_deadline(1.5)
    with pytest.raises(StorageError, match=r"in 2 s|in 1 s"):
        retry("list", URI, always(TimeoutError()))
    assert clock.now_s == pytest.approx(1.5)


def test_an_outage_is_no_broken_file() -> None:
    assert issubclass(StorageError, UnfinishedError)
    assert not issubclass(StorageError, OSError)


def test_pauses_are_drawn_from_bounds_that_double(clock: Clock) -> None:
    drawn_s = [
        [retrying.draw_pause_s(num_tries) for _ in range(1000)] for num_tries in range(1, 20)
    ]
    for num_tries, pauses_s in enumerate(drawn_s, start=1):
        bound_s = min(retrying.LONGEST_PAUSE_S, 0.1 * 2 ** (num_tries - 1))
        assert 0 <= min(pauses_s) < 0.05 * bound_s
        assert 0.95 * bound_s < max(pauses_s) <= bound_s
        assert sum(pauses_s) / 1000 == pytest.approx(bound_s / 2, rel=0.1)


def test_retries_are_logged_without_secrets(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    uri = "https://me:hidden@host/a.wav?X-Amz-Signature=hidden"
    error = ConnectionError("https://host/a.wav?sig=hidden was reset")
    retry("read", uri, failing(error, error))
    with pytest.raises(OSError, match="host") as raised:
        retry("read", uri, always(PermissionError(str(error))))
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert "could not read it (ConnectionError: https://host/a.wav" in caplog.text
    assert "hidden" not in caplog.text + str(raised.value)


def test_missing_credentials_are_told_with_their_remedy(clock: Clock) -> None:
    with pytest.raises(PermissionError, match="AWS_ACCESS_KEY_ID") as raised:
        retry("read", URI, always(library_error("NoCredentialsError", "Unable to locate")))
    assert URI in str(raised.value)
    assert not is_transient(library_error("NoCredentialsError"))
