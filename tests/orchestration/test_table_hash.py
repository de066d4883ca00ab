"""The hash of tables: equal for equal values, however Arrow holds them, and only for those."""

import io
import itertools
import json
import math
import struct
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.table_hash import table_sha256

SCHEMA = pa.schema(
    [
        pa.field("text", pa.string()),
        pa.field("single", pa.float32()),
        pa.field("double", pa.float64()),
        pa.field("number", pa.int32()),
        pa.field("truth", pa.bool_()),
        pa.field("list", pa.list_(pa.float32())),
        pa.field("map", pa.map_(pa.string(), pa.float32())),
    ]
)
# Few values, so that rows are often equal, nearly equal, or equal when put in another order.
TEXTS = st.sampled_from(["", "a", "ab", "b", "ö", "\0"])
SINGLES = st.sampled_from([0.0, -0.0, 0.5, math.inf, math.nan])
ROWS = st.fixed_dictionaries(
    {
        "text": st.none() | TEXTS,
        "single": st.none() | SINGLES,
        "double": st.none() | SINGLES | st.just(0.1),
        "number": st.none() | st.integers(-2, 2),
        "truth": st.none() | st.booleans(),
        "list": st.none() | st.lists(st.none() | SINGLES, max_size=3),
        "map": st.none()
        | st.dictionaries(TEXTS, st.none() | SINGLES, max_size=2).map(lambda d: list(d.items())),
    }
)
TABLES = st.lists(ROWS, max_size=4).map(lambda rows: pa.Table.from_pylist(rows, schema=SCHEMA))


def as_text(table: pa.Table) -> str:
    """Return all that a table holds, value by value."""
    return json.dumps([[name, table.column(name).to_pylist()] for name in table.column_names])


@given(TABLES, TABLES)
def test_hashes_are_equal_exactly_where_the_values_are(one: pa.Table, other: pa.Table) -> None:
    assert (table_sha256(one) == table_sha256(other)) == (as_text(one) == as_text(other))


@given(TABLES, st.data())
def test_one_changed_value_changes_the_hash(table: pa.Table, data: Any) -> None:
    column = data.draw(st.sampled_from(SCHEMA.names))
    rows = table.to_pylist()
    if rows:
        row = data.draw(st.integers(0, len(rows) - 1))
        rows[row][column] = data.draw(ROWS)[column]
    changed = pa.Table.from_pylist(rows, schema=SCHEMA)
    same = as_text(table) == as_text(changed)
    assert (table_sha256(table) == table_sha256(changed)) == same


@given(TABLES, st.lists(st.integers(0, 4)), TABLES)
def test_pieces_and_slices_change_nothing(
    table: pa.Table, cuts: list[int], around: pa.Table
) -> None:
    bounds = [0, *sorted(min(cut, table.num_rows) for cut in cuts), table.num_rows]
    pieces = pa.concat_tables([table.slice(a, b - a) for a, b in itertools.pairwise(bounds)])
    inside = pa.concat_tables([around, table, around]).combine_chunks()
    assert table_sha256(pieces) == table_sha256(table)
    assert table_sha256(inside.slice(around.num_rows, table.num_rows)) == table_sha256(table)


@given(TABLES, st.booleans())
def test_a_table_read_back_from_parquet_has_the_same_hash(
    table: pa.Table, use_dictionary: bool
) -> None:
    file = io.BytesIO()
    pq.write_table(table, file, use_dictionary=use_dictionary, row_group_size=2)
    assert table_sha256(pq.read_table(file)) == table_sha256(table)


def test_encodings_change_nothing() -> None:
    plain = pa.table({"a": pa.array(["x", None, "", "x"])})
    for encoded in (
        plain["a"].combine_chunks().dictionary_encode(),
        plain["a"].cast(pa.large_string()),
    ):
        assert table_sha256(pa.table({"a": encoded})) == table_sha256(plain)


def test_what_stands_under_a_null_changes_nothing() -> None:
    hidden = pa.array([b"a", b"hidden", b"b"]).buffers()
    mask = pa.array([1, 0, 1], pa.int8()).cast(pa.bool_()).buffers()[1]
    text = pa.Array.from_buffers(pa.string(), 3, [mask, *hidden[1:]])
    maps = pa.MapArray.from_arrays(
        pa.array([0, 1, 2, 3], pa.int32()),
        pa.array(["a", "hidden", "b"]),
        pa.array([1.0, 2.0, 3.0]),
        mask=pa.array([False, True, False]),
    )
    seen = [("a", "b"), ([("a", 1.0)], [("b", 3.0)])]
    for array, (first, last) in zip((text, maps), seen, strict=True):
        shown = pa.array([first, None, last], array.type)
        assert table_sha256(pa.table({"x": array})) == table_sha256(pa.table({"x": shown}))


def test_every_nan_is_the_same() -> None:
    (other_nan,) = struct.unpack("<d", b"\x01\0\0\0\0\0\xf8\x7f")
    bits = [pa.py_buffer(struct.pack("<d", value)) for value in (math.nan, other_nan)]
    assert bits[0] != bits[1]
    tables = [pa.table({"x": pa.Array.from_buffers(pa.float64(), 1, [None, b])}) for b in bits]
    assert table_sha256(tables[0]) == table_sha256(tables[1])


def test_names_types_and_the_bounds_of_tables_count() -> None:
    tables = [
        [pa.table({"a": pa.array([], pa.string()), "b": pa.array([], pa.string())})],
        [pa.table({"b": pa.array([], pa.string()), "a": pa.array([], pa.string())})],
        [pa.table({"a": pa.array([], pa.string())})],
        [pa.table({"a": pa.array([], pa.float32())})],
        [pa.table({"a": pa.array([], pa.list_(pa.float32()))})],
        [pa.table({"a": [1, 2]})],
        [pa.table({"a": [1]}), pa.table({"a": [2]})],
        [],
    ]
    assert len({table_sha256(*each) for each in tables}) == len(tables)


def test_the_hash_is_the_same_in_every_version() -> None:
    """It stands in the commits of runs: where this fails, old runs cannot be verified any more."""
    row = {
        "text": "ö",
        "single": 0.1,
        "double": -0.0,
        "number": -1,
        "truth": True,
        "list": [1.5, None],
        "map": [("joy", 0.25)],
    }
    table = pa.Table.from_pylist([row, dict.fromkeys(SCHEMA.names)], schema=SCHEMA)
    assert table_sha256(table) == "691cbf022efc94d6e605d765d38c887012014dec210d7632806cf6bcd55533df"


def test_a_type_that_no_table_of_serval_has_is_refused() -> None:
    with pytest.raises(TypeError, match="struct"):
        table_sha256(pa.table({"a": [{"b": 1}]}))
