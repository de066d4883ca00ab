"""Says which comparisons rest on fewer segments than the sides have."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

MAX_NOTES = 10
"""So many comparisons are named; of the others only how many they are."""

_COUNTED = ("bias", "accuracy")
"""A metric of each kind of target that every side has a row of."""


def coverage_notes(statistics: pa.Table) -> list[str]:
    """Return a note for each pair of models, or condition, whose sides have other segments.

    Args:
        statistics: schema.STATISTICS of a whole audit.
    """
    names = [f"{name}{kind}" for name in _COUNTED for kind in ("", "_difference", "_change")]
    is_wanted = pc.and_(
        pc.is_in(statistics["metric"], pa.array(names)),
        pc.is_in(statistics["slice_by"], pa.array(["", "model_version", "condition"])),
    )
    rows = statistics.filter(is_wanted).to_pylist()
    counts = {
        (row["model_version"], row["condition"], row["target"]): row["num_segments"]
        for row in rows
        if row["slice_by"] == ""
    }
    found: dict[str, list[str]] = {}
    for row in rows:
        own = counts.get((row["model_version"], row["condition"], row["target"]), 0)
        other = counts.get((*_other_side(row), row["target"]), 0)
        if row["slice_by"] and not own == other == row["num_segments"]:
            shared = f"{row['target']} {row['num_segments']} of {own} and {other}"
            found.setdefault(f"{row['slice']}, {_rest(row)}", []).append(shared)
    notes = [
        f"{name}: compared on the segments that both have: {', '.join(shared)}"
        for name, shared in found.items()
    ]
    if len(notes) > MAX_NOTES:
        others = f"{len(notes) - MAX_NOTES} more comparisons rest on the segments that both have"
        return [*notes[:MAX_NOTES], others]
    return notes


def _other_side(row: dict[str, str]) -> tuple[str, str]:
    """Model version and condition of what a row is compared with."""
    own = f"{row['slice_by']}={row[row['slice_by']]}-{row['slice_by']}=" if row["slice_by"] else ""
    other = row["slice"].removeprefix(own)
    if row["slice_by"] == "model_version":
        return other, row["condition"]
    return row["model_version"], other


def _rest(row: dict[str, str]) -> str:
    """What both sides have in common."""
    if row["slice_by"] == "model_version":
        return row["condition"]
    return f"model {row['model_version']}"
