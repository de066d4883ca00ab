"""How a job ends when a scheduler tells it to."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from ser_model.schema import UnfinishedError


@contextmanager
def sigterm_as_unfinished() -> Iterator[None]:
    """End cleanly on SIGTERM, as schedulers send it: actors are let go, the exit code is 4.

    SIGINT needs nothing: Python raises KeyboardInterrupt.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  signal's signature
        raise UnfinishedError("stopped by SIGTERM: run the same command again to resume")

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
