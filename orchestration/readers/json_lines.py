"""Files of JSON lines, plain or gzipped, whose every complaint names file and line."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ser_model import storage
from ser_model.schema import ManifestError

MAX_BYTES = 1 << 32
"""Largest file that is read, unpacked: 4 GiB."""

MAX_LINE_BYTES = 1 << 24
"""Longest line: 16 MiB. A small gzip file can unpack to a line without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A JSON object, and where it stands.

    Attributes:
        where: file and line, for messages.
        content: the object.
    """

    where: str
    content: Mapping[str, Any]

    def text(self, field: str) -> str:
        """Return a field that must be text.

        Raises:
            ManifestError: it is absent, or none.
        """
        value = self.content.get(field)
        if not isinstance(value, str) or not value:
            raise self.error(f"{field} {value!r} is no text")
        return value

    def number(self, field: str) -> float:
        """Return a field that must be a number.

        Raises:
            ManifestError: it is absent, or none.
        """
        value = self.content.get(field)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(f"{field} {value!r} is no number")
        return float(value)

    def part(self, name: str, value: object) -> Line:
        """Return an object within the object.

        Raises:
            ManifestError: it is no object.
        """
        if not isinstance(value, Mapping):
            raise self.error(f"the {name} is no object")
        return Line(where=self.where, content=value)

    def error(self, problem: str) -> ManifestError:
        """Return the complaint about this line."""
        return ManifestError(f"{self.where}: {problem}")


def read_json_lines(uri: str) -> Iterator[Line]:
    """Read a file line by line; empty lines are passed over.

    Raises:
        ManifestError: the file cannot be read, is too long, or a line is no JSON object.
    """
    number = num_bytes = 0
    try:
        with storage.open_binary(uri) as stream:
            packed = uri.endswith(".gz")
            lines: io.BufferedIOBase = gzip.GzipFile(fileobj=stream) if packed else stream  # type: ignore[assignment]
            while data := lines.readline(MAX_LINE_BYTES + 1):
                number += 1
                num_bytes += len(data)
                if len(data) > MAX_LINE_BYTES or num_bytes > MAX_BYTES:
                    raise ManifestError(f"{uri}, line {number}: longer than is read")
                if data.strip():
                    yield _parse(f"{uri}, line {number}", data)
    except (OSError, EOFError, zlib.error) as error:
        raise ManifestError(f"{uri}, after line {number}: cannot be read: {error}") from error


def _parse(where: str, data: bytes) -> Line:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{where} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ManifestError(f"{where} is no JSON object")
    return Line(where=where, content=content)
