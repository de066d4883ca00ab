"""The predictions of one system and seed, in a file and under the name that the table gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from orchestration.committed import read_in_order
from orchestration.found_runs import find_run
from orchestration.reproduce.steps.base import Context, PredictingStep, Step
from ser_model import storage
from ser_model.manifest_checks import replace_column
from ser_model.schema import DIMENSIONS, EMBEDDING

_KEPT = (
    *("segment_id", "condition", *DIMENSIONS, "emotion", "emotion_scores"),
    *("duration_s", EMBEDDING.name),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionsStep(Step):
    """Copies predictions under the name that an audit is to know them by.

    Attributes:
        system: name in the table.
        seed: of its training; None for the one that is best on dev.
        fold: of its training, counted from 0; None for all folds together.
        source: leaves the predictions.
        dimensions: that were learned; the others are emptied, for the head of a training of one
            dimension says something of all three.
    """

    kind: ClassVar[str] = "predictions"
    verb: ClassVar[str] = "gather"
    system: str
    seed: int | None
    fold: int | None = None
    source: PredictingStep
    dimensions: tuple[str, ...] = DIMENSIONS

    @property
    def name(self) -> str:
        """What the audit calls this model."""
        of_seed = "best seed" if self.seed is None else f"seed {self.seed}"
        return f"{self.system} {of_seed}" + ("" if self.fold is None else f" fold {self.fold + 1}")

    @property
    def content(self) -> Mapping[str, object]:
        """The name is in the file."""
        return {"name": self.name, "dimensions": list(self.dimensions)}

    @property
    def inputs(self) -> tuple[Step, ...]:
        """What predicts."""
        return (self.source,)

    def uri(self, work: str) -> str:
        """Return the file."""
        return storage.join(self.folder(work), "predictions.parquet")

    def run(self, context: Context) -> None:
        """Copy them."""
        table = read_predictions(self.source, context.work, self.seed)
        for dimension in set(DIMENSIONS) - set(self.dimensions):
            table = replace_column(table, dimension, pa.nulls(len(table), pa.float32()))
        table = table.append_column(
            "model_version", pa.array([self.name] * len(table), pa.string())
        )
        storage.write_table(self.uri(context.work), table)


def read_predictions(source: PredictingStep, work: str, seed: int | None) -> pa.Table:
    """Return what a step predicts, without the names that its models have.

    Raises:
        RunError: the run is damaged.
    """
    files = find_run(source.predictions(work, seed)).files
    table = pa.concat_tables(read_in_order(files))
    return table.select([name for name in _KEPT if name in table.column_names])
