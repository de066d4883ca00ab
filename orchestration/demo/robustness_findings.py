"""What white noise does to the demo's model, read from its audit and said in a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.demo.findings import interval_text, p_text
from ser_model import storage
from ser_model.schema import CLEAN, DIMENSIONS

Row = Mapping[str, Any]

FAMILY = "condition=white-noise-*db"
SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustnessFindings:
    """The numbers of the summary.

    Attributes:
        break_points: for each dimension the signal-to-noise ratio from which on the CCC falls.
        loses_most: of the gaps in the change of the CCC between an accent and the rest the lowest,
            under any level of noise and in any dimension; None where none is below 0.
    """

    break_points: Mapping[str, Row]
    loses_most: Row | None

    def as_data(self) -> dict[str, object]:
        """Return what `--json` prints."""
        fields = ("condition", "slice", "target", "value", "ci_low", "ci_high", "p_adjusted")
        row = self.loses_most
        return {
            "break_points": {
                dimension: {field: row[field] for field in ("value", "margin", "reason")}
                for dimension, row in self.break_points.items()
            },
            "loses_most": None if row is None else {field: row[field] for field in fields},
        }

    def as_text(self) -> str:
        """Return lines for people."""
        margins = {row["margin"] for row in self.break_points.values()}
        drop = " or ".join(f"{margin:g}".removeprefix("0") for margin in sorted(margins))
        lines = [f"white noise: the SNR from which on CCC is shown to fall by more than {drop}"]
        lines += [f"  {name:<12}{_level(row)}" for name, row in self.break_points.items()]
        if self.loses_most is None:
            return "\n".join([*lines, "no accent loses more than the rest"])
        row = self.loses_most
        gap, level = f"{_comparison(row)} {row['target']}", row["condition"]
        return "\n".join(
            [
                *lines,
                f"largest loss of an accent beyond that of the rest: {_shown(row)}",
                f"  {gap:<36}{interval_text(row)}  {p_text(row['p_adjusted'])}  {level}".rstrip(),
            ]
        )


def read_robustness(audit: str) -> RobustnessFindings:
    """Read the tables of an audit.

    Args:
        audit: folder that `serval audit` wrote, of a run under the levels of white noise.
    """
    rows = storage.read_table(storage.join(audit, "statistics.parquet")).to_pylist()
    breaks = {
        row["target"]: row
        for row in rows
        if row["slice"] == FAMILY and row["metric"] == "concordance_cc_break_point"
    }
    return RobustnessFindings(
        break_points={dimension: breaks[dimension] for dimension in DIMENSIONS},
        loses_most=_lowest(rows),
    )


def _lowest(rows: Sequence[Row]) -> Row | None:
    """Return the lowest gap of an accent's change and the rest's."""
    gaps = [
        row
        for row in rows
        if row["metric"] == "concordance_cc_change_gap"
        and row["slice_by"] == "condition,accent"
        and row["condition"].startswith("white-noise-")
        and row["slice"].endswith("-rest")
        and row["value"] is not None
        and row["value"] < 0
    ]
    return min(gaps, key=lambda row: (row["value"], row["condition"], row["slice"]), default=None)


def _comparison(row: Row) -> str:
    return str(row["slice"]).removeprefix(f"condition={row['condition']}-condition={CLEAN},")


def _level(row: Row) -> str:
    value, reason = row["value"], row["reason"]
    level = "none" if value is None else f"{value:g} dB"
    return level if reason is None else f"{level} ({reason})"


def _shown(row: Row) -> str:
    is_shown = row["p_adjusted"] is not None and row["p_adjusted"] < SIGNIFICANCE
    return f"{'shown' if is_shown else 'not shown'} (p adjusted for looking at many)"
