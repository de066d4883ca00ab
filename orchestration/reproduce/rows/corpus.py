"""Numbers of the truth alone: how many segments of each emotion, and where a dimension lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.reproduce.plan import Planner
from orchestration.reproduce.published import PublishedValue
from orchestration.reproduce.rows.planned import Made, NotMadeError, OurNumber
from orchestration.reproduce.steps.base import Step
from orchestration.reproduce.steps.corpus import CorpusStep
from ser_model import storage

QUANTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfCorpus:
    """The distribution of a target's truth, in all of a part or in a slice of it.

    Attributes:
        row: that it is for.
        corpus: the part.
    """

    row: PublishedValue
    corpus: CorpusStep

    @property
    def steps(self) -> tuple[Step, ...]:
        """The manifest of the part."""
        return (self.corpus,)

    def read(self, made: Made) -> tuple[OurNumber, ...]:
        """Count."""
        manifest = storage.read_table(made.find(self.corpus).uri(made.work))
        return distribution(manifest, self.row.target, self.row.slice)


def plan(row: PublishedValue, planner: Planner) -> OfCorpus:
    """Plan the manifest."""
    return OfCorpus(row=row, corpus=planner.corpus(row.test, row.target))


def distribution(manifest: pa.Table, target: str, slice_: str) -> tuple[OurNumber, ...]:
    """Return the count of each emotion, or the quartiles of a dimension.

    Args:
        manifest: with truth.
        target: emotion, or a dimension on 0 to 1.
        slice_: COLUMN=VALUE; "" for all segments.

    Raises:
        NotMadeError: a column is absent, or no segment of the slice has a truth.

    Example:
        >>> manifest = pa.table({"emotion": ["joy", "anger", "joy"], "sex": ["female"] * 3})
        >>> [(n.slice, n.value) for n in distribution(manifest, "emotion", "sex=female")]
        [('sex=female,emotion=anger', 1.0), ('sex=female,emotion=joy', 2.0)]
    """
    column, _, value = slice_.partition("=")
    for name in filter(None, (column, target)):
        if name not in manifest.column_names:
            raise NotMadeError(f"the corpus has no column {name!r}")
    rows = manifest.filter(pc.equal(manifest[column], value)) if column else manifest
    truth = rows[target].drop_null()
    if not len(truth):
        raise NotMadeError(f"no segment of {slice_ or 'the corpus'} has a truth for {target}")
    if target == "emotion":
        counts = {
            entry["values"].as_py(): entry["counts"].as_py() for entry in truth.value_counts()
        }
        values = {f"emotion={name}": float(counts[name]) for name in sorted(counts)}
    else:
        found = np.quantile(truth.to_numpy(), QUANTILES)
        values = {f"quantile={q}": float(v) for q, v in zip(QUANTILES, found, strict=True)}
    note = f"of {len(truth)} segments"
    return tuple(
        OurNumber(value=v, num_seeds=0, slice=",".join(filter(None, (slice_, name))), note=note)
        for name, v in values.items()
    )
