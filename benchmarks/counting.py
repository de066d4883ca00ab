"""A filesystem that counts what is asked of it: counted:///folder is the local /folder."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

NAMES_PER_PAGE = 1000
"""Of a listing on S3: so many names come with one request."""


class CountingFileSystem(LocalFileSystem):
    """A local folder as an object store has it, with its requests counted."""

    protocol = "counted"
    creates_if_absent = True
    counts: ClassVar[Counter[str]] = Counter()
    lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def count(cls, **numbers: int) -> None:
        """Add to the counts."""
        with cls.lock:
            cls.counts.update(numbers)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.removeprefix("counted://"))

    def info(self, path: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401  fsspec's signature
        """Count a HEAD."""
        self.count(heads=1)
        return super().info(path, **options)

    def ls(self, path: str, **_: object) -> list[str]:
        """Count a listing, and the pages that it has on S3."""
        names = [str(entry) for entry in Path(self._strip_protocol(path)).iterdir()]
        self.count(listings=1, pages=-(-len(names) // NAMES_PER_PAGE))
        return names

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: object
    ) -> bytes:
        """Count a GET and its bytes."""
        data = Path(self._strip_protocol(path)).read_bytes()[start:end]
        self.count(gets=1, bytes_read=len(data))
        return data

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: object) -> None:
        """Count a PUT; "create" fails where there is a file."""
        local = Path(self._strip_protocol(path))
        local.parent.mkdir(parents=True, exist_ok=True)
        with local.open("xb" if mode == "create" else "wb") as file:
            file.write(value)
        self.count(puts=1)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the requests of what is done inside, and the milliseconds that it takes."""
    counts: Counter[str] = Counter()
    CountingFileSystem.counts.clear()
    started = time.perf_counter()
    yield counts
    counts.update(CountingFileSystem.counts)
    counts["wall_ms"] = round(1000 * (time.perf_counter() - started))


fsspec.register_implementation("counted", CountingFileSystem)
