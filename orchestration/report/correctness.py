"""How right a model is: parts of the scale, emotions, and truth against prediction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from orchestration.report.audit_folder import Statistic
from orchestration.report.figures import Axis, DensityFigure, density_figure, interval_axis
from ser_model.metrics.bins import QUARTERS
from ser_model.schema import DIMENSIONS

MAX_EMOTIONS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class EmotionPanel:
    """Results of a categorical model.

    Attributes:
        overall: UAR, accuracy and whatever else is said of all segments at once.
        per_class: for each emotion its recall, precision and F1 (any may be missing).
        axis: scale of their plots.
        emotions: rows and columns of the confusion matrix.
        confusion: counts, rows truth, columns prediction.
        row_totals: segments of each row.
        num_emotions: how many there are, shown or not.
    """

    overall: tuple[Statistic, ...]
    per_class: tuple[tuple[str, Statistic | None, Statistic | None, Statistic | None], ...]
    axis: Axis
    emotions: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    row_totals: tuple[int, ...]
    num_emotions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BinPanel:
    """A dimension by quarter of its scale.

    Attributes:
        rows: for each quarter its recall and precision.
        axis: scale of their plots.
    """

    rows: tuple[tuple[str, Statistic | None, Statistic | None], ...]
    axis: Axis


def bin_panel(by_metric: Mapping[str, Statistic]) -> BinPanel | None:
    """Arrange the parts of the scale of a dimension; None where there are none."""
    rows = tuple((name, *_of_class(by_metric, name)[:2]) for name in QUARTERS)
    shown = [s for _, *pair in rows for s in pair if s is not None]
    if not shown:
        return None
    return BinPanel(rows=rows, axis=interval_axis(shown, include=(0.0, 1.0)))


def emotion_panel(overall: Sequence[Statistic], confusion: pa.Table) -> EmotionPanel | None:
    """Arrange what is said of emotions for one model and condition; None where nothing is."""
    if not overall:
        return None
    by_metric = {s.metric: s for s in overall}
    counts = {
        (row["truth"], row["prediction"]): row["num_segments"] for row in confusion.to_pylist()
    }
    all_emotions = sorted({emotion for pair in counts for emotion in pair})
    emotions = all_emotions[:MAX_EMOTIONS]
    matrix = tuple(tuple(counts.get((t, p), 0) for p in emotions) for t in emotions)
    per_class = tuple((emotion, *_of_class(by_metric, emotion)) for emotion in emotions)
    shown = [s for _, recall, precision, _ in per_class for s in (recall, precision) if s]
    return EmotionPanel(
        overall=tuple(s for s in overall if "[" not in s.metric),
        per_class=per_class if shown else (),
        axis=interval_axis(shown, include=(0.0, 1.0)),
        emotions=tuple(emotions),
        confusion=matrix,
        row_totals=tuple(sum(row) for row in matrix),
        num_emotions=len(all_emotions),
    )


def density_figures(table: pa.Table) -> Iterable[tuple[str, DensityFigure]]:
    """Yield truth against prediction of each dimension of one model and condition."""
    for target in DIMENSIONS:
        cells = [row for row in table.to_pylist() if row["target"] == target]
        if cells:
            yield (
                target,
                density_figure(
                    [cell["truth_bin"] for cell in cells],
                    [cell["prediction_bin"] for cell in cells],
                    [cell["num_segments"] for cell in cells],
                ),
            )


def _of_class(
    by_metric: Mapping[str, Statistic], name: str
) -> tuple[Statistic | None, Statistic | None, Statistic | None]:
    recall, precision, f1 = (by_metric.get(f"{k}[{name}]") for k in ("recall", "precision", "f1"))
    return recall, precision, f1
