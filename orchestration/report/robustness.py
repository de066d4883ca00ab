"""What conditions do to one model: scores, shifts, and whom they cost more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestration.report import wording
from orchestration.report.audit_folder import Statistic
from orchestration.report.figures import Axis, interval_axis
from orchestration.report.gaps import split_comparison
from orchestration.report.severity_curves import SeverityCurve, severity_curves
from pipelines.transforms.severities import severity_of
from ser_model.schema import CLEAN, SUPPRESSED

MAX_CONDITIONS = 40
MAX_GAPS = 16
"""For each metric."""
GAP_METRICS: Mapping[str, tuple[str, str, str]] = {
    "concordance_cc_change_gap": ("Change in CCC", "first loses more", "second loses more"),
    "unweighted_average_recall_change_gap": (
        "Change in UAR",
        "first loses more",
        "second loses more",
    ),
    "unchanged_share_gap": ("Unchanged share", "first moves more", "second moves more"),
    "mean_shift_gap": ("Mean shift", "first shifts down", "first shifts up"),
}
"""What each says of the first group minus the second, and what is left and right of 0."""

By = Mapping[tuple[str, str, str], Statistic]
"""Statistics by condition, target and metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionCell:
    """One target under one condition.

    Attributes:
        score: CCC or UAR of all segments.
        change: the same minus that on clean audio, on the segments that both have.
        unchanged: share of the predictions that do not move.
        shift: mean of how far they move; None for emotions.
    """

    score: Statistic | None
    change: Statistic | None
    unchanged: Statistic | None
    shift: Statistic | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionRow:
    """One condition, with a cell for each target."""

    condition: str
    cells: tuple[ConditionCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeGap:
    """How much more a condition changes the first group than the second."""

    condition: str
    first: str
    second: str
    statistic: Statistic


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeGapPanel:
    """Gaps of one metric.

    Attributes:
        title: what changes.
        left: what a gap below 0 means.
        right: what one above 0 means.
        gaps: the MAX_GAPS that are most certain.
        num_gaps: how many there are with a test.
        num_shown_to_differ: how many of them differ from 0 after correction.
        num_suppressed: how many are of groups that are too small.
        axis: scale of the plots.
    """

    title: str
    left: str
    right: str
    gaps: tuple[ChangeGap, ...]
    num_gaps: int
    num_shown_to_differ: int
    num_suppressed: int
    axis: Axis


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionPanel:
    """All that is said of one model's conditions.

    Attributes:
        targets: of the cells.
        metrics: what the score of each target is.
        clean: its score on clean audio.
        rows: conditions, MAX_CONDITIONS at most: those that cost most.
        num_conditions: how many there are.
        curves: scores over severity.
        num_curves: how many there are.
        gaps: whom conditions cost more.
    """

    targets: tuple[str, ...]
    metrics: tuple[str, ...]
    clean: tuple[Statistic | None, ...]
    rows: tuple[ConditionRow, ...]
    num_conditions: int
    curves: tuple[SeverityCurve, ...]
    num_curves: int
    gaps: tuple[ChangeGapPanel, ...]


def condition_panel(statistics: Iterable[Statistic], model_version: str) -> ConditionPanel | None:
    """Arrange what conditions do to a model; None where none was compared with clean audio.

    Args:
        statistics: of the whole audit.
        model_version: which model.
    """
    rows = [row for row in statistics if row.model_version == model_version]
    scores = {(s.condition, s.target, s.metric): s for s in rows if not s.slice_by}
    compared = {
        (s.condition, s.target, s.metric): s
        for s in rows
        if s.slice_by == "condition" and s.slice == f"{_prefix(s)}{CLEAN}"
    }
    headlines = _headlines(scores)
    conditions = sorted({condition for condition, _, _ in compared} - {CLEAN})
    if not conditions or not headlines:
        return None
    curves, num_curves = severity_curves(rows, conditions, headlines)
    harshest = sorted(conditions, key=lambda name: (_smallest(compared, name, headlines), name))
    return ConditionPanel(
        targets=tuple(headlines),
        metrics=tuple(headlines.values()),
        clean=tuple(scores.get((CLEAN, target, of)) for target, of in headlines.items()),
        rows=tuple(
            _row(condition, scores, compared, headlines)
            for condition in sorted(harshest[:MAX_CONDITIONS], key=_by_severity)
        ),
        num_conditions=len(conditions),
        curves=curves,
        num_curves=num_curves,
        gaps=_gap_panels(rows),
    )


def _headlines(scores: By) -> dict[str, str]:
    """Return CCC or UAR, which the model's targets have on clean audio."""
    return {
        target: metric
        for target in wording.TARGETS
        for metric in wording.HEADLINE_METRICS[:2]
        if (CLEAN, target, metric) in scores
    }


def _row(condition: str, scores: By, compared: By, headlines: Mapping[str, str]) -> ConditionRow:
    cells = tuple(
        ConditionCell(
            score=scores.get((condition, target, metric)),
            change=compared.get((condition, target, f"{metric}_change")),
            unchanged=compared.get((condition, target, "unchanged_share")),
            shift=compared.get((condition, target, "mean_shift")),
        )
        for target, metric in headlines.items()
    )
    return ConditionRow(condition=condition, cells=cells)


def _smallest(compared: By, condition: str, headlines: Mapping[str, str]) -> float:
    """The largest loss in any target; what has no value is last."""
    found = [compared.get((condition, t, f"{metric}_change")) for t, metric in headlines.items()]
    return min((row.value for row in found if row and row.value is not None), default=1.0)


def _by_severity(condition: str) -> tuple[str, float, str]:
    severity = severity_of(condition)
    return (condition, 0.0, "") if severity is None else (severity.family, severity.rank, condition)


def _prefix(row: Statistic) -> str:
    return f"condition={row.condition}-condition="


def _gap_panels(rows: Sequence[Statistic]) -> tuple[ChangeGapPanel, ...]:
    slices: dict[str, set[str]] = {}
    for row in rows:
        if row.slice_by and row.metric in wording.HEADLINE_METRICS:
            slices.setdefault(row.slice_by, set()).add(row.slice)
    panels = []
    for metric, words in GAP_METRICS.items():
        start = f"{CLEAN},"
        found = [
            row
            for row in rows
            if row.metric == metric and row.slice.startswith(f"{_prefix(row)}{start}")
        ]
        if found:
            panels.append(_gap_panel(found, words, slices))
    return tuple(panels)


def _gap_panel(
    rows: Sequence[Statistic], words: tuple[str, str, str], slices: Mapping[str, set[str]]
) -> ChangeGapPanel:
    tested = sorted(
        (row for row in rows if row.p_value is not None),
        key=lambda row: (row.p_value, -abs(row.value or 0.0), row.condition, row.slice, row.target),
    )
    shown = [_gap(row, slices) for row in tested[:MAX_GAPS]]
    title, left, right = words
    return ChangeGapPanel(
        title=title,
        left=left,
        right=right,
        gaps=tuple(shown),
        num_gaps=len(tested),
        num_shown_to_differ=sum(row.is_shown for row in tested),
        num_suppressed=sum(row.verdict == SUPPRESSED for row in rows),
        axis=interval_axis((gap.statistic for gap in shown), include=(0.0,)),
    )


def _gap(row: Statistic, slices: Mapping[str, set[str]]) -> ChangeGap:
    comparison = row.slice.removeprefix(f"{_prefix(row)}{CLEAN},")
    slice_by = row.slice_by.partition(",")[2]
    first, second = split_comparison(comparison, slices.get(slice_by, set()))
    return ChangeGap(condition=row.condition, first=first, second=second, statistic=row)
