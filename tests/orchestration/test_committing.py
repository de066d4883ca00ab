"""Commits beside scoring: all that was put is waited for, and no more waits than may."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestration.committing import MAX_WAITING, Committing


def test_commits_come_in_the_order_in_which_they_were_put() -> None:
    second_is_done = threading.Event()

    def commit(condition: str, outcomes: list) -> str:
        if condition == "first":
            assert second_is_done.wait(60)
        else:
            second_is_done.set()
        return condition

    with ThreadPoolExecutor(2) as threads:
        with Committing(threads, commit) as committing:
            committing.put("first", [])
            committing.put("second", [])
        assert committing.commits == ("first", "second")


def test_no_more_rows_wait_for_a_slow_store_than_may() -> None:
    may_go_on, put = threading.Event(), []

    def commit(condition: str, outcomes: list) -> str:
        assert may_go_on.wait(60)
        return condition

    def put_all() -> None:
        with Committing(threads, commit) as committing:
            for number in range(10):
                committing.put(str(number), [])
                put.append(number)
            done.append(committing)

    done: list[Committing] = []
    with ThreadPoolExecutor(1) as threads, ThreadPoolExecutor(1) as scoring:
        scored = scoring.submit(put_all)
        with pytest.raises(TimeoutError):
            scored.result(0.2)
        assert put == list(range(MAX_WAITING))
        may_go_on.set()
        scored.result(60)
    assert done[0].commits == tuple(str(number) for number in range(10))


def test_what_a_commit_raises_comes_out() -> None:
    def commit(condition: str, outcomes: list) -> str:
        raise OSError("the store is gone")

    with (
        ThreadPoolExecutor(1) as threads,
        pytest.raises(OSError, match="the store is gone"),
        Committing(threads, commit) as committing,
    ):
        committing.put("clean", [])


def test_an_error_of_scoring_comes_out_when_what_was_put_is_written() -> None:
    written = []

    def commit(condition: str, outcomes: list) -> str:
        written.append(condition)
        return condition

    with (
        ThreadPoolExecutor(1) as threads,
        pytest.raises(KeyError, match="broken model"),
        Committing(threads, commit) as committing,
    ):
        committing.put("clean", [])
        raise KeyError("broken model")
    assert written == ["clean"]
