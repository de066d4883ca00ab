"""What an audit found, in a screen of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.audit_config import JUDGED_METRICS, AuditSummary
from ser_model import storage

Row = Mapping[str, Any]

HEADLINES = {
    "concordance_cc": "CCC",
    "unweighted_average_recall": "UAR",
    "unweighted_average_precision": "UAP",
    "unweighted_average_f1": "F1",
    "accuracy": "WAR",
}
"""Metrics that are shown over all segments, and what the field calls them."""

SHOWN_COLUMNS = (
    "model_version",
    "condition",
    "slice",
    "target",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "p_adjusted",
    "verdict",
    "reason",
)
"""Columns of statistics.parquet that the JSON of the command shows."""

MAX_GAPS = 12
"""Gaps that are shown; all of them are in statistics.parquet."""


def audit_text(summary: AuditSummary) -> str:
    """Say how right and how fair each model is, and how many segments that rests on."""
    rows = summary.statistics.to_pylist()
    lines: list[str] = []
    for counts in summary.audit["ledger"]["models"]:
        model = (counts["model_version"], counts["condition"])
        of_model = [row for row in rows if (row["model_version"], row["condition"]) == model]
        lines += [f"model {model[0]}, {model[1]}: {counts['matched']} segments audited"]
        lines += _headlines(of_model)
        lines += _gaps(of_model)
        lines += [_join(counts)]
    lines += [f"note: {note}" for note in summary.audit["notes"]]
    lines += [
        f"statistics: {storage.join(summary.output, 'statistics.parquet')}",
        f"next: serval report {summary.output}",
    ]
    return "\n".join(lines)


def audit_data(summary: AuditSummary) -> dict[str, object]:
    """Return the same as JSON."""
    rows = summary.statistics.to_pylist()
    return {
        "output": summary.output,
        "ledger": summary.audit["ledger"],
        "notes": summary.audit["notes"],
        "verdicts": summary.audit["verdicts"],
        "statistics": [
            {name: row[name] for name in SHOWN_COLUMNS}
            for row in rows
            if row["slice_by"] == "" and row["metric"] in HEADLINES
        ],
        "gaps": [
            {name: row[name] for name in SHOWN_COLUMNS}
            for row in rows
            if row["metric"] in JUDGED_METRICS
        ],
    }


def _headlines(rows: Sequence[Row]) -> list[str]:
    overall = [row for row in rows if row["slice_by"] == "" and row["metric"] in HEADLINES]
    return [
        f"  {HEADLINES[row['metric']]:<3}  {row['target']:<10} {_estimate(row)}" for row in overall
    ]


def _gaps(rows: Sequence[Row]) -> list[str]:
    gaps = [row for row in rows if row["metric"] in JUDGED_METRICS]
    if not gaps:
        return ["  no groups to compare"]
    gaps.sort(key=lambda row: (row["verdict"] != "fail", -abs(row["value"] or 0.0)))
    width = max(len(row["slice"]) for row in gaps[:MAX_GAPS])
    lines = ["  gaps between groups (first minus second; p adjusted for looking at many)"]
    for row in gaps[:MAX_GAPS]:
        metric = HEADLINES[row["metric"].removesuffix("_gap")]
        line = f"  {metric}  {row['target']:<10} {row['slice']:<{width}} {_estimate(row)}"
        lines.append(line + _judgement(row))
    if len(gaps) > MAX_GAPS:
        lines.append(f"  and {len(gaps) - MAX_GAPS} more")
    return lines


def _estimate(row: Row) -> str:
    if row["value"] is None:
        return f"no value: {row['reason']}"
    if row["ci_low"] is None:
        return f"{row['value']:6.3f}  no interval: {row['reason']}"
    return f"{row['value']:6.3f}  [{row['ci_low']:6.3f}, {row['ci_high']:6.3f}]"


def _judgement(row: Row) -> str:
    if row["p_adjusted"] is None:
        return ""
    p = "p < .001" if row["p_adjusted"] < 0.001 else f"p = {row['p_adjusted']:.3f}"
    return f"  {p}  {row['verdict']}"


def _join(counts: Mapping[str, Any]) -> str:
    return (
        f"  join: {counts['matched']} matched, {counts['unmatched_predictions']} predictions and "
        f"{counts['unmatched_metadata']} rows of metadata unmatched, "
        f"{counts['duplicate_predictions']} duplicates"
    )
