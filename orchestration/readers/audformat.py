"""A database in audEERING's audformat: db.yaml, and tables db.ID.csv or db.ID.parquet.

Obtain one with audb (https://audeering.github.io/audb). The licence stands in its header, db.yaml.
Tables that are there as a pickle alone are refused, for a pickle runs the code that it holds.
Source: the specification in https://audeering.github.io/audformat.

- A table is of whole files or of segments of them. The manifest has a row for every segment of any
  table, and one for every file that no table cuts. What is said of a file holds for its segments
  too, except truth, transcript and duration: a segment has its own, or none.
- Columns have the names of their annotations: speaker becomes speaker_id, transcription transcript;
  gender is kept, and gives sex. Codes become what the labels of their scheme say. A table's split
  gives split where it is of type train, dev or test.
- The scale of the dimensions is what their schemes say (minimum, maximum).
- Tables that disagree about a segment are refused. To have one of them decide which segments there
  are and what its columns say of them, name its file: serval manifest corpus/db.gold.csv.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from orchestration.readers.annotations import table_of
from orchestration.readers.audformat_tables import AnnotatedSegment, Header, Row, Table
from orchestration.readers.source import folder_of
from ser_model import storage
from ser_model.manifest_checks import TruthRange
from ser_model.schema import DIMENSIONS, ManifestError

LAYOUT = "audformat (db.yaml with tables db.*.csv or db.*.parquet)"

HEADER = "db.yaml"
NOT_INHERITED = frozenset({*DIMENSIONS, "emotion", "transcript", "duration_s"})
"""What is said of a file as a whole, and of none of its segments."""


def matches(source: str, files: Sequence[str]) -> bool:
    """Tell whether there is a header, or whether the source is a table beside one."""
    if files:
        return HEADER in files
    is_table = storage.name(source).startswith("db.")
    return is_table and storage.exists(storage.join(storage.parent(source), HEADER))


def truth_range(source: str, files: Sequence[str]) -> TruthRange | None:
    """Return the scale that the header gives the dimensions, or None.

    Raises:
        ManifestError: the dimensions are on several scales, or the header is broken.
    """
    return Header.read(storage.join(folder_of(source, files), HEADER)).truth_range()


def read(source: str, files: Sequence[str]) -> pa.Table:
    """Read the corpus: one row a segment, or a file that is not cut into any.

    Raises:
        ManifestError: header or table is broken, or tables disagree.
    """
    folder = folder_of(source, files)
    header = Header.read(storage.join(folder, HEADER))
    tables = header.read_tables(files or storage.list_names(folder))
    if files:
        said = _join(tables)
        cut = {segment.file for segment in said if not segment.is_file}
        kept = [segment for segment in said if not (segment.is_file and segment.file in cut)]
    else:
        decisive = [table for table in tables if storage.name(table.uri) == storage.name(source)]
        if not decisive:
            raise ManifestError(f"{source} is no table of {header.uri}")
        others = [table.without(decisive[0].columns) for table in tables if table != decisive[0]]
        said = _join([decisive[0], *others])
        kept = [segment for segment, _ in decisive[0].rows]
    if not kept:
        raise ManifestError(f"{source}: its tables have no rows")
    return table_of(
        [_manifest_row(segment, said) for segment in sorted(kept, key=AnnotatedSegment.place)]
    )


def _join(tables: Iterable[Table]) -> dict[AnnotatedSegment, Row]:
    said: dict[AnnotatedSegment, Row] = {}
    for table in tables:
        for segment, row in table.rows:
            known = said.setdefault(segment, {})
            for column, value in row.items():
                if value is not None and known.setdefault(column, value) != value:
                    raise ManifestError(
                        f"{table.uri}: {column} of {segment.file} is {value!r}, and another table "
                        f"says {known[column]!r}; name the file of the table that decides as SOURCE"
                    )
    return said


def _manifest_row(segment: AnnotatedSegment, said: dict[AnnotatedSegment, Row]) -> Row:
    of_file = said.get(AnnotatedSegment(segment.file), {}) if not segment.is_file else {}
    inherited = {name: value for name, value in of_file.items() if name not in NOT_INHERITED}
    times = {"start_s": segment.start_s, "end_s": segment.end_s} if not segment.is_file else {}
    return {"recording": segment.file, **times, **inherited, **said[segment]}
