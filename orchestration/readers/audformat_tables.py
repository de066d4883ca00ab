"""Header and tables of a database in audformat, as they lie on disk."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeGuard

import pyarrow as pa
import yaml

from orchestration.readers.annotations import column_name, sex_of
from orchestration.readers.source import refuse_missing_columns
from ser_model import storage
from ser_model.manifest_checks import TruthRange
from ser_model.schema import DIMENSIONS, SPLITS, ManifestError
from ser_model.table_files import one_line, read_table_file

MAX_HEADER_BYTES = 1 << 26
_TIME = re.compile(r"(?:(\d+) days? )?(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_INDEX = {"filewise": ("file",), "segmented": ("file", "start", "end")}
"""The columns that name the segments, by a table's type."""

Row = dict[str, object]
"""Values by the manifest's columns."""


class AnnotatedSegment(NamedTuple):
    """What an annotation is about: a stretch of a file, or all of it."""

    file: str
    start_s: float = 0.0
    end_s: float | None = None

    def place(self) -> tuple[str, float, float]:
        """Return what orders segments: the file, and the time in it."""
        return self.file, self.start_s, math.inf if self.end_s is None else self.end_s

    @property
    def is_file(self) -> bool:
        """Whether this is all of the file."""
        return self.start_s == 0.0 and self.end_s is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of the database.

    Attributes:
        uri: its file.
        columns: of its rows.
        rows: what it says, by segment.
    """

    uri: str
    columns: frozenset[str]
    rows: tuple[tuple[AnnotatedSegment, Row], ...]

    def without(self, columns: Collection[str]) -> Table:
        """Return the table without these columns."""
        rows = tuple(
            (segment, {name: value for name, value in row.items() if name not in columns})
            for segment, row in self.rows
        )
        return replace(self, rows=rows, columns=self.columns - set(columns))


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The database's header.

    Attributes:
        uri: its file.
        content: what it holds.
    """

    uri: str
    content: Mapping[str, Any]

    @classmethod
    def read(cls, uri: str) -> Header:
        """Read a header.

        Raises:
            ManifestError: it is absent, or no YAML; the message names the line.
        """
        try:
            content = yaml.safe_load(storage.read_bytes(uri, max_bytes=MAX_HEADER_BYTES))
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
            raise ManifestError(f"{uri}, line {line}: {error.problem}") from error
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise ManifestError(f"{uri} cannot be read: {one_line(error)}") from error
        return cls(uri=uri, content=_mapping(uri, "the header", content))

    def truth_range(self) -> TruthRange | None:
        """Return the scale that the schemes of the dimensions name.

        Raises:
            ManifestError: they name several.
        """
        scales = set()
        for name in self._part("tables"):
            for column, about in self._columns("tables", name).items():
                scheme = self._scheme(about)
                low, high = scheme.get("minimum"), scheme.get("maximum")
                if column in DIMENSIONS and _is_number(low) and _is_number(high) and low < high:
                    scales.add((float(low), float(high)))
        if len(scales) > 1:
            shown = ", ".join(f"{low:g}:{high:g}" for low, high in sorted(scales))
            raise ManifestError(f"{self.uri}: dimensions are on several scales: {shown}")
        return next(iter(scales), None)

    def read_tables(self, files: Collection[str]) -> list[Table]:
        """Read all tables of segments and files.

        Args:
            files: names in the database's folder, of any kind.

        Raises:
            ManifestError: a table is absent or broken.
        """
        return [self._read_table(name, files) for name in self._part("tables")]

    def _read_table(self, name: str, files: Collection[str]) -> Table:
        uri = self._table_uri(name, files)
        table = read_table_file(uri)
        columns = self._columns("tables", name)
        index = _INDEX.get(self._part("tables")[name].get("type"), _INDEX["filewise"])
        refuse_missing_columns(uri, table, *index, *columns)
        labels = {
            column: self._labels(self._scheme(about), files) for column, about in columns.items()
        }
        of_all = self._of_all_rows(name)
        said = table.select(["file", *columns]).to_pylist()  # without times: those need pandas
        rows = [
            (segment, {**of_all, **_row({name: values[name] for name in columns}, labels)})
            for segment, values in zip(_segments(uri, table.select(index)), said, strict=True)
        ]
        found = frozenset(column for _, row in rows for column in row)
        return Table(uri=uri, columns=found, rows=tuple(rows))

    def _of_all_rows(self, name: str) -> Row:
        """Return what the header says of every row of a table."""
        of_all: Row = {}
        split_id = self._part("tables")[name].get("split_id")
        split = _mapping(self.uri, f"split {split_id}", self._part("splits").get(split_id, {}))
        if split.get("type") in SPLITS:
            of_all["split"] = split["type"]
        languages = self.content.get("languages") or []
        if len(languages) == 1:
            of_all["language"] = languages[0]
        return of_all

    def _table_uri(self, name: str, files: Collection[str]) -> str:
        for extension in (".csv", ".parquet"):
            if f"db.{name}{extension}" in files:
                return storage.join(storage.parent(self.uri), f"db.{name}{extension}")
        remedy = "; save it as CSV or Parquet" if f"db.{name}.pkl" in files else ""
        raise ManifestError(f"{self.uri}: db.{name}.csv or .parquet is not there{remedy}")

    def _labels(self, scheme: Mapping[str, Any], files: Collection[str]) -> dict[str, object]:
        """Return what codes stand for: a text, or the properties of what they name."""
        labels = scheme.get("labels")
        if isinstance(labels, str):
            uri = self._table_uri(labels, files)
            about = self._part("misc_tables").get(labels, {})
            level, *_ = _mapping(self.uri, f"table {labels}", about).get("levels") or ["?"]
            table = read_table_file(uri)
            refuse_missing_columns(uri, table, level)
            return {str(row.pop(level)): row for row in table.to_pylist()}
        if isinstance(labels, Mapping):
            return {str(code): label for code, label in labels.items()}
        return {}

    def _scheme(self, column: Mapping[str, Any]) -> Mapping[str, Any]:
        name = str(column.get("scheme_id"))
        return _mapping(self.uri, f"scheme {name}", self._part("schemes").get(name, {}))

    def _columns(self, part: str, table: str) -> Mapping[str, Any]:
        about = _mapping(self.uri, f"table {table}", self._part(part)[table])
        columns = _mapping(self.uri, f"columns of table {table}", about.get("columns") or {})
        return {
            column: _mapping(self.uri, f"column {column}", about or {})
            for column, about in columns.items()
        }

    def _part(self, name: str) -> Mapping[str, Any]:
        return _mapping(self.uri, name, self.content.get(name) or {})


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float)


def _mapping(uri: str, what: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ManifestError(f"{uri}: {what} is no mapping: {str(value)[:40]!r}")
    return value


def _row(values: Mapping[str, object], labels: Mapping[str, Mapping[str, object]]) -> Row:
    row: Row = {}
    for column, value in values.items():
        label = labels[column].get(str(value)) if value is not None else None
        if isinstance(label, Mapping):
            row[column_name(column)] = str(value)
            for name, of_label in label.items():
                row.setdefault(column_name(str(name)), of_label)
        else:
            row[column_name(column)] = value if label is None else label
    if "gender" in row and "sex" not in row:
        row["sex"] = sex_of(row["gender"])
    return row


def _segments(uri: str, table: pa.Table) -> list[AnnotatedSegment]:
    files = table["file"].to_pylist()
    if "start" not in table.column_names:
        return [AnnotatedSegment(file or "") for file in files]
    times = zip(files, _seconds(uri, table, "start"), _seconds(uri, table, "end"), strict=True)
    return [AnnotatedSegment(file or "", start_s or 0.0, end_s) for file, start_s, end_s in times]


def _seconds(uri: str, table: pa.Table, name: str) -> list[float | None]:
    times = table[name]
    if pa.types.is_duration(times.type):
        nanoseconds = times.cast(pa.duration("ns")).cast(pa.int64()).to_pylist()
        return [None if time is None else time / 1e9 for time in nanoseconds]
    seconds: list[float | None] = []
    for row, time in enumerate(times.to_pylist(), start=1):
        match = _TIME.fullmatch(time or "")
        if time is not None and match is None:
            raise ManifestError(f"{uri}, row {row}: {name} {time!r} is no time such as 0:00:01.5")
        seconds.append(None if match is None else _in_seconds(*match.groups()))
    return seconds


def _in_seconds(days: str | None, hours: str, minutes: str, seconds: str) -> float:
    whole = ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60
    return round(whole + float(seconds), 9)
