"""Where each mark of a figure stands. Numbers only: the template `figures.html.j2` draws them.

Marks of one kind are one SVG path, however many there are, which keeps figures small. Coordinates
are rounded, so that equal inputs give equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestration.report.audit_folder import Statistic

DENSITY_BINS = 20
DENSITY_LEVELS = 8
PLOT_WIDTH, PLOT_HEIGHT = 300.0, 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A scale from `low` to `high` with its ticks, all in the statistic's own unit."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def percent(self, value: float) -> float:
        """Return where a value stands from the left, 0 to 100; beyond the ends at the ends."""
        share = (value - self.low) / (self.high - self.low)
        return round(100.0 * min(max(share, 0.0), 1.0), 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class DensityFigure:
    """Counts on the grid of truth (x) and prediction (y), in cells of 1 by 1.

    Attributes:
        levels: for each shade from light to dark its opacity and the path of its cells.
        num_segments: all of them.
    """

    levels: tuple[tuple[float, str], ...]
    num_segments: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaterpillarFigure:
    """Speakers side by side, sorted by their statistic, each with its interval.

    Attributes:
        axis: the scale of the y axis.
        tick_y: y of each tick of the axis.
        points: path of the values.
        whiskers: path of the intervals; empty where no speaker has one.
        reference_y: y of the statistic of all segments, or None.
        radius: half the width of a point.
    """

    axis: Axis
    tick_y: tuple[float, ...]
    points: str
    whiskers: str
    reference_y: float | None
    radius: float


def axis_around(values: Iterable[float | None], *, include: Sequence[float] = ()) -> Axis:
    """Return an axis with round ticks around the values that are there.

    >>> axis_around([-0.31, 0.12], include=[0.0]).ticks
    (-0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2)
    """
    present = [value for value in (*values, *include) if value is not None]
    low, high = (min(present), max(present)) if present else (0.0, 1.0)
    span = max(high - low, 1e-3)
    power = 10.0 ** math.floor(math.log10(span / 4.0))
    step = next(
        factor * power for factor in (1.0, 2.0, 5.0, 10.0) if span / (factor * power) <= 5.0
    )
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    ticks = tuple(round(index * step, 10) + 0.0 for index in range(first, last + 1))
    return Axis(low=ticks[0], high=ticks[-1], ticks=ticks)


def interval_axis(rows: Iterable[Statistic], *, include: Sequence[float] = ()) -> Axis:
    """Return the axis that holds the values and intervals of all rows."""
    values = [value for row in rows for value in (row.value, row.ci_low, row.ci_high)]
    return axis_around(values, include=include)


def band_path(intervals: Iterable[tuple[float, float, float] | None]) -> str:
    """Draw a band around each run of intervals; of a single one it has no width.

    Args:
        intervals: x, and y of the lower and upper end; None where there is none.

    >>> band_path([(0, 10, 5), (1, 10, 5), None])
    'M0 5L1 5L1 10L0 10z'
    """
    runs: list[list[tuple[float, float, float]]] = [[]]
    for interval in intervals:
        if interval is None:
            runs.append([])
        else:
            runs[-1].append(interval)
    paths = []
    for run in filter(None, runs):
        above = [f"{x:g} {high:g}" for x, _, high in run]
        below = [f"{x:g} {low:g}" for x, low, _ in reversed(run)]
        paths.append("M" + "L".join([*above, *below]) + "z")
    return "".join(paths)


def density_figure(
    truth_bins: Sequence[int], prediction_bins: Sequence[int], counts: Sequence[int]
) -> DensityFigure:
    """Shade the cells of the grid by the root of their count, so that rare ones stay visible.

    Args:
        truth_bins: 0 to DENSITY_BINS - 1.
        prediction_bins: 0 to DENSITY_BINS - 1.
        counts: segments in the cell.
    """
    largest = max(counts, default=0)
    cells: dict[int, list[str]] = {}
    for truth, prediction, num in sorted(zip(truth_bins, prediction_bins, counts, strict=True)):
        if num > 0:
            level = math.ceil(DENSITY_LEVELS * math.sqrt(num / largest))
            top = DENSITY_BINS - 1 - prediction
            cells.setdefault(level, []).append(f"M{truth} {top}h1v1h-1z")
    levels = tuple(
        (round(level / DENSITY_LEVELS, 3), "".join(paths)) for level, paths in sorted(cells.items())
    )
    return DensityFigure(levels=levels, num_segments=sum(counts))


def caterpillar_figure(
    values: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    *,
    reference: float | None,
) -> CaterpillarFigure:
    """Place speakers from left to right.

    Args:
        values: [num_speakers] sorted, all finite.
        low: [num_speakers] lower ends of the intervals; NaN where there is none.
        high: [num_speakers] upper ends.
        reference: the statistic of all segments.
    """
    has_interval = np.isfinite(low) & np.isfinite(high)
    axis = axis_around(
        [*values.tolist(), *low[has_interval].tolist(), *high[has_interval].tolist()],
        # From 0 to 1 at least, so that figures side by side can be compared.
        include=[0.0, 1.0] if reference is None else [0.0, 1.0, reference],
    )
    step = PLOT_WIDTH / len(values)

    def y(value: float) -> float:
        return round(PLOT_HEIGHT * (1.0 - axis.percent(value) / 100.0), 1)

    points, whiskers = [], []
    for index, value in enumerate(values.tolist()):
        x = round(step * (index + 0.5), 1)
        points.append(f"M{x:g} {y(value):g}h0")
        if has_interval[index]:
            whiskers.append(f"M{x:g} {y(float(low[index])):g}V{y(float(high[index])):g}")
    return CaterpillarFigure(
        axis=axis,
        tick_y=tuple(y(tick) for tick in axis.ticks),
        points="".join(points),
        whiskers="".join(whiskers),
        reference_y=None if reference is None else y(reference),
        radius=round(min(3.5, max(1.0, 0.35 * step)), 2),
    )
