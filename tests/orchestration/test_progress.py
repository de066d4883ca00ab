"""Progress: what is done, how long it takes still, and no bar where lines are for machines."""

import logging

import pytest

from orchestration import progress
from orchestration.logs import LogConfig
from orchestration.progress import Progress


class Clock:
    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def log_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="orchestration.progress")


def test_the_time_left_follows_the_units(clock: Clock, caplog) -> None:
    with Progress("score", total=100) as shown:
        clock.now_s = 30.0
        shown.advance(25, rejected=2, speed="9 x real time")
    assert caplog.messages == [
        "score: 25 of 100 segments in 30 s, about 01:30 left, rejected 2, speed 9 x real time"
    ]


def test_the_time_left_follows_the_work_where_it_is_told(clock: Clock, caplog) -> None:
    """Half of the segments are done, but they were the short ones."""
    with Progress("score", total=100, total_work=1000.0) as shown:
        clock.now_s = 3600.0
        shown.advance(50, work=100.0)
    assert "about 9:00:00 left" in caplog.messages[0]


def test_nothing_is_left_at_the_end(clock: Clock, caplog) -> None:
    with Progress("score", total=2, total_work=5.0) as shown:
        shown.advance(2, work=5.0)
    assert caplog.messages == ["score: 2 of 2 segments in 0 s"]


@pytest.mark.parametrize(("log_format", "has_bar"), [("text", True), ("json", False)])
def test_json_lines_have_no_bar_between_them(
    monkeypatch: pytest.MonkeyPatch, capsys, log_format: str, has_bar: bool
) -> None:
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "current_config", lambda: LogConfig(format=log_format))
    with Progress("score", total=2, total_work=4.0) as shown:
        shown.advance(1, work=1.0, rejected=1)
    text = capsys.readouterr().err
    assert ("1/2" in text and "left=" in text and "rejected=1" in text) == has_bar
