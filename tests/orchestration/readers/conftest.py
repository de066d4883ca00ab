from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from ser_model import storage

WriteFiles = Callable[[str, Mapping[str, str | bytes]], None]


@pytest.fixture
def write_files() -> WriteFiles:
    """Write files below a folder; audio may be empty, for readers never look into it."""

    def write(folder: str, files: Mapping[str, str | bytes]) -> None:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            storage.write_atomic(storage.join(folder, path), data)

    return write
