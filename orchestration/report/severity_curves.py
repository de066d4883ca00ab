"""Scores over the severity of a condition, with their intervals and the break point."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestration.report import wording
from orchestration.report.audit_folder import Statistic
from orchestration.report.figures import (
    PLOT_HEIGHT,
    PLOT_WIDTH,
    Axis,
    band_path,
    interval_axis,
)
from pipelines.transforms.severities import families_of, severity_of
from ser_model.schema import CLEAN

MAX_FAMILIES = 8
"""Of conditions: those with the most levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level of severity.

    Attributes:
        label: its number.
        x: where it stands, levels being at even distances.
        statistic: the score.
    """

    label: str
    x: float
    statistic: Statistic


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityCurve:
    """A score over the levels of a family of conditions, from mild to harsh.

    Attributes:
        family: "white-noise-*db".
        target: a dimension or "emotion".
        metric: the score.
        levels: those with a value.
        break_point: the row that says from which level on it costs too much, or why none; or None.
        break_x: where that level stands, or None.
        axis: the scale of the y axis, which all curves share.
        tick_y: y of each tick of the axis.
        line: path through the values.
        points: path of the values.
        bands: path around the intervals; empty where there are none.
        clean_y: y of the score on clean audio, or None.
    """

    family: str
    target: str
    metric: str
    levels: tuple[Level, ...]
    break_point: Statistic | None
    break_x: float | None
    axis: Axis
    tick_y: tuple[float, ...]
    line: str
    points: str
    bands: str
    clean_y: float | None


def severity_curves(
    statistics: Iterable[Statistic], conditions: Iterable[str], headlines: Mapping[str, str]
) -> tuple[tuple[SeverityCurve, ...], int]:
    """Return the curves of a model, of MAX_FAMILIES families at most, and how many there are.

    Args:
        statistics: of the model.
        conditions: those that are compared with clean audio.
        headlines: the score of each target.
    """
    rows = list(statistics)
    scores = {(s.condition, s.target, s.metric): s for s in rows if not s.slice_by}
    breaks = {
        (s.slice, s.target, s.metric): s
        for s in rows
        if s.slice_by == "condition" and s.metric.endswith("_break_point")
    }
    families = families_of(conditions)
    chosen = sorted(families, key=lambda name: (-len(families[name]), name))[:MAX_FAMILIES]
    drawn = {
        (family, target, metric): [
            row
            for condition in families[family]
            if (row := scores.get((condition, target, metric))) and row.value is not None
        ]
        for family in sorted(chosen)
        for target, metric in headlines.items()
    }
    clean = {t: scores.get((CLEAN, t, metric)) for t, metric in headlines.items()}
    shown = [row for of_curve in (*drawn.values(), clean.values()) for row in of_curve if row]
    axis = interval_axis(shown, include=(0.0,))
    curves = tuple(
        _curve(key, levels, clean[key[1]], breaks, axis)
        for key, levels in drawn.items()
        if len(levels) > 1
    )
    return curves, len(families) * len(headlines)


def _curve(
    key: tuple[str, str, str],
    rows: Sequence[Statistic],
    clean: Statistic | None,
    breaks: Mapping[tuple[str, str, str], Statistic],
    axis: Axis,
) -> SeverityCurve:
    family, target, metric = key

    def y(value: float) -> float:
        return round(PLOT_HEIGHT * (1.0 - axis.percent(value) / 100.0), 1)

    step = PLOT_WIDTH / len(rows)
    levels = tuple(_level(row, round(step * (n + 0.5), 1)) for n, row in enumerate(rows))
    at = [(level.x, y(level.statistic.value or 0.0)) for level in levels]
    break_point = breaks.get((f"condition={family}", target, f"{metric}_break_point"))
    is_at_break = [_number(row) == break_point.value for row in rows] if break_point else []
    return SeverityCurve(
        family=family,
        target=target,
        metric=metric,
        levels=levels,
        break_point=break_point,
        break_x=next((x for (x, _), found in zip(at, is_at_break, strict=False) if found), None),
        axis=axis,
        tick_y=tuple(y(tick) for tick in axis.ticks),
        line="M" + "L".join(f"{x:g} {height:g}" for x, height in at),
        points="".join(f"M{x:g} {height:g}h0" for x, height in at),
        bands=_bands(levels, y),
        clean_y=None if clean is None or clean.value is None else y(clean.value),
    )


def _level(row: Statistic, x: float) -> Level:
    return Level(label=wording.tick(_number(row) or 0.0), x=x, statistic=row)


def _number(row: Statistic) -> float | None:
    severity = severity_of(row.condition)
    return None if severity is None else severity.number


def _bands(levels: Sequence[Level], y: Callable[[float], float]) -> str:
    intervals = ((level.x, level.statistic.ci_low, level.statistic.ci_high) for level in levels)
    return band_path(
        None if low is None or high is None else (x, y(low), y(high)) for x, low, high in intervals
    )
