"""Reads what `serval audit` wrote; nothing else of Serval is needed for a report."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestration.gate_decision import Decision
from orchestration.report.wording import DRAWS_METRIC, HEADLINE_METRICS, TARGETS
from pipelines.audit_config import SIGNIFICANCE
from ser_model import storage
from ser_model.schema import SPEAKERS, STATISTICS, TESTS, RunError

AUDIT_FILE = "audit.json"
STATISTICS_FILE = "statistics.parquet"
SPEAKERS_FILE = "speakers.parquet"
DENSITIES_FILE = "densities.parquet"
CONFUSION_FILE = "confusion.parquet"
TESTS_FILE = "tests.parquet"
EMBEDDINGS_FILE = "embeddings.parquet"
EXTREMES_FILE = "extremes.parquet"

_RUN_AGAIN = "run `serval audit` again"
_KEY = ("model_version", "condition", "target")
DENSITY_COLUMNS = (*_KEY, "truth_bin", "prediction_bin", "num_segments")
CONFUSION_COLUMNS = ("model_version", "condition", "truth", "prediction", "num_segments")
EMBEDDING_COLUMNS = (
    *("model_version", "segment_id", "speaker_id", "x", "y", "attributes"),
    *(f"{side}_{target}" for side in ("truth", "prediction") for target in TARGETS),
)
EXTREME_COLUMNS = (
    *("model_version", "condition", "slice_by", "slice", "target", "rank"),
    *("segment_id", "speaker_id", "truth", "prediction"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """One row of statistics.parquet, with the columns of schema.STATISTICS; NaN is None here."""

    model_version: str
    condition: str
    slice_by: str
    slice: str
    target: str
    metric: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    num_segments: int
    num_speakers: int | None
    p_value: float | None
    p_adjusted: float | None
    margin: float | None
    verdict: str | None
    reason: str | None
    standard_error: float | None = None
    degrees_of_freedom: float | None = None
    p_adjusted_fdr: float | None = None
    minimum_detectable_effect: float | None = None

    @property
    def is_shown(self) -> bool:
        """Whether a difference from 0 is shown, after correction for looking at many."""
        return self.p_adjusted is not None and self.p_adjusted < SIGNIFICANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFolder:
    """A complete audit.

    Attributes:
        uri: the folder.
        audit: audit.json.
        statistics: all rows.
        statistics_sha256: hash of statistics.parquet, so that a reader can check the source.
        speakers: rows of speakers.parquet for the headline metrics only (there may be millions).
        densities: counts on the grid of truth and prediction; no rows for a categorical model.
        confusion: counts of truth and predicted emotion; no rows for a dimensional model.
        tests: of the suite that was asked for; no rows where none was.
        embeddings: a sample of the kept embeddings in two dimensions; no rows where none was kept.
        extremes: the segments with the largest residuals of each slice and dimension.
        is_pseudonymised: whether speakers stand here under pseudonyms.
        decision: of a gate, about this audit; None where none is shown.
    """

    uri: str
    audit: Mapping[str, Any]
    statistics: tuple[Statistic, ...]
    statistics_sha256: str
    speakers: pa.Table
    densities: pa.Table
    confusion: pa.Table
    tests: pa.Table
    embeddings: pa.Table
    extremes: pa.Table
    is_pseudonymised: bool = False
    decision: Decision | None = None


def read_audit(uri: str) -> AuditFolder:
    """Read an audit folder.

    Args:
        uri: folder that `serval audit` wrote, local or remote.

    Raises:
        RunError: there is no complete audit, or a file of it cannot be used.
    """
    try:
        audit = storage.read_json(storage.join(uri, AUDIT_FILE))
    except FileNotFoundError as error:
        raise RunError(
            f"{uri} holds no {AUDIT_FILE}: it is no audit folder or the audit did not finish; "
            f"{_RUN_AGAIN}"
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{storage.join(uri, AUDIT_FILE)}: {error}; {_RUN_AGAIN}") from error
    data = _read_bytes(uri, STATISTICS_FILE)
    table = _read_rows(uri, STATISTICS_FILE, data, STATISTICS.names)
    return AuditFolder(
        uri=uri,
        audit=audit,
        statistics=_statistics(table),
        statistics_sha256=hashlib.sha256(data).hexdigest(),
        speakers=_headline_rows(uri),
        densities=_read_optional(uri, DENSITIES_FILE, DENSITY_COLUMNS),
        confusion=_read_optional(uri, CONFUSION_FILE, CONFUSION_COLUMNS),
        tests=_suite_tests(uri, audit),
        embeddings=_read_optional(uri, EMBEDDINGS_FILE, EMBEDDING_COLUMNS),
        extremes=_read_optional(uri, EXTREMES_FILE, EXTREME_COLUMNS),
    )


def _suite_tests(uri: str, audit: Mapping[str, Any]) -> pa.Table:
    """Read the tests of the suite; without one, those that lie there are of an earlier attempt."""
    if audit.get("suite") is None:
        return TESTS.empty_table()
    return _read_rows(uri, TESTS_FILE, _read_bytes(uri, TESTS_FILE), TESTS.names)


def _statistics(table: pa.Table) -> tuple[Statistic, ...]:
    for position, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            column = table.column(position)
            finite = pc.if_else(pc.is_finite(column), column, pa.scalar(None, field.type))
            table = table.set_column(position, field, finite)
    statistics = [Statistic(**row) for row in table.to_pylist()]
    return tuple(in_order(statistics))


def in_order(statistics: Iterable[Statistic]) -> list[Statistic]:
    """Sort so that the same rows give the same page."""
    return sorted(statistics, key=lambda s: (s.slice_by, s.slice, s.target, s.metric))


def _headline_rows(uri: str) -> pa.Table:
    # Batch by batch: a corpus with millions of speakers has ten rows and more for each of them.
    data = _read_bytes(uri, SPEAKERS_FILE)
    wanted = pa.array(sorted({*HEADLINE_METRICS, DRAWS_METRIC}))
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        _check_columns(uri, SPEAKERS_FILE, file.schema_arrow.names, SPEAKERS.names)
        batches = (
            batch.filter(pc.is_in(batch.column("metric"), value_set=wanted))
            for batch in file.iter_batches(columns=SPEAKERS.names)
        )
        return pa.Table.from_batches(batches, schema=_selected(file.schema_arrow, SPEAKERS.names))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(uri, SPEAKERS_FILE, error) from error


def _read_optional(uri: str, name: str, columns: Iterable[str]) -> pa.Table:
    if not storage.exists(storage.join(uri, name)):
        return pa.table({column: pa.array([], pa.null()) for column in columns})
    return _read_rows(uri, name, _read_bytes(uri, name), columns)


def _read_rows(uri: str, name: str, data: bytes, columns: Iterable[str]) -> pa.Table:
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(uri, name, error) from error
    _check_columns(uri, name, table.column_names, columns)
    return table.select(list(columns))


def _read_bytes(uri: str, name: str) -> bytes:
    try:
        return storage.read_bytes(storage.join(uri, name))
    except FileNotFoundError as error:
        raise RunError(f"{uri} holds no {name}; {_RUN_AGAIN}") from error
    except OSError as error:
        raise _unreadable(uri, name, error) from error


def _check_columns(uri: str, name: str, present: Iterable[str], needed: Iterable[str]) -> None:
    missing = sorted(set(needed) - set(present))
    if missing:
        raise RunError(
            f"{storage.join(uri, name)} has no column {', '.join(missing)}; {_RUN_AGAIN}"
        )


def _selected(schema: pa.Schema, names: Iterable[str]) -> pa.Schema:
    return pa.schema([schema.field(name) for name in names])


def _unreadable(uri: str, name: str, error: Exception) -> RunError:
    return RunError(f"{storage.join(uri, name)} cannot be read ({error}); {_RUN_AGAIN}")
