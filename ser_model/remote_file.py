"""A file of an object store as a seekable stream: read in ranges, each of which is checked."""

from __future__ import annotations

import io
from collections.abc import Callable

BLOCK_BYTES = 4 << 20
"""How much is asked for at a time: the larger, the fewer waits for an answer."""

MAX_BLOCKS_PER_RANGE = 8
"""A large read asks for so many blocks at once, and not for more: a cut answer costs a repeat."""


class RemoteFile(io.RawIOBase):
    """Reads a remote file in blocks, and keeps at most three of them.

    The first and the last block stay in memory: whoever reads audio or Parquet looks at both ends
    before reading from front to back. So such a pass fetches each byte of the file once.
    """

    def __init__(
        self,
        num_bytes: int,
        fetch: Callable[[int, int], bytes],
        *,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        """Read a file of `num_bytes` bytes; `fetch` returns all those from start to end."""
        self._num_bytes = num_bytes
        self._fetch = fetch
        self._block_bytes = block_bytes
        self._last = max(0, num_bytes - 1) // block_bytes
        self._blocks: dict[int, bytes] = {}
        self._position = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be moved in."""
        return True

    def tell(self) -> int:
        """Return the position of the next read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to another position, which may lie behind the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._num_bytes}[whence]
        if base + offset < 0:
            raise ValueError(f"a file has no position {base + offset}")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Read `size` bytes, or fewer where the file ends; all that are left by default."""
        if self.closed:
            raise ValueError("read of a closed file")
        left = max(0, self._num_bytes - self._position)
        end = self._position + (left if size is None or size < 0 else min(size, left))
        parts = []
        while self._position < end:
            start, data = self._at(self._position, end)
            parts.append(data[self._position - start : end - start])
            self._position += len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readall(self) -> bytes:
        """Read all that is left."""
        return self.read()

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # of bytes
        """Fill the buffer, or as much of it as the file has left."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Let go of the blocks."""
        self._blocks.clear()
        super().close()

    def _at(self, position: int, end: int) -> tuple[int, bytes]:
        """Return bytes that include `position`, and where they start; as many as `end` asks for."""
        first = position // self._block_bytes
        if first in self._blocks:
            return first * self._block_bytes, self._blocks[first]
        last = min((end - 1) // self._block_bytes, first + MAX_BLOCKS_PER_RANGE - 1)
        last = min([last, *(kept - 1 for kept in self._blocks if kept > first)])
        start = first * self._block_bytes
        data = self._fetch(start, min((last + 1) * self._block_bytes, self._num_bytes))
        self._keep(first, last, data)
        return start, data

    def _keep(self, first: int, last: int, data: bytes) -> None:
        ends = {0, self._last}
        self._blocks = {n: block for n, block in self._blocks.items() if n in ends}
        for number in ends & set(range(first, last + 1)) | {last}:
            offset = (number - first) * self._block_bytes
            self._blocks[number] = data[offset : offset + self._block_bytes]
