"""Groups and their gaps, by metadata column, cut to what fits on a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestration.report import wording
from orchestration.report.audit_folder import Statistic
from orchestration.report.figures import Axis, interval_axis
from orchestration.report.gaps import Gap, gaps_of, worst_first

MAX_COLUMNS = 12
MAX_GROUPS = 24
MAX_GAPS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group's headline statistic for each target (None where there is none)."""

    slice: str
    num_segments: int
    num_speakers: int | None
    cells: tuple[Statistic | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnPanel:
    """The groups of one metadata column, or of several crossed.

    Attributes:
        slice_by: the columns, joined by a comma.
        targets: which targets the cells of a group are of.
        metric: what is compared.
        groups: the largest MAX_GROUPS, by name.
        num_groups: how many there are.
        gaps: by target the MAX_GAPS that say most, lowest first.
        num_gaps: how many there are for all targets.
        num_shown_gaps: how many of them stand in `gaps`.
        axis: scale of the forest plot.
        gender_scores: the papers' gender fairness score of each target, where sex is the column.
    """

    slice_by: str
    targets: tuple[str, ...]
    metric: str
    groups: tuple[Group, ...]
    num_groups: int
    gaps: tuple[tuple[str, tuple[Gap, ...]], ...]
    num_gaps: int
    num_shown_gaps: int
    axis: Axis
    gender_scores: tuple[Statistic, ...]


def column_panels(statistics: Sequence[Statistic]) -> tuple[list[ColumnPanel], int]:
    """Return panels of metadata columns of one model and condition.

    Returns:
        A panel for each column, MAX_COLUMNS at most, and how many columns there are.
    """
    by_column: dict[str, list[Statistic]] = {}
    for row in statistics:
        if row.slice_by:
            by_column.setdefault(row.slice_by, []).append(row)
    found = [_panel(by, of_column) for by, of_column in sorted(by_column.items())]
    panels = [panel for panel in found if panel is not None]
    return panels[:MAX_COLUMNS], len(panels)


def _panel(slice_by: str, statistics: Sequence[Statistic]) -> ColumnPanel | None:
    headline = wording.HEADLINE_METRICS[:2]
    rows = [s for s in statistics if s.metric in headline]
    if not rows:
        return None
    targets = tuple(target for target in wording.TARGETS if any(s.target == target for s in rows))
    gaps = [gap for gap in gaps_of(statistics) if gap.is_headline]
    by_target = tuple(
        (target, shown)
        for target in targets
        if (shown := _most_telling(gap for gap in gaps if gap.statistic.target == target))
    )
    all_groups = _groups(rows, targets)
    largest = sorted(all_groups, key=lambda group: (-group.num_segments, group.slice))[:MAX_GROUPS]
    shown_rows = [gap.statistic for _, shown in by_target for gap in shown]
    return ColumnPanel(
        slice_by=slice_by,
        targets=targets,
        metric=rows[0].metric,
        groups=tuple(sorted(largest, key=lambda group: group.slice)),
        num_groups=len(all_groups),
        gaps=by_target,
        num_gaps=len(gaps),
        num_shown_gaps=len(shown_rows),
        axis=interval_axis(
            shown_rows,
            include=[
                0.0,
                *(m for row in shown_rows if row.margin for m in (-row.margin, row.margin)),
            ],
        ),
        gender_scores=tuple(
            s for s in statistics if s.metric == "gender_fairness_score" and s.value is not None
        ),
    )


def _groups(rows: Iterable[Statistic], targets: Sequence[str]) -> list[Group]:
    by_slice: dict[str, dict[str, Statistic]] = {}
    for row in rows:
        by_slice.setdefault(row.slice, {})[row.target] = row
    return [
        Group(
            slice=name,
            num_segments=max(cell.num_segments for cell in cells.values()),
            num_speakers=max(
                (c.num_speakers for c in cells.values() if c.num_speakers is not None),
                default=None,
            ),
            cells=tuple(cells.get(target) for target in targets),
        )
        for name, cells in by_slice.items()
    ]


def _most_telling(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    found = list(gaps)
    ranked = worst_first(found)
    ranked.sort(key=lambda gap: not gap.failed)
    without_value = [gap for gap in found if gap.statistic.value is None]
    shown = [*ranked, *without_value][:MAX_GAPS]
    return tuple(
        sorted(
            shown,
            key=lambda gap: (
                gap.statistic.value is None,
                gap.statistic.value or 0.0,
                gap.statistic.slice,
            ),
        )
    )
