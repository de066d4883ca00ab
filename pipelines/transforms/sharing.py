"""Which segments both sides of a comparison have: two models, or a condition and clean.

A difference is paired only where both sides predict the same segments. Most often they do, and then
their own sums serve. Where they do not, because one of them rejected a segment, the comparison
rests on the segments that both have. A partition of the join tells for itself: where the sides
differ there it sums up the shared segments anew and says so to every partition of speakers; where
they do not, its sums of each side stay. So nothing is read twice, and what is alike costs a look.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput
from numpy.typing import NDArray

from pipelines.transforms.joining import Mask, is_present
from pipelines.transforms.reading import TARGETS
from pipelines.transforms.speakers import sum_up_speakers
from pipelines.transforms.spilling import fetch
from pipelines.transforms.tables import array, group_rows, to_batch, to_table
from ser_model.schema import CLEAN

MAX_MODELS_IN_PAIRS = 10
"""Up to so many models are compared in pairs (45 of them); more only with the first by name."""

SHARED = "shared"
"""Name of the side output that carries cells of the segments that both sides have."""

CELLS_SIDE = "cells"
SHARED_SIDE = "shared"

Side = tuple[str, str]
"""Model version and condition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two sides that are compared: the first minus the second.

    Attributes:
        kind: "difference" of two models under a condition, or "change" of a model from clean.
        first: what is measured.
        second: against what.
    """

    kind: str
    first: Side
    second: Side

    @property
    def column(self) -> str:
        """What the sides differ in."""
        return "model_version" if self.kind == "difference" else "condition"

    @property
    def name(self) -> str:
        """The comparison as a slice: "condition=noise-condition=clean"."""
        place = 0 if self.kind == "difference" else 1
        return "-".join(f"{self.column}={side[place]}" for side in (self.first, self.second))

    @property
    def family(self) -> tuple[str, str]:
        """Whose tests are corrected together: differences by condition, changes by model."""
        return self.kind, self.first[1 if self.kind == "difference" else 0]

    def label(self, number: int) -> str:
        """Return the name that the shared segments of the first (0) or second (1) side go by."""
        return json.dumps([self.kind, *self.first, *self.second, number])


@dataclass(frozen=True, slots=True, kw_only=True)
class Unshared:
    """Says that the sides of a pair differ in a target's segments in a partition of the join."""

    pair: Pair
    target: str
    partition: int


def pairs_of(sides: Iterable[Side]) -> list[Pair]:
    """Return the pairs to compare: models under each condition, and each condition with clean.

    Example:
        >>> sides = [("a", "clean"), ("b", "clean"), ("b", "noise")]
        >>> [pair.name for pair in pairs_of(sides)]
        ['model_version=a-model_version=b', 'condition=noise-condition=clean']
    """
    present = sorted(set(sides))
    models: dict[str, list[str]] = {}
    for model, condition in present:
        models.setdefault(condition, []).append(model)
    pairs = []
    for condition, of_condition in sorted(models.items()):
        compared: Iterable[tuple[str, str]] = itertools.combinations(of_condition, 2)
        if len(of_condition) > MAX_MODELS_IN_PAIRS:
            compared = ((of_condition[0], other) for other in of_condition[1:])
        for first, second in compared:
            sides_of_pair = {"first": (first, condition), "second": (second, condition)}
            pairs.append(Pair(kind="difference", **sides_of_pair))
    for model, condition in present:
        if condition != CLEAN and (model, CLEAN) in present:
            pairs.append(Pair(kind="change", first=(model, condition), second=(model, CLEAN)))
    return pairs


def sides_of(predictions: pa.RecordBatch) -> Iterator[Side]:
    """Yield each model and condition of a batch of predictions once."""
    first_rows, _ = group_rows(predictions, ("model_version", "condition"))
    for row in first_rows.tolist():
        yield predictions["model_version"][row].as_py(), predictions["condition"][row].as_py()


def share_segments(
    element: tuple[int, pa.Table], sides: Sequence[Side], num_partitions: int
) -> Iterator[tuple[int, pa.RecordBatch | Unshared]]:
    """Sum up the shared segments of the pairs whose sides differ in a partition of the join.

    Args:
        element: the number of the partition, and its joined segments.
        sides: of all partitions.
        num_partitions: how many partitions of speakers there are.

    Yields:
        (partition of speakers, cells), with `Pair.label` in the place of the model version; and
        to every partition of speakers what differs.
    """
    partition, joined = element
    pairs = pairs_of(sides)
    if not pairs:
        return
    present = split_sides(joined)
    for pair in pairs:
        unshared, tables = _restrict(pair, present.get(pair.first), present.get(pair.second))
        for target in unshared:
            mark = Unshared(pair=pair, target=target, partition=partition)
            yield from ((number, mark) for number in range(num_partitions))
        for table in tables:
            for found in sum_up_speakers((partition, table), num_partitions):
                if not isinstance(found, TaggedOutput):
                    yield found


def separate_shared(
    element: tuple[int, Mapping[str, Iterable[Any]]],
) -> Iterator[tuple[int, list[pa.RecordBatch]] | TaggedOutput[Any, Any]]:
    """Yield the cells of a partition of speakers; for SHARED those of shared segments.

    Args:
        element: the number of the partition; CELLS_SIDE and what `share_segments` yields.
    """
    partition, sides = element
    cells = list(fetch(sides[CELLS_SIDE]))
    if cells:
        yield partition, cells
    marked: dict[tuple[Pair, str], list[int]] = {}
    shared = []
    for found in sides[SHARED_SIDE]:
        if isinstance(found, Unshared):
            marked.setdefault((found.pair, found.target), []).append(found.partition)
        else:
            shared.append(found)
    if marked and cells:
        table = to_table(cells)
        for (pair, target), partitions in marked.items():
            shared += _cells_that_agree(table, pair, target, partitions)
    if shared:
        yield TaggedOutput(SHARED, (partition, shared))


def _cells_that_agree(
    cells: pa.Table, pair: Pair, target: str, differing: list[int]
) -> Iterator[pa.RecordBatch]:
    """The sides' own cells, from the partitions of the join where their segments are the same."""
    differs = pc.is_in(cells["partition"], pa.array(differing, pa.int32()))
    is_wanted = pc.and_(pc.equal(cells["target"], target), pc.invert(differs))
    for number, (model, condition) in enumerate((pair.first, pair.second)):
        is_theirs = pc.equal(cells["model_version"], model)
        is_theirs = pc.and_(is_theirs, pc.equal(cells["condition"], condition))
        rows = cells.filter(pc.and_(is_wanted, is_theirs)).combine_chunks()
        if rows.num_rows:
            yield to_batch(_called(rows, pair.label(number)))


def split_sides(joined: pa.Table) -> dict[Side, pa.Table]:
    """Cut the joined segments, which are in the order of model and condition."""
    first_rows, groups = group_rows(joined, ("model_version", "condition"))
    sizes = np.bincount(groups).tolist()
    return {
        (joined["model_version"][row].as_py(), joined["condition"][row].as_py()): joined.slice(
            row, size
        ).combine_chunks()
        for row, size in zip(first_rows.tolist(), sizes, strict=True)
    }


def _restrict(
    pair: Pair, first: pa.Table | None, second: pa.Table | None
) -> tuple[list[str], list[pa.Table]]:
    """Return the targets whose segments differ, and both sides without what the other lacks."""
    if first is None or second is None:
        alone = first if first is not None else second
        return [] if alone is None else [t for t in TARGETS if _scored(alone, t).any()], []
    at = rows_among(array(first, "segment_id"), array(second, "segment_id"))
    unshared, keep_first, keep_second = [], {}, {}
    for target in TARGETS:
        of_first, of_second = _scored(first, target), _scored(second, target)
        shared = of_first & (at >= 0) & of_second[at]
        if shared.sum() == of_first.sum() == of_second.sum():
            continue
        unshared.append(target)
        keep_first[target] = shared
        keep_second[target] = np.zeros_like(of_second)
        keep_second[target][at[shared]] = True
    if not unshared:
        return [], []
    tables = [_only(first, keep_first, pair.label(0)), _only(second, keep_second, pair.label(1))]
    return unshared, [table for table in tables if table.num_rows]


def rows_among(ids: pa.Array, others: pa.Array) -> NDArray[np.intp]:
    """Return for each id its row among the others, -1 where it is not there."""
    if ids.equals(others):
        return np.arange(len(ids))
    return np.asarray(pc.fill_null(pc.index_in(ids, others), -1).to_numpy(), dtype=np.intp)


def _scored(side: pa.Table, target: str) -> Mask:
    return is_present(side, f"truth_{target}") & is_present(side, f"prediction_{target}")


def _only(side: pa.Table, keep: Mapping[str, Mask], label: str) -> pa.Table:
    """Blank out the predictions of segments and targets that are not kept."""
    for target in TARGETS:
        mask = keep.get(target, np.zeros(side.num_rows, dtype=np.bool_))
        name = f"prediction_{target}"
        column = array(side, name)
        blank = pa.nulls(side.num_rows, column.type)
        kept = pc.if_else(pa.array(mask), column, blank)
        side = side.set_column(side.column_names.index(name), name, kept)
    is_kept = np.any(list(keep.values()), axis=0)
    return _called(side.filter(pa.array(is_kept)).combine_chunks(), label)


def _called(rows: pa.Table, label: str) -> pa.Table:
    place = rows.column_names.index("model_version")
    return rows.set_column(place, "model_version", pa.repeat(label, rows.num_rows))
