"""Progress for people: a bar with an ETA on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from tqdm import tqdm

logger = logging.getLogger(__name__)

PLAIN_LINE_EVERY_S = 10.0


class Progress:
    """Counts work that is done out of a total, on stderr.

    Example:
        >>> with Progress("score", total=2) as progress:
        ...     progress.advance()
        ...     progress.advance(rejected=1)
    """

    def __init__(self, label: str, total: int | None, unit: str = "segments") -> None:
        """Start at zero of `total` (None where it is not known) `unit`."""
        self._label = label
        self._total = total
        self._unit = unit
        self._done = 0
        self._logged: int | None = None
        self._fields: dict[str, object] = {}
        self._started = self._last_line = time.monotonic()
        self._bar = (
            tqdm(total=total, desc=label, unit=f" {unit}", dynamic_ncols=True)
            if sys.stderr.isatty()
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

    def advance(self, num_done: int = 1, **fields: object) -> None:
        """Count `num_done` more; `fields` (rejected=3, loss=.2) are shown behind the counts."""
        self._done += num_done
        self._fields.update(fields)
        if self._bar is not None:
            self._bar.set_postfix(self._fields, refresh=False)
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
        if self._total is not None and 0 < self._done < self._total:
            remaining_s = elapsed_s / self._done * (self._total - self._done)
            line += f", about {remaining_s:.0f} s left"
        for name, value in self._fields.items():
            line += f", {name} {value}"
        logger.info("%s", line)
