"""Quantiles of residuals by slice: boxes from p25 to p75, with whiskers from p5 to p95."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestration.report import wording
from orchestration.report.audit_folder import Statistic
from orchestration.report.figures import Axis, interval_axis

MAX_COLUMNS = 6
MAX_BOXES = 12

QUANTILE_METRICS = tuple(f"residual_p{percent}" for percent in ("05", "25", "50", "75", "95"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """The quantiles of one slice and target, by QUANTILE_METRICS."""

    slice: str
    num_segments: int
    quantiles: tuple[Statistic, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxColumn:
    """The boxes by some metadata columns; `slice_by` is empty for all segments.

    Attributes:
        slice_by: the columns.
        boxes: by target those of the largest MAX_BOXES slices.
        num_slices: how many slices there are.
        num_shown: how many of them are shown.
    """

    slice_by: str
    boxes: tuple[tuple[str, tuple[Box, ...]], ...]
    num_slices: int
    num_shown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxPanel:
    """All boxes of one model under one condition, on one scale.

    Attributes:
        axis: the scale.
        columns: all segments, then MAX_COLUMNS metadata columns at most.
        num_columns: how many metadata columns there are.
    """

    axis: Axis
    columns: tuple[BoxColumn, ...]
    num_columns: int


def box_panel(statistics: Sequence[Statistic]) -> BoxPanel | None:
    """Arrange the quantiles of one model and condition; None where there are none."""
    found: dict[tuple[str, str], dict[str, dict[str, Statistic]]] = {}
    for row in statistics:
        if row.metric in QUANTILE_METRICS and row.value is not None:
            of_slice = found.setdefault((row.slice_by, row.slice), {})
            of_slice.setdefault(row.target, {})[row.metric] = row
    if not found:
        return None
    # All segments stand first: no other columns have an empty name.
    columns = sorted({slice_by for slice_by, _ in found} | {""})
    panels = tuple(
        _column(by, {name: of for (column, name), of in found.items() if column == by})
        for by in columns[: 1 + MAX_COLUMNS]
    )
    shown = [
        row
        for column in panels
        for _, boxes in column.boxes
        for box in boxes
        for row in box.quantiles
    ]
    return BoxPanel(
        axis=interval_axis(shown, include=(0.0,)), columns=panels, num_columns=len(columns) - 1
    )


def _column(
    slice_by: str, slices: Mapping[str, Mapping[str, Mapping[str, Statistic]]]
) -> BoxColumn:
    boxes: dict[str, list[Box]] = {}
    for name, of_slice in slices.items():
        for target, by_metric in of_slice.items():
            if set(by_metric) == set(QUANTILE_METRICS):
                quantiles = tuple(by_metric[metric] for metric in QUANTILE_METRICS)
                box = Box(slice=name, num_segments=quantiles[0].num_segments, quantiles=quantiles)
                boxes.setdefault(target, []).append(box)
    sizes = dict.fromkeys(slices, 0)
    for box in (box for of_target in boxes.values() for box in of_target):
        sizes[box.slice] = max(sizes[box.slice], box.num_segments)
    largest = set(sorted(sizes, key=lambda name: (-sizes[name], name))[:MAX_BOXES])
    return BoxColumn(
        slice_by=slice_by,
        boxes=tuple(
            (target, tuple(box for box in sorted(boxes[target], key=_name) if box.slice in largest))
            for target in wording.TARGETS
            if target in boxes
        ),
        num_slices=len(slices),
        num_shown=len(largest),
    )


def _name(box: Box) -> str:
    return box.slice
