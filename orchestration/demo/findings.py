"""What the demo's audit found, read from its tables and said in a few lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ser_model import storage
from ser_model.schema import CLEAN, DIMENSIONS

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The numbers of the summary.

    Attributes:
        overall: for each dimension the statistic of the CCC over all test segments.
        gaps: statistics of the gaps in CCC: by sex, and each accent against the rest.
        planted: the gap that was planted, as `slice` names it.
        found_in: dimensions in which the audit calls it unfair.
    """

    overall: Mapping[str, Row]
    gaps: tuple[Row, ...]
    planted: str
    found_in: tuple[str, ...]

    def as_data(self) -> dict[str, object]:
        """Return what `--json` prints."""
        fields = ("value", "ci_low", "ci_high")
        return {
            "concordance_cc": {
                dimension: {field: row[field] for field in fields}
                for dimension, row in self.overall.items()
            },
            "gaps": [
                {
                    field: row[field]
                    for field in ("slice", "target", *fields, "p_adjusted", "verdict")
                }
                for row in self.gaps
            ],
            "planted_gap": {
                "slice": self.planted,
                "found": bool(self.found_in),
                "found_in": list(self.found_in),
            },
        }

    def as_text(self) -> str:
        """Return tables for people."""
        lines = ["CCC on unseen speakers, with 95 % intervals"]
        lines += [f"  {name:<26}{interval_text(row)}" for name, row in self.overall.items()]
        lines += [f"gaps in CCC between groups of speakers; {_margin(self.gaps)}"]
        for row in self.gaps:
            verdict = row["verdict"] or ""
            name = f"{row['slice']} {row['target']}"
            lines.append(
                f"  {name:<36}{interval_text(row)}  {p_text(row['p_adjusted'])}  {verdict}".rstrip()
            )
        found = f"FOUND, in {', '.join(self.found_in)}" if self.found_in else "NOT FOUND"
        return "\n".join([*lines, f"planted gap {self.planted}: {found}"])


def read_findings(audit: str, planted_gap: str) -> Findings:
    """Read the tables of an audit.

    Args:
        audit: folder that `serval audit` wrote.
        planted_gap: `slice` of the gap that the corpus plants, "accent=scottish-rest".
    """
    table = storage.read_table(storage.join(audit, "statistics.parquet"))
    rows = [row for row in table.to_pylist() if row["condition"] == CLEAN]
    overall = {
        row["target"]: row
        for row in rows
        if row["slice_by"] == "" and row["metric"] == "concordance_cc"
    }
    gaps = [row for row in rows if row["metric"] == "concordance_cc_gap"]
    shown = [row for row in gaps if row["slice_by"] == "sex" or row["slice"].endswith("-rest")]
    found = {
        row["target"]
        for row in gaps
        if row["slice"] == planted_gap and row["verdict"] == "fail" and row["value"] < 0
    }
    return Findings(
        overall={dimension: overall[dimension] for dimension in DIMENSIONS},
        gaps=tuple(sorted(shown, key=lambda row: (row["slice_by"], row["slice"]))),
        planted=planted_gap,
        found_in=tuple(dimension for dimension in DIMENSIONS if dimension in found),
    )


def _margin(gaps: Sequence[Row]) -> str:
    margins = {row["margin"] for row in gaps if row["margin"] is not None}
    shown = " or ".join(_short(margin) for margin in sorted(margins))
    return f"within {shown or 'any margin'} they pass (p adjusted for looking at many)"


def _short(value: float) -> str:
    return f"{value:.3f}".rstrip("0").replace("0.", ".")


def interval_text(row: Row) -> str:
    """Write a value with its interval, or with the reason why it has none."""
    if row["ci_low"] is None:
        return f"{_number(row['value'])}  no interval: {row['reason']}"
    return f"{_number(row['value'])}  [{_number(row['ci_low'])}, {_number(row['ci_high'])}]"


def _number(value: float | None) -> str:
    return "   -" if value is None else f"{value:+.2f}".replace("+", " ")


def p_text(value: float | None) -> str:
    """Write a p-value; blanks where there is none."""
    if value is None:
        return "        "
    return "p < .001" if value < 0.001 else f"p = {value:.3f}".replace("0.", ".")
