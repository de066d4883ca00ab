"""What an audit found of models, conditions and systems side by side, in some lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

MAX_COMPARISONS = 12
"""Comparisons that are shown; all of them are in statistics.parquet."""

_KINDS = {"_difference": "differences between models", "_change": "changes from clean audio"}


def comparison_lines(rows: Sequence[Row], headlines: Mapping[str, str]) -> list[str]:
    """Say how models differ, and how conditions change them, over all segments.

    Args:
        rows: schema.STATISTICS of a whole audit.
        headlines: what the shown metrics are called.
    """
    lines = []
    for suffix, title in _KINDS.items():
        names = {f"{metric}{suffix}": label for metric, label in headlines.items()}
        found = [
            row
            for row in rows
            if row["metric"] in names and row["slice_by"] in ("model_version", "condition")
        ]
        if not found:
            continue
        lines.append(f"{title} (first minus second; the same segments and draws of speakers)")
        for row in found[:MAX_COMPARISONS]:
            label = f"{names[row['metric']]:<3}  {row['target']:<10}"
            lines.append(f"  {label} {_sides(row)} {_estimate(row)}{_p_value(row)}")
        if len(found) > MAX_COMPARISONS:
            others = len(found) - MAX_COMPARISONS
            lines.append(f"  {others} more are in statistics.parquet")
    return lines


def break_point_lines(rows: Sequence[Row], headlines: Mapping[str, str]) -> list[str]:
    """Say from which severity on conditions cost a model too much, over all segments.

    Args:
        rows: schema.STATISTICS of a whole audit.
        headlines: what the shown metrics are called.
    """
    names = {f"{metric}_break_point": label for metric, label in headlines.items()}
    found = [row for row in rows if row["metric"] in names and row["slice_by"] == "condition"]
    if not found:
        return []
    drop = found[0]["margin"]
    lines = [f"break points (mildest level from which on all are shown to cost more than {drop})"]
    for row in found[:MAX_COMPARISONS]:
        label = f"{names[row['metric']]:<3}  {row['target']:<10}"
        value = "none" if row["value"] is None else f"{row['value']:g}"
        why = "" if row["reason"] is None else f", {row['reason']}"
        family = row["slice"].removeprefix("condition=")
        lines.append(f"  {label} {family}, model {row['model_version']}: {value}{why}")
    if len(found) > MAX_COMPARISONS:
        lines.append(f"  {len(found) - MAX_COMPARISONS} more are in statistics.parquet")
    return lines


def system_lines(rows: Sequence[Row], headlines: Mapping[str, str]) -> list[str]:
    """Say how systems score over their runs, and how they differ.

    Args:
        rows: `pipelines.systems.SYSTEM_ROWS`.
        headlines: what the shown metrics are called.
    """
    lines = []
    for row in rows:
        if row["metric"] not in headlines:
            continue
        label = f"{headlines[row['metric']]:<3}  {row['target']:<10}"
        if row["value"] is None:
            text = f"no value: {row['reason']}"
        elif row["other_system"] is None:
            text = f"{row['value']:.3f} (standard deviation {row['standard_deviation']:.3f})"
        else:
            text = f"{row['value']:.3f}{_p_value(row)}"
        name = "-".join(filter(None, (row["system"], row["other_system"])))
        lines.append(f"  {label} {row['condition']} {name}: {text}")
    if lines:
        lines.insert(0, "systems over their runs (t-test between means of runs)")
    return lines


def _sides(row: Row) -> str:
    """Both sides, and what they have in common."""
    if row["slice_by"] == "model_version":
        return f"{row['slice'].replace('model_version=', '')}, {row['condition']}:"
    return f"{row['slice'].replace('condition=', '')}, model {row['model_version']}:"


def _estimate(row: Row) -> str:
    if row["value"] is None:
        return f"no value: {row['reason']}"
    if row["ci_low"] is None:
        return f"{row['value']:.3f}  no interval: {row['reason']}"
    return f"{row['value']:.3f}  [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"


def _p_value(row: Row) -> str:
    if row["p_adjusted"] is None:
        return ""
    return "  p < .001" if row["p_adjusted"] < 0.001 else f"  p = {row['p_adjusted']:.3f}"
