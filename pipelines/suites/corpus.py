"""What there is in an audit to be tested; the same for all of its models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.suites.suite_test import Row
from ser_model.schema import CLEAN

REST_SUFFIX = "-rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """What the list of tests depends on: never on what a single model predicts.

    Attributes:
        targets: dimensions and "emotion" that any model was scored on, under any condition.
        emotions: those in the truth.
        groupings: for which the metadata has columns.
        groups: by grouping the groups that are held against the rest, "sex=female".
    """

    targets: frozenset[str]
    emotions: tuple[str, ...]
    groupings: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]

    @classmethod
    def from_statistics(cls, rows: Iterable[Row], groupings: Sequence[str]) -> Corpus:
        """Find it in the rows of schema.STATISTICS."""
        targets: set[str] = set()
        emotions: set[str] = set()
        groups: dict[str, set[str]] = {name: set() for name in groupings}
        for row in rows:
            if row["slice_by"] == "":
                targets.add(row["target"])
            if row["condition"] != CLEAN:
                continue
            if row["slice_by"] == "":
                if row["target"] == "emotion" and row["value"] is not None:
                    kind, _, name = row["metric"].partition("[")
                    # Recall has a value where the emotion is in the truth.
                    emotions |= {name.removesuffix("]")} if kind == "recall" else set()
            elif row["slice_by"] in groups and row["metric"].startswith("matched_"):
                name = row["slice"]
                if name.endswith(REST_SUFFIX):
                    groups[row["slice_by"]].add(name.removesuffix(REST_SUFFIX))
        return cls(
            targets=frozenset(targets),
            emotions=tuple(sorted(emotions)),
            groupings=tuple(groupings),
            groups={name: tuple(sorted(found)) for name, found in groups.items()},
        )
