"""Manifests: tables of segments, one row each, with whatever is known of them as further columns.

The first columns are `segment_id`, `recording` (absolute), `start_s`, `end_s`; all others are
metadata. Messages count rows from 1, the header not among them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ser_model import storage
from ser_model.manifest_checks import (
    TruthRange,
    check_columns,
    refuse_twins,
    replace_column,
    with_segment_ids,
)
from ser_model.schema import ConfigError, ManifestError, Segment
from ser_model.table_files import (
    read_table_file,
    table_file_columns,
    table_file_parts,
    write_table_file,
)


def read_manifest(uri: str, *, truth_range: TruthRange | None = (0.0, 1.0)) -> pa.Table:
    """Read and check a manifest.

    Args:
        uri: file with a `recording` column; relative recordings are resolved against its folder.
        truth_range: scale of the dimensions in the file, mapped to 0..1; None leaves them as they
            are, for jobs that do not look at the truth.

    Raises:
        ManifestError: the file cannot be used; the message names file, row and remedy. What is
            wrong with a single segment's times shows later, as a rejection.
    """
    table = read_table_file(uri)
    return check_manifest(table, uri=uri, folder=storage.parent(uri), truth_range=truth_range)


def check_manifest(
    table: pa.Table, *, uri: str, folder: str, truth_range: TruthRange | None = (0.0, 1.0)
) -> pa.Table:
    """Check a table that is in memory already, and complete it as `read_manifest` does.

    Args:
        table: with a `recording` column.
        uri: where it comes from, for the messages.
        folder: what relative recordings are relative to.
        truth_range: as in `read_manifest`.

    Raises:
        ManifestError: as `read_manifest`.
    """
    if "recording" not in table.column_names:
        raise ManifestError(
            f"{uri} has no column 'recording' (it has {', '.join(table.column_names)}); name the "
            "audio file of each row there, or make a manifest with `serval manifest`"
        )
    table = refuse_twins(uri, with_segment_ids(uri, check_columns(uri, table, truth_range)))
    table = replace_column(table, "recording", _resolved(table["recording"], folder))
    for column in ("start_s", "end_s"):
        if column not in table.column_names:
            table = table.append_column(column, pa.nulls(len(table), pa.float64()))
    first = ["segment_id", "recording", "start_s", "end_s"]
    return table.select(first + [c for c in table.column_names if c not in first])


def read_metadata(uri: str, *, truth_range: TruthRange | None = (0.0, 1.0)) -> pa.Table:
    """Read and check a table of metadata: as a manifest, but `segment_id` alone is enough.

    Raises:
        ManifestError: as `read_manifest`.
    """
    table = read_table_file(uri)
    if "recording" in table.column_names:
        return check_manifest(table, uri=uri, folder=storage.parent(uri), truth_range=truth_range)
    return check_metadata(table, uri=uri, truth_range=truth_range)


def check_metadata(
    table: pa.Table, *, uri: str, truth_range: TruthRange | None = (0.0, 1.0)
) -> pa.Table:
    """Check metadata without recordings that are in memory already, as `read_metadata` does.

    Raises:
        ManifestError: as `read_manifest`.
    """
    if "segment_id" not in table.column_names:
        raise _without_ids(uri, table.column_names)
    return refuse_twins(uri, with_segment_ids(uri, check_columns(uri, table, truth_range)))


def metadata_parts(
    uri: str,
    columns: Sequence[str],
    *,
    truth_range: TruthRange | None = (0.0, 1.0),
    rows_per_part: int = 1 << 16,
) -> Iterator[pa.Table]:
    """Read and check metadata a part at a time, so that Parquet of any size fits into memory.

    That no two rows have the same segment_id is not checked: the parts do not know of each other.

    Args:
        uri: as in `read_metadata`.
        columns: those wanted beside `segment_id`; the ones that the file lacks are left out.
        truth_range: as in `read_metadata`.
        rows_per_part: at most; files that are not Parquet are one part.

    Raises:
        ManifestError: as `read_metadata`.
    """
    if not uri.lower().endswith(".parquet"):
        yield read_metadata(uri, truth_range=truth_range)
        return
    names = metadata_columns(uri)
    ids = ("segment_id",) if "segment_id" in names else ("recording", "start_s", "end_s")
    wanted = [name for name in names if name in (*ids, *columns)]
    for part in table_file_parts(uri, wanted, rows_per_part):
        try:
            checked = check_columns(uri, part, truth_range)
            yield with_segment_ids(uri, checked)
        except ManifestError as error:
            read_metadata(uri, truth_range=truth_range)  # it counts rows from the file's first
            raise error from None


def metadata_columns(uri: str) -> list[str]:
    """Return the names of the columns of metadata.

    Raises:
        ManifestError: as `read_metadata`.
    """
    names = table_file_columns(uri)
    if "segment_id" not in names and "recording" not in names:
        raise _without_ids(uri, names)
    return names


def write_manifest(uri: str, table: pa.Table) -> None:
    """Write a manifest in the format of its extension.

    Raises:
        ManifestError: the extension is unknown, or the format cannot hold a column.
    """
    write_table_file(uri, table)


def relative_to(table: pa.Table, uri: str) -> pa.Table:
    """Return the manifest with recordings relative to the folder of `uri`, where that is possible.

    Columns of times that no row has are left out.
    """
    folder = storage.parent(uri)
    recordings = [
        storage.relative(recording, folder) for recording in table["recording"].to_pylist()
    ]
    table = replace_column(table, "recording", pa.array(recordings, pa.string()))
    untimed = [c for c in ("start_s", "end_s") if table[c].null_count == len(table)]
    return table.drop_columns(untimed)


def segments(table: pa.Table) -> list[Segment]:
    """Return the segments of a manifest, in its order."""
    columns = [table[c].to_pylist() for c in ("segment_id", "recording", "start_s", "end_s")]
    return [
        Segment(segment_id=segment_id, recording=recording, start_s=start_s or 0.0, end_s=end_s)
        for segment_id, recording, start_s, end_s in zip(*columns, strict=True)
    ]


def select_split(table: pa.Table, split: str | None) -> pa.Table:
    """Return the rows of one split; all rows for None.

    Raises:
        ManifestError: there is no `split` column, or no row of this split.
    """
    if split is None:
        return table
    if "split" not in table.column_names:
        raise ManifestError(
            "the manifest has no column 'split'; make one with `serval manifest --split 70:15:15`"
        )
    selected = table.filter(pc.equal(table["split"], split))
    if len(selected) == 0:
        raise ManifestError(f"the manifest has no row of split {split!r}")
    return selected


def parse_truth_range(text: str) -> TruthRange:
    """Read "LOW:HIGH", the scale on which the truth was rated.

    >>> parse_truth_range("1:7")
    (1.0, 7.0)

    Raises:
        ConfigError: this is no range.
    """
    low, _, high = text.partition(":")
    try:
        truth_range = (float(low), float(high))
    except ValueError:
        truth_range = (math.nan, math.nan)
    if not (math.isfinite(truth_range[1] - truth_range[0]) and truth_range[0] < truth_range[1]):
        raise ConfigError(f"truth range {text!r} is not LOW:HIGH, for example 1:7")
    return truth_range


def _without_ids(uri: str, names: Sequence[str]) -> ManifestError:
    return ManifestError(
        f"{uri} has neither a column 'segment_id' nor 'recording' (it has {', '.join(names)})"
    )


def _resolved(recordings: pa.ChunkedArray, folder: str) -> pa.ChunkedArray:
    if storage.local_path(folder) is not None and "://" not in folder:
        folder = str(Path(folder).absolute())
    # Piece by piece, all with one dictionary: in one piece, a hundred million names do not fit.
    pieces = recordings.dictionary_encode().chunks
    distinct = pa.array(
        [storage.resolve(recording, folder) for recording in pieces[0].dictionary.to_pylist()],
        pa.string(),
    )
    return pa.chunked_array([distinct.take(piece.indices) for piece in pieces], pa.string())
