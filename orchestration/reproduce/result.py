"""A table with our numbers beside the published ones, in the units that are printed."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestration.reproduce.published import SCALES, PublishedTable, PublishedValue
from orchestration.reproduce.rows.planned import OurNumber
from ser_model import storage
from ser_model.schema import CLEAN

ADDED = "ours, not in the paper"
DRAWN = "drawn, not printed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """A row of the table, all numbers in `unit`.

    Attributes:
        system: what it is about.
        against: of a difference, the other system.
        trained_on: part of a corpus.
        test: likewise.
        target: a dimension, emotion ...
        condition: as of an audit.
        slice: likewise; of a curve, the place on it.
        metric: what is measured.
        unit: as printed.
        published: the paper's value.
        published_deviation: over its seeds.
        published_p_value: of its test.
        ours: our value, the mean over our seeds.
        deviation: over our seeds.
        difference: ours minus published.
        ci_low: of our 95 % interval over speakers.
        ci_high: likewise.
        p_value: of our test.
        num_seeds: trainings that ours is of; 0 without a value.
        note: what is to be known, and why there is no value.
    """

    system: str
    against: str
    trained_on: str
    test: str
    target: str
    condition: str
    slice: str
    metric: str
    unit: str
    published: float | None
    published_deviation: float | None
    published_p_value: float | None
    ours: float | None
    deviation: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    num_seeds: int
    note: str

    @property
    def where(self) -> str:
        """Training, test, target, condition and slice, in a few words."""
        trained = self.trained_on if self.trained_on != self.test else ""
        under = "" if self.condition == CLEAN else self.condition
        places = " > ".join(filter(None, (trained, self.test)))
        return ", ".join(filter(None, (places, self.target, under, self.slice)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TableResult:
    """What came of a table.

    Attributes:
        table: its name.
        title: what it holds.
        source: paper and place.
        shows: what the paper concludes from it.
        rows: its numbers and ours.
        may_differ: in what ours may differ, and why.
        folder: where this is written.
    """

    table: str
    title: str
    source: str
    shows: str
    rows: tuple[ResultRow, ...]
    may_differ: tuple[str, ...]
    folder: str


def result_rows(row: PublishedValue, ours: Sequence[OurNumber]) -> list[ResultRow]:
    """Return a row of the table with our number, or the several that it stands for."""
    return [_result_row(row, number) for number in ours]


def _result_row(row: PublishedValue, ours: OurNumber) -> ResultRow:
    scale = SCALES[row.unit]
    value, deviation, low, high = (
        None if number is None else number / scale
        for number in (ours.value, ours.standard_deviation, ours.ci_low, ours.ci_high)
    )
    both = value is not None and row.value is not None
    is_drawn = row.value is None and row.p_value is None
    kind = ADDED if row.added else DRAWN if is_drawn else ""
    return ResultRow(
        system=row.system,
        against=row.against,
        trained_on=row.trained_on,
        test=row.test,
        target=row.target,
        condition=row.condition,
        slice=ours.slice or row.slice,
        metric=row.metric,
        unit=row.unit,
        published=row.value,
        published_deviation=row.standard_deviation,
        published_p_value=row.p_value,
        ours=value,
        deviation=deviation,
        difference=value - row.value if both else None,  # type: ignore[operator]
        ci_low=low,
        ci_high=high,
        p_value=ours.p_value,
        num_seeds=0 if value is None else ours.num_seeds,
        note="; ".join(filter(None, (kind, ours.note, ours.reason))),
    )


def source_of(table: PublishedTable) -> str:
    """Return paper and place in one line."""
    return f"{table.source.paper}, {table.source.place}"


def write_result(result: TableResult, text: str) -> None:
    """Write result.json, result.csv and result.md.

    Args:
        result: what came of the table.
        text: the same as Markdown.
    """
    files = {"result.csv": _csv(result.rows), "result.md": text}
    storage.write_json(storage.join(result.folder, "result.json"), dataclasses.asdict(result))
    for name, content in files.items():
        storage.write_atomic(storage.join(result.folder, name), content.encode())


def _csv(rows: Iterable[ResultRow]) -> str:
    file = io.StringIO()
    names = [field.name for field in dataclasses.fields(ResultRow)]
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(row) for row in rows)
    return file.getvalue()
