"""Files that are too large for memory: written piece by piece, seen whole or not at all."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ser_model import object_store, storage


@contextmanager
def write_large(uri: str) -> Iterator[BinaryIO]:
    """Give a file to write into; on leaving it replaces what was at `uri`, after an error nothing.

    The pieces go into a temporary file: beside a local `uri`, which it then becomes, and else in
    the system's folder of temporary files (TMPDIR), from where it is put into the store in parts.

    Example:
        >>> with write_large("memory://doc/large.txt") as file:
        ...     num_bytes = file.write(b"piece by "), file.write(b"piece")
        >>> storage.read_bytes("memory://doc/large.txt")
        b'piece by piece'
    """
    path = storage.local_path(uri)
    if path is None:
        with tempfile.TemporaryDirectory(prefix="serval-") as folder:
            temporary = Path(folder, "large")
            with temporary.open("xb") as file:
                yield file
            object_store.put_file(uri, temporary)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{storage.TEMPORARY}{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
