"""The tables that flow between the audit's transforms, and how their rows are keyed.

Elements are Arrow batches of many rows, never single rows: Beam pays for each element, Arrow does
not. Rows find each other by a hash of their name that is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ser_model.metrics.bootstrap import mix_bits
from ser_model.schema import DIMENSIONS

MISSING = "(missing)"
"""Stands for an absent value of metadata: a slice of its own, and one speaker of its own."""

SLICE_PREFIX = "slice_by:"
"""Before the columns that hold the slice of each segment: "slice_by:sex,accent"; "slice_by:" alone
is the slice of all segments."""

SUITE_PREFIX = "suite:"
"""Before the columns that hold the groups that a suite of tests compares: "suite:sex"."""

_VALUES = [
    *(pa.field(dimension, pa.float64()) for dimension in DIMENSIONS),
    pa.field("emotion", pa.string()),
]

PREDICTION_ROWS = pa.schema(
    [
        pa.field("segment_id", pa.string()),
        pa.field("model_version", pa.string()),
        pa.field("condition", pa.string()),
        *_VALUES,
        pa.field("file", pa.string()),
        pa.field("row", pa.int64()),
    ]
)
"""A prediction on its way to the join, with the file and the row that it comes from."""

LEDGER_ROWS = pa.schema(
    [
        pa.field("model_version", pa.string()),
        pa.field("condition", pa.string()),
        pa.field("name", pa.string()),
        pa.field("num_segments", pa.int64()),
        pa.field("detail", pa.string()),
    ]
)
"""A count of the join ledger; `model_version` and `condition` are "" for counts of the metadata."""

DENSITY_ROWS = pa.schema(
    [
        pa.field("model_version", pa.string()),
        pa.field("condition", pa.string()),
        pa.field("target", pa.string()),
        pa.field("truth_bin", pa.int32()),
        pa.field("prediction_bin", pa.int32()),
        pa.field("num_segments", pa.int64()),
    ]
)
"""How many segments fall into a cell of the grid of truth and prediction."""

CONFUSION_ROWS = pa.schema(
    [
        pa.field("model_version", pa.string()),
        pa.field("condition", pa.string()),
        pa.field("truth", pa.string()),
        pa.field("prediction", pa.string()),
        pa.field("num_segments", pa.int64()),
    ]
)
"""How many segments of an emotion were predicted as an emotion."""

PERMUTATION_ROWS = pa.schema(
    [
        pa.field("slice_by", pa.string()),
        pa.field("slice", pa.string()),
        pa.field("target", pa.string()),
        pa.field("metric", pa.string()),
        pa.field("margin", pa.float64()),
        pa.field("p_adjusted", pa.float64()),
    ]
)
"""What shuffled groups of speakers say of a gap: how large chance makes it, and how often it makes
any gap of the family as large as this one."""


_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")

_MAX_CODES = 2**62
"""How many combinations of columns a number can tell apart."""


def slice_column(slice_by: Sequence[str]) -> str:
    """Return the name of the column that holds the slices by these metadata columns.

    >>> slice_column(("sex", "accent")), slice_column(())
    ('slice_by:sex,accent', 'slice_by:')
    """
    return SLICE_PREFIX + ",".join(slice_by)


def is_missing_slice(name: str) -> bool:
    """Tell whether a slice stands for segments that lack a value; such are not compared.

    >>> is_missing_slice("sex=female,accent=(missing)"), is_missing_slice("sex=female")
    (True, False)
    """
    return f"={MISSING}," in f"{name},"


def hash_strings(strings: pa.Array) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each string, eight bytes at a time for all of them at once.

    Args:
        strings: null counts as "".

    Example:
        >>> one, two, again = hash_strings(pa.array(["a", "b", "a"])).tolist()
        >>> one == again, one == two
        (True, False)
    """
    strings = pc.fill_null(strings.cast(pa.large_binary()), b"")
    _, offset_bytes, value_bytes = strings.buffers()
    offsets = np.frombuffer(offset_bytes, dtype=np.int64)
    offsets = offsets[strings.offset : strings.offset + len(strings) + 1]
    starts, lengths = offsets[:-1], np.diff(offsets)
    # Eight bytes from any place on as one number, beyond the end too.
    padded = (value_bytes.to_pybytes() if value_bytes else b"") + bytes(8)
    eight_from = np.ndarray(len(padded) - 7, dtype="<u8", buffer=padded, strides=(1,))
    hashes = mix_bits(lengths.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    for done in range(0, int(lengths.max(initial=0)), 8):
        rows = np.flatnonzero(lengths > done)
        num_bytes = np.minimum(lengths[rows] - done, 8).astype(np.uint64)
        inside = np.uint64(2**64 - 1) >> (np.uint64(64) - np.uint64(8) * num_bytes)
        eight = eight_from[starts[rows] + done] & inside
        hashes[rows] = mix_bits(hashes[rows] ^ eight)
    return hashes


def split_by_hash(
    table: pa.Table | pa.RecordBatch, column: str, num_partitions: int
) -> Iterator[tuple[int, bytes]]:
    """Yield (partition, packed rows): rows of the same value of `column` come together."""
    batch = to_batch(decode(table))
    partition = hash_strings(batch.column(column)) % np.uint64(num_partitions)
    # Sixteen bits are sorted by their digits, which takes a tenth of the time.
    order = np.argsort(partition.astype(np.uint16), kind="stable")
    sizes = np.bincount(partition.astype(np.intp), minlength=num_partitions)
    for number, rows in enumerate(np.split(order, np.cumsum(sizes)[:-1])):
        if rows.size:
            yield number, pack(batch.take(pa.array(rows)))


def pack(batch: pa.RecordBatch) -> bytes:
    """Return a batch as it travels: Arrow's own format, compressed.

    Half the bytes of a pickle, and a runner that shuffles in memory holds them all.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=_COMPRESSED) as stream:
        stream.write_batch(batch)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def unpack(packed: bytes) -> pa.RecordBatch:
    """Return the batch that was packed."""
    with pa.ipc.open_stream(packed) as stream:
        return stream.read_next_batch()


def group_rows(table: pa.Table, names: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Number the groups of rows that are equal in all of the named columns (null equals null).

    Returns:
        The first row of each group, in the order in which they stand, and the group of each row.
    """
    codes = np.zeros(table.num_rows, dtype=np.int64)
    num_codes = 1
    for name in names:
        encoded = array(table, name)
        if not pa.types.is_dictionary(encoded.type):
            encoded = encoded.dictionary_encode(null_encoding="encode")
        if num_codes * len(encoded.dictionary) > _MAX_CODES:
            codes, num_codes = _renumber(codes)
        codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy(zero_copy_only=False)
        num_codes *= max(len(encoded.dictionary), 1)
    groups, num_groups = _renumber(codes)
    # Groups are numbered as they appear, so a group's first row is where the number grows.
    first_rows = np.searchsorted(np.maximum.accumulate(groups), np.arange(num_groups))
    return first_rows, groups


def _renumber(codes: NDArray[np.int64]) -> tuple[NDArray[np.intp], int]:
    """Number different codes 0, 1 ... in the order in which they appear; and count them."""
    encoded = pa.array(codes).dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.intp), len(encoded.dictionary)


def to_batch(table: pa.Table | pa.RecordBatch) -> pa.RecordBatch:
    """Return a table as one batch."""
    return pa.RecordBatch.from_arrays(
        [
            column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            for column in table.columns
        ],
        schema=table.schema,
    )


def to_table(
    batches: Iterable[pa.RecordBatch | bytes], schema: pa.Schema | None = None
) -> pa.Table:
    """Return batches, packed or not, as one table of contiguous columns."""
    unpacked = [unpack(batch) if isinstance(batch, bytes) else batch for batch in batches]
    return pa.Table.from_batches(unpacked, schema=schema).combine_chunks()


def decode(table: pa.Table | pa.RecordBatch) -> pa.Table | pa.RecordBatch:
    """Return a table without dictionaries, which would travel whole with each few rows of it."""
    plain = [
        pa.field(field.name, field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(plain))


def array(table: pa.Table, column: str) -> pa.Array:
    """Return a column of a table that has no chunks or one."""
    values = table.column(column)
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def floats(table: pa.Table, column: str) -> NDArray[np.float64]:
    """Return a column of numbers; null is NaN."""
    return np.asarray(
        array(table, column).cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64
    )
