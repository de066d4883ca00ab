"""Numbers of `confusion.parquet`: counts, and means of the emotions weighed by their segments."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.reproduce.plan import Planner
from orchestration.reproduce.published import PublishedValue
from orchestration.reproduce.rows.audited import OfAudit, audit_of
from orchestration.reproduce.rows.over_seeds import by_seed, mean_of, plain_row
from orchestration.reproduce.rows.planned import Made, NotMadeError, OurNumber
from orchestration.reproduce.rows.statistics import choice_note
from ser_model.metrics.moments import Floats
from ser_model.metrics.recall import (
    Confusion,
    f1_per_class_of,
    precision_per_class_of,
    recall_per_class_of,
)

_CELL = re.compile(r"confusion\[([^,\]]+),([^,\]]+)\]")

_OF_CLASS: dict[str, Callable[[Confusion], Floats]] = {
    "weighted_average_precision": precision_per_class_of,
    "weighted_average_recall": recall_per_class_of,
    "weighted_average_f1": f1_per_class_of,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OfConfusion(OfAudit):
    """A number of a confusion matrix, or all of its cells."""

    def read(self, made: Made) -> tuple[OurNumber, ...]:
        """Read the mean over the seeds: one number, or one for each cell."""
        for step in self.predictions:
            made.find(step)
        table = made.table(self.audit, "confusion")
        found = [
            values_of(_matrix(table, step.name, self.row.condition), self.row.metric)
            for step in self.predictions
        ]
        seeds = [step.seed for step in self.predictions]
        slices = dict.fromkeys(name for values in found for name in values)
        note = choice_note(self.predictions, made)
        return tuple(
            replace(
                mean_of(by_seed([plain_row(values.get(name, 0.0)) for values in found], seeds)),
                slice=name,
                note=note,
            )
            for name in slices
        )


def plan(row: PublishedValue, planner: Planner) -> OfConfusion:
    """Plan the audit that counts.

    Raises:
        NotMadeError: the system is of other authors.
    """
    audit, of_system = audit_of(row, planner)
    return OfConfusion(row=row, audit=audit, predictions=of_system)


def values_of(matrix: Confusion, metric: str) -> Mapping[str, float]:
    """Return the values of a metric by slice; of all but the whole matrix one, without a name.

    Args:
        matrix: without a leading shape.
        metric: confusion, confusion[TRUTH,PREDICTION], or a weighted average.

    Example:
        >>> matrix = Confusion.from_values(["anger", "joy", "joy"], ["anger", "joy", "anger"])
        >>> values_of(matrix, "confusion[joy,anger]")
        {'': 1.0}
        >>> values_of(matrix, "weighted_average_precision")
        {'': 0.8333333333333334}
    """
    cells = {
        (truth, prediction): float(matrix.counts[row, column])
        for row, truth in enumerate(matrix.classes)
        for column, prediction in enumerate(matrix.classes)
    }
    if metric == "confusion":
        return {f"truth={t},prediction={p}": count for (t, p), count in cells.items()}
    cell = _CELL.fullmatch(metric)
    if cell is not None:
        return {"": cells.get((cell[1], cell[2]), 0.0)}
    of_class = np.nan_to_num(_OF_CLASS[metric](matrix))  # of an emotion never predicted: 0
    return {"": float(np.average(of_class, weights=matrix.counts.sum(axis=-1)))}


def _matrix(table: pa.Table, model: str, condition: str) -> Confusion:
    """Return the matrix of a model.

    Raises:
        NotMadeError: none of its segments has a truth.
    """
    chosen = pc.and_(
        pc.equal(table["model_version"], model), pc.equal(table["condition"], condition)
    )
    rows = table.filter(chosen).to_pylist()
    if not rows:
        raise NotMadeError("no segment has both an emotion as truth and one as prediction")
    classes = tuple(sorted({row[side] for row in rows for side in ("truth", "prediction")}))
    counts = np.zeros((len(classes), len(classes)))
    for row in rows:
        at = classes.index(row["truth"]), classes.index(row["prediction"])
        counts[at] = row["num_segments"]
    return Confusion(classes=classes, counts=counts)
