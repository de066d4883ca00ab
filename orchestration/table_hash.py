"""A hash of the values of Arrow tables, whatever file, pieces or encoding they stand in.

Values are hashed, not bytes of Parquet: another version of its writer changes nothing. And they are
hashed as the buffers that they lie in, not one by one: a million rows take well under a second.
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_Streams: TypeAlias = dict[str, Any]
"""The SHA-256 of each part of a column: of its validity, its lengths, its values.

Each part is a stream of its own, so that it does not matter into which pieces Arrow cut the column.
"""


def table_sha256(*tables: pa.Table) -> str:
    """Return a hash that two sequences of tables share if and only if they hold the same.

    The same is: the same columns of the same types in the same order, with the same values in the
    same rows. Numbers are the same where their bits are; so are all NaN. It plays no role how a
    table is sliced and cut into chunks, what stands under its nulls, and whether a column is
    dictionary-encoded or has 64-bit offsets.

    Args:
        tables: of numbers, booleans, texts, bytes, and lists and maps of these.

    Raises:
        TypeError: a column is of another type.

    Example:
        >>> table = pa.table({"segment_id": ["a", "b"], "arousal": [0.5, None]})
        >>> pieces = pa.concat_tables([table.slice(0, 1), table.slice(1)])
        >>> table_sha256(table) == table_sha256(pieces)
        True
        >>> table_sha256(table) == table_sha256(table.slice(1))
        False
    """
    digest = hashlib.sha256()
    for table in tables:
        _update_text(digest, f"{table.num_rows} rows, {table.num_columns} columns")
        for name, column in zip(table.column_names, table.columns, strict=True):
            streams: _Streams = {}
            # A column without pieces has the same parts as one with an empty piece.
            for piece in column.chunks or [pa.array([], column.type)]:
                _feed(streams, "", piece)
            _update_text(digest, f"{name}, {len(streams)} parts")
            for part, stream in streams.items():
                _update_text(digest, part)
                digest.update(stream.digest())
    return digest.hexdigest()


def _update_text(digest: Any, text: str) -> None:  # noqa: ANN401  hashlib's own type is private
    data = text.encode()
    digest.update(len(data).to_bytes(8, "little") + data)


def _feed(streams: _Streams, path: str, array: pa.Array) -> None:
    """Add a piece of a column, or of what is nested in one, to its parts."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        _feed(streams, path, array.dictionary_decode())
        return
    if array.null_count:
        _add(streams, f"{path}/valid", array.is_valid().cast(pa.uint8()).to_numpy())
        values = array.drop_null()
    else:
        _add(streams, f"{path}/valid", np.ones(len(array), np.uint8))
        values = array
    if pa.types.is_map(kind):
        first, last = _add_lengths(streams, path, values.offsets.to_numpy())
        _feed(streams, f"{path}/key", values.keys[first:last])
        _feed(streams, f"{path}/item", values.items[first:last])
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        first, last = _add_lengths(streams, path, values.offsets.to_numpy())
        _feed(streams, f"{path}/value", values.values[first:last])
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        _feed_bytes(streams, f"{path}/text", values)
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        _feed_bytes(streams, f"{path}/bytes", values)
    elif pa.types.is_boolean(kind):
        _add(streams, f"{path}/bool", values.cast(pa.uint8()).to_numpy())
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        _add(streams, f"{path}/{kind}", _with_one_nan(values.to_numpy()))
    else:
        raise TypeError(f"cannot hash a column of type {kind}")


def _feed_bytes(streams: _Streams, path: str, values: pa.Array) -> None:
    is_large = pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type)
    _, offsets_buffer, data = values.buffers()
    if len(values) == 0:  # Arrow may leave out the offsets then
        offsets = np.zeros(1, np.int64)
    else:
        offsets = np.frombuffer(offsets_buffer, np.int64 if is_large else np.int32)
        offsets = offsets[values.offset : values.offset + len(values) + 1]
    first, last = _add_lengths(streams, path, offsets)
    _add(streams, path, np.frombuffer(data or b"", np.uint8)[first:last])


def _add_lengths(streams: _Streams, path: str, offsets: npt.NDArray[Any]) -> tuple[int, int]:
    """Add the lengths between offsets; returns the first offset and the last."""
    _add(streams, f"{path}/lengths", np.diff(offsets).astype(np.int64))
    return int(offsets[0]), int(offsets[-1])


def _with_one_nan(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return numbers in which every NaN has the same bits."""
    if numbers.dtype.kind == "f" and np.isnan(numbers).any():
        return np.where(np.isnan(numbers), np.array(np.nan, numbers.dtype), numbers)
    return numbers


def _add(streams: _Streams, part: str, numbers: npt.NDArray[Any]) -> None:
    little_endian = numbers.astype(numbers.dtype.newbyteorder("<"), copy=False)
    streams.setdefault(part, hashlib.sha256()).update(np.ascontiguousarray(little_endian))
