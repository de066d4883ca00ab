"""What a manifest must be: the checks of its columns, whose messages name file, row and remedy.

Messages count rows from 1, the header not among them.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from ser_model.schema import DIMENSIONS, SEXES, SPLITS, ManifestError
from ser_model.table_files import one_line, text_column

NUMBERS = ("start_s", "end_s", *DIMENSIONS, "age", "duration_s")
"""Columns that are always numbers, whatever the format of the file."""

TEXTS = (
    "segment_id",
    "recording",
    "speaker_id",
    "sex",
    "language",
    "accent",
    "split",
    "transcript",
    "emotion",
)
"""Columns that are always text: a speaker "007" stays one."""

TruthRange = tuple[float, float]


def check_columns(uri: str, table: pa.Table, truth_range: TruthRange | None) -> pa.Table:
    """Return the table with known columns as numbers and text, and the truth mapped to 0..1.

    Args:
        uri: where it comes from, for messages.
        table: with any columns.
        truth_range: scale of the truth; None leaves it as it is.

    Raises:
        ManifestError: there are no rows, or a value cannot be.
    """
    if len(table) == 0:
        raise ManifestError(f"{uri} has no rows")
    for column in table.column_names:
        if column in NUMBERS:
            table = replace_column(table, column, to_numbers(uri, column, table[column]))
        elif column in TEXTS:
            table = replace_column(table, column, text_column(uri, column, table[column]))
    for column in ("start_s", "end_s"):
        if column in table.column_names:
            _refuse(uri, column, table, pc.is_nan(table[column]), "is not a number")
    for column, allowed in (("sex", SEXES), ("split", SPLITS)):
        if column in table.column_names:
            bad = pc.invert(pc.is_in(table[column], pa.array([*allowed, None], pa.string())))
            _refuse(
                uri, column, table, bad, f"is not one of {', '.join(allowed)} (or empty: unknown)"
            )
    for column in DIMENSIONS:
        if truth_range is not None and column in table.column_names:
            table = _map_truth(uri, column, table, truth_range)
    return table


def _map_truth(uri: str, column: str, table: pa.Table, truth_range: TruthRange) -> pa.Table:
    low, high = truth_range
    values = table[column]
    outside = pc.or_(pc.less(values, low), pc.greater(values, high))  # NaN compares false: kept
    remedy = f"is outside {low:g}:{high:g}; give the scale of the truth with --truth-range LOW:HIGH"
    _refuse(uri, column, table, outside, remedy)
    return replace_column(table, column, pc.divide(pc.subtract(values, low), high - low))


def with_segment_ids(uri: str, table: pa.Table) -> pa.Table:
    """Return the table with a `segment_id` in every row, made of recording and times where absent.

    Raises:
        ManifestError: a recording or a segment_id is empty.
    """
    if "recording" in table.column_names:
        _refuse(uri, "recording", table, _is_blank(table["recording"]), "is empty")
    if "segment_id" in table.column_names:
        _refuse(uri, "segment_id", table, _is_blank(table["segment_id"]), "is empty")
    else:
        nothing = [None] * len(table)
        times = [
            table[c].to_pylist() if c in table.column_names else nothing
            for c in ("start_s", "end_s")
        ]
        rows = zip(table["recording"].to_pylist(), *times, strict=True)
        ids = pa.array([segment_id_of(*row) for row in rows], pa.string())
        table = table.add_column(0, "segment_id", ids)
    return table


def refuse_twins(uri: str, table: pa.Table) -> pa.Table:
    """Return the table as it is.

    Raises:
        ManifestError: two rows have the same segment_id.
    """
    if pc.count_distinct(table["segment_id"]).as_py() < len(table):
        first_rows: dict[str, int] = {}
        for row, segment_id in enumerate(table["segment_id"].to_pylist(), start=1):
            if segment_id in first_rows:
                raise ManifestError(
                    f"{uri}, row {row}: segment_id {segment_id!r} is that of row "
                    f"{first_rows[segment_id]} too; each row needs its own"
                )
            first_rows[segment_id] = row
    return table


def to_numbers(uri: str, column: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as numbers, for CSV holds them as text.

    Args:
        uri: where it comes from, for the message.
        column: its name.
        values: numbers or text.

    Raises:
        ManifestError: one of them is not a number; the message names its row.
    """
    try:
        return pc.cast(values, pa.float64())
    except pa.ArrowException as error:
        for row, value in enumerate(values.to_pylist(), start=1):
            try:
                float(value if value is not None else 0)
            except (TypeError, ValueError):
                raise ManifestError(
                    f"{uri}, row {row}: {column} {value!r} is not a number"
                ) from error
        raise ManifestError(f"{uri}: column {column!r}: {one_line(error)}") from error


def segment_id_of(recording: str, start_s: float | None, end_s: float | None) -> str:
    """Return the id of a segment that has none: its recording and time, as a media fragment.

    Source: W3C Media Fragments URI 1.0, section 4.2.1.

    >>> segment_id_of("a/talk.flac", 1.5, 3.0)
    'a/talk.flac#t=1.5,3'
    >>> segment_id_of("a/talk.flac", None, None)
    'a/talk.flac'
    """
    if start_s is None and end_s is None:
        return recording
    start, end = (
        "" if seconds is None else f"{seconds:.6f}".rstrip("0").rstrip(".")
        for seconds in (start_s, end_s)
    )
    return f"{recording}#t={start},{end}" if end else f"{recording}#t={start}"


def _is_blank(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(pc.fill_null(values, ""))), 0)


def _refuse(uri: str, column: str, table: pa.Table, bad: pa.ChunkedArray, problem: str) -> None:
    index = pc.index(pc.fill_null(bad, False), pa.scalar(True)).as_py()
    if index >= 0:
        value = table[column][index].as_py()
        shown = "" if value is None else f" {value!r}"
        raise ManifestError(f"{uri}, row {index + 1}: {column}{shown} {problem}")


def replace_column(table: pa.Table, column: str, values: pa.ChunkedArray | pa.Array) -> pa.Table:
    """Return the table with other values in a column that it has."""
    return table.set_column(table.column_names.index(column), column, values)
