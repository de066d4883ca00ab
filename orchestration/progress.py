"""Progress for people: a bar with an ETA on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from tqdm import tqdm

from orchestration.logs import current_config

logger = logging.getLogger(__name__)

PLAIN_LINE_EVERY_S = 10.0

BAR_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
"""tqdm's own without its ETA, which knows units only."""


class Progress:
    """Counts work that is done out of a total, on stderr.

    Example:
        >>> with Progress("score", total=2) as progress:
        ...     progress.advance()
        ...     progress.advance(rejected=1)
    """

    def __init__(
        self,
        label: str,
        total: int | None,
        unit: str = "segments",
        *,
        total_work: float | None = None,
    ) -> None:
        """Start at zero.

        Args:
            label: what is done.
            total: how many `unit` there are; None where that is not known.
            unit: what is counted.
            total_work: what the time goes with, such as seconds of audio, where units differ much;
                the ETA follows it, if `advance` is told the work of each step.
        """
        self._label = label
        self._total = total
        self._unit = unit
        self._done = 0
        self._total_work = total_work
        self._work_done = 0.0
        self._logged: int | None = None
        self._fields: dict[str, object] = {}
        self._started = self._last_line = time.monotonic()
        self._bar = (
            tqdm(
                total=total,
                desc=label,
                unit=f" {unit}",
                dynamic_ncols=True,
                bar_format=None if total is None else BAR_FORMAT,
            )
            # Where lines are JSON, a bar would be the one that is none.
            if sys.stderr.isatty() and current_config().format == "text"
            else None
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif kind is None and self._done != self._logged:
            self._log_line()

    def advance(self, num_done: int = 1, *, work: float = 0.0, **fields: object) -> None:
        """Count `num_done` more.

        Args:
            num_done: units.
            work: their part of `total_work`.
            fields: shown behind the counts: rejected=3, loss=0.2.
        """
        self._done += num_done
        self._work_done += work
        self._fields.update(fields)
        if self._bar is not None:
            left = self._left()
            shown = self._fields if left is None else {"left": left, **self._fields}
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(num_done)
        elif time.monotonic() - self._last_line >= PLAIN_LINE_EVERY_S:
            self._log_line()

    def _log_line(self) -> None:
        self._last_line = time.monotonic()
        self._logged = self._done
        elapsed_s = self._last_line - self._started
        line = f"{self._label}: {self._done}"
        if self._total is not None:
            line += f" of {self._total}"
        line += f" {self._unit} in {elapsed_s:.0f} s"
        left = self._left()
        if left is not None:
            line += f", about {left} left"
        for name, value in self._fields.items():
            line += f", {name} {value}"
        logger.info("%s", line)

    def _left(self) -> str | None:
        """Return the time that is left, by work or by units, as [h:]mm:ss."""
        done: float = self._done
        total: float | None = self._total
        if self._total_work is not None and self._work_done > 0:
            done, total = self._work_done, self._total_work
        if total is None or not 0 < done < total:
            return None
        elapsed_s = time.monotonic() - self._started
        return str(tqdm.format_interval(elapsed_s / done * (total - done)))
