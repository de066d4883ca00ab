"""What an audit found, in a screen of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from orchestration.comparison_text import break_point_lines, comparison_lines, system_lines
from orchestration.suite_text import suite_lines
from pipelines.audit_config import AuditSummary, is_judged
from ser_model import storage
from ser_model.schema import DIMENSIONS, SUPPRESSED

Row = Mapping[str, Any]

HEADLINES = {
    "concordance_cc": "CCC",
    "unweighted_average_recall": "UAR",
    "unweighted_average_precision": "UAP",
    "unweighted_average_f1": "F1",
    "accuracy": "WAR",
}
"""Metrics that are shown over all segments, and what the field calls them."""

_COMPARED = ("concordance_cc", "pearson_cc", "unweighted_average_recall")
"""Of these, the metrics in which models, conditions and systems are compared here."""

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
    "margin",
    "verdict",
    "reason",
    "minimum_detectable_effect",
)
"""Columns of statistics.parquet that the JSON of the command shows."""

_SERIOUS_FIRST = ("fail", "inconclusive", "pass", None, SUPPRESSED)

MAX_GAPS = 12
"""Gaps that are shown; all of them are in statistics.parquet."""


def audit_text(summary: AuditSummary) -> str:
    """Say how right and how fair each model is, and how many segments that rests on."""
    rows = summary.statistics.to_pylist()
    margins = summary.audit["configuration"]["margins"]
    headlines = _headline_metrics(summary.audit)
    lines: list[str] = []
    for counts in summary.audit["ledger"]["models"]:
        model = (counts["model_version"], counts["condition"])
        of_model = [row for row in rows if (row["model_version"], row["condition"]) == model]
        lines += [f"model {model[0]}, {model[1]}: {counts['matched']} segments audited"]
        lines += _headlines(of_model, headlines)
        lines += _gaps(of_model, margins)
        lines += _speakers(of_model)
        lines += _residuals(of_model)
        lines += [_join(counts)]
    judged = {name: headlines[name] for name in _COMPARED if name in headlines}
    lines += comparison_lines(rows, judged)
    lines += break_point_lines(rows, judged)
    lines += system_lines(summary.audit["systems"], judged)
    lines += suite_lines(summary.audit)
    lines += [f"note: {note}" for note in summary.audit["notes"]]
    lines += [
        f"statistics: {storage.join(summary.output, 'statistics.parquet')}",
        f"next: serval report {summary.output}",
    ]
    return "\n".join(lines)


def audit_data(summary: AuditSummary) -> dict[str, object]:
    """Return the same as JSON."""
    rows = summary.statistics.to_pylist()
    margins = summary.audit["configuration"]["margins"]
    headlines = _headline_metrics(summary.audit)
    compared = {f"{name}{kind}" for name in headlines for kind in ("_difference", "_change")}
    return {
        "output": summary.output,
        "ledger": summary.audit["ledger"],
        "notes": summary.audit["notes"],
        "verdicts": summary.audit["verdicts"],
        "suite": summary.audit.get("suite"),
        "statistics": [
            {name: row[name] for name in SHOWN_COLUMNS}
            for row in rows
            if row["slice_by"] == "" and row["metric"] in headlines
        ],
        "comparisons": [
            {name: row[name] for name in SHOWN_COLUMNS}
            for row in rows
            if row["slice_by"] in ("model_version", "condition") and row["metric"] in compared
        ],
        "systems": summary.audit["systems"],
        "gaps": [
            {name: row[name] for name in SHOWN_COLUMNS}
            for row in rows
            if is_judged(row["metric"], margins)
        ],
    }


def _headline_metrics(audit: Mapping[str, Any]) -> Mapping[str, str]:
    """HEADLINES; across corpora PCC stands in the place of CCC."""
    if not audit["configuration"]["cross_corpus"]:
        return HEADLINES
    others = {name: label for name, label in HEADLINES.items() if name != "concordance_cc"}
    return {"pearson_cc": "PCC", **others}


def _headlines(rows: Sequence[Row], headlines: Mapping[str, str]) -> list[str]:
    overall = [row for row in rows if row["slice_by"] == "" and row["metric"] in headlines]
    return [
        f"  {headlines[row['metric']]:<3}  {row['target']:<10} {_estimate(row)}" for row in overall
    ]


def _gaps(rows: Sequence[Row], margins: Mapping[str, float | None]) -> list[str]:
    gaps = [row for row in rows if is_judged(row["metric"], margins)]
    if not gaps:
        return ["  no groups to compare"]
    gaps.sort(key=lambda row: (_SERIOUS_FIRST.index(row["verdict"]), -abs(row["value"] or 0.0)))
    shown = [row for row in gaps if row["verdict"] != SUPPRESSED][:MAX_GAPS]
    width = max((len(row["slice"]) for row in shown), default=0)
    lines = ["  gaps between groups (first minus second; p adjusted for looking at many)"]
    for row in shown:
        metric = _metric_name(row["metric"])
        line = f"  {metric:<3}  {row['target']:<10} {row['slice']:<{width}} {_estimate(row)}"
        lines.append(line + _judgement(row))
    counts = Counter(row["verdict"] or "not tested" for row in gaps)
    verdicts = ", ".join(f"{num} {verdict}" for verdict, num in counts.items())
    lines.append(f"  {len(shown)} of {len(gaps)} gaps are shown: {verdicts}")
    return lines + _gender_scores(rows) + _suppressed(rows)


def _metric_name(gap: str) -> str:
    name = gap.removesuffix("_gap")
    return {**HEADLINES, "pearson_cc": "PCC"}.get(name, name)


def _gender_scores(rows: Sequence[Row]) -> list[str]:
    scores = [row for row in rows if row["metric"] == "gender_fairness_score"]
    if not any(row["value"] is not None for row in scores):
        return []
    values = ", ".join(f"{row['target']} {_number(row['value'])}" for row in scores)
    return [f"  gender fairness score (CCC of female minus CCC of male speakers): {values}"]


def _speakers(rows: Sequence[Row]) -> list[str]:
    by_metric = {
        (row["metric"], row["target"]): row for row in rows if row["metric"].startswith("speaker_")
    }
    lines = []
    for target in DIMENSIONS:
        quantiles = [
            by_metric.get((f"speaker_concordance_cc_{label}", target))
            for label in ("p05", "p50", "p95")
        ]
        shown = [_number(row["value"]) for row in quantiles if row is not None]
        if quantiles[0] is not None and quantiles[0]["value"] is not None:
            lines.append(
                f"  speakers' CCC of {target}: middle {shown[1]}, 5 % below {shown[0]}, "
                f"5 % above {shown[2]} ({quantiles[0]['num_speakers']} speakers)"
            )
    return lines


def _residuals(rows: Sequence[Row]) -> list[str]:
    """How far the line of residuals on the truth tilts, and which strata are predicted off."""
    slopes = [row for row in rows if row["slice_by"] == "" and row["metric"] == "residual_slope"]
    if not slopes:
        return []
    values = ", ".join(f"{row['target']} {_number(row['value'])}" for row in slopes)
    tested = [row for row in rows if row["metric"] == "residual_mean" and row["slice_by"]]
    off = sum(row["p_adjusted"] is not None and row["p_adjusted"] < 0.05 for row in tested)
    return [
        f"  slope of truth minus prediction on the truth (1: predictions do not follow): {values}",
        f"  mean residual differs from 0 in {off} of {len(tested)} groups and dimensions",
    ]


def _suppressed(rows: Sequence[Row]) -> list[str]:
    slices = {
        row["slice"]: row["reason"]
        for row in rows
        if row["verdict"] == SUPPRESSED and row["metric"] in HEADLINES
    }
    return [f"  not shown: {name}, {reason}" for name, reason in sorted(slices.items())]


def _estimate(row: Row) -> str:
    if row["value"] is None:
        return f"no value: {row['reason']}"
    if row["ci_low"] is None:
        return f"{row['value']:6.3f}  no interval: {row['reason']}"
    return f"{row['value']:6.3f}  [{row['ci_low']:6.3f}, {row['ci_high']:6.3f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _judgement(row: Row) -> str:
    if row["p_adjusted"] is None:
        return ""
    p = "p < .001" if row["p_adjusted"] < 0.001 else f"p = {row['p_adjusted']:.3f}"
    margin = "" if row["margin"] is None else f", margin {row['margin']:.3f}"
    seen = f", smallest gap to be seen {row['minimum_detectable_effect']:.3f}"
    return f"  {p}{margin}{seen}: {row['verdict']}"


def _join(counts: Mapping[str, Any]) -> str:
    return (
        f"  join: {counts['matched']} matched, {counts['unmatched_predictions']} predictions and "
        f"{counts['unmatched_metadata']} rows of metadata unmatched, "
        f"{counts['duplicate_predictions']} duplicates"
    )
