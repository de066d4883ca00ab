"""Transcripts from elsewhere, put beside segments: of a run of `serval transcribe`, or a table."""

from __future__ import annotations

import hashlib
import logging

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.committed import committed_files, read_in_order
from orchestration.shard_plan import TRANSCRIPT, refuse_duplicates, transcript_column
from ser_model import storage
from ser_model.schema import ManifestError
from ser_model.table_files import EXTENSIONS, read_table_file

logger = logging.getLogger(__name__)


def with_transcripts(table: pa.Table, uri: str) -> pa.Table:
    """Return rows with transcripts from elsewhere in place of those that they have.

    Segments that the run has rejected come out without a transcript. Transcripts of segments that
    are not among the rows, of another split for one, are left out.

    Args:
        table: with `segment_id`.
        uri: folder of a complete run of transcripts, or a table (Parquet, CSV, TSV, JSON lines)
            with `segment_id` and `transcript`.

    Raises:
        ManifestError: a row's segment is not in the run or table, the table has no such columns, or
            a transcript is no text in UTF-8.
        RunError: the run is absent or incomplete, or holds no transcripts.
    """
    known = _read_table(uri) if uri.lower().endswith(EXTENSIONS) else _read_run(uri)
    ids = table["segment_id"]
    places = pc.index_in(ids, value_set=known["segment_id"].combine_chunks().cast(ids.type))
    if places.null_count:
        missing = ids.filter(places.is_null())
        shown = ", ".join(repr(i) for i in missing[:3].to_pylist())
        raise ManifestError(
            f"{uri} does not know {len(missing)} of {table.num_rows} segments: {shown}"
            f"{', ...' if len(missing) > 3 else ''}; transcribe the same manifest"
        )
    if known.num_rows > table.num_rows:
        logger.info("%s: %d of its segments are not used", uri, known.num_rows - table.num_rows)
    transcripts = known[TRANSCRIPT].take(places)
    if TRANSCRIPT in table.column_names:
        at = table.column_names.index(TRANSCRIPT)
        return table.set_column(at, TRANSCRIPT, transcripts)
    return table.append_column(TRANSCRIPT, transcripts)


def transcripts_sha256(uri: str) -> str:
    """Return a hash of transcripts from elsewhere: of the run's rows, or of the table's file.

    Raises:
        ManifestError: there is no such table.
        RunError: there is no such run.
    """
    if not uri.lower().endswith(EXTENSIONS):
        return str(committed_files(uri, product="transcripts").run["content_sha256"])
    try:
        return hashlib.sha256(storage.read_bytes(uri)).hexdigest()
    except OSError as error:
        raise ManifestError(f"{uri} cannot be read: {error}") from error


def _read_table(uri: str) -> pa.Table:
    table = read_table_file(uri)
    for column in ("segment_id", TRANSCRIPT):
        if column not in table.column_names:
            raise ManifestError(
                f"{uri} has no column {column!r} (it has {', '.join(table.column_names)})"
            )
    known = pa.table(
        {
            "segment_id": table["segment_id"].cast(pa.string()),
            TRANSCRIPT: transcript_column(uri, table),
        }
    )
    refuse_duplicates(uri, known)
    return known


def _read_run(uri: str) -> pa.Table:
    """Return a run's transcripts, and nulls for what it rejected."""
    committed = committed_files(uri, product="transcripts")
    schema = pa.schema([("segment_id", pa.string()), (TRANSCRIPT, pa.string())])
    made = [t.select(schema.names).cast(schema) for t in read_in_order(committed.predictions)]
    rejected = [_without_transcript(t, schema) for t in read_in_order(committed.rejections)]
    return pa.concat_tables([schema.empty_table(), *made, *rejected])


def _without_transcript(rejections: pa.Table, schema: pa.Schema) -> pa.Table:
    nulls = pa.nulls(rejections.num_rows, pa.string())
    return pa.table([rejections["segment_id"], nulls], schema=schema)
