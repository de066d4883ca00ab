"""Residuals, truth minus prediction: of which groups and to which end of the scale a model errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestration.report import wording
from orchestration.report.audit_folder import Statistic

MAX_COLUMNS = 12
MAX_STRATA = 24

MEAN, MEAN_BY_SEGMENT = "residual_mean", "residual_mean_by_segment"
SLOPE, INTERCEPT = "residual_slope", "residual_intercept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """One slice: for each target the mean residual by speaker, and the test by segment."""

    slice: str
    num_segments: int
    cells: tuple[tuple[Statistic | None, Statistic | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StrataPanel:
    """The slices by some metadata columns; the largest MAX_STRATA of num_strata."""

    slice_by: str
    strata: tuple[Stratum, ...]
    num_strata: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualPanel:
    """Residuals of one model under one condition.

    Attributes:
        targets: dimensions that have any.
        overall: of all segments, for each target the mean, slope and intercept.
        columns: by metadata column, MAX_COLUMNS at most.
        num_columns: how many there are.
    """

    targets: tuple[str, ...]
    overall: tuple[tuple[str, Statistic | None, Statistic | None, Statistic | None], ...]
    columns: tuple[StrataPanel, ...]
    num_columns: int


def residual_panel(statistics: Sequence[Statistic]) -> ResidualPanel | None:
    """Arrange the residuals of one model and condition; None where there are none."""
    metrics = {MEAN, MEAN_BY_SEGMENT, SLOPE, INTERCEPT}
    rows = {(s.slice_by, s.slice, s.target, s.metric): s for s in statistics if s.metric in metrics}
    present = {target for _, _, target, _ in rows}
    targets = tuple(target for target in wording.TARGETS if target in present)
    if not targets:
        return None
    mean, slope, intercept = (
        {target: rows.get(("", "", target, metric)) for target in targets}
        for metric in (MEAN, SLOPE, INTERCEPT)
    )
    columns = sorted({slice_by for slice_by, *_ in rows if slice_by})
    return ResidualPanel(
        targets=targets,
        overall=tuple(
            (target, mean[target], slope[target], intercept[target]) for target in targets
        ),
        columns=tuple(_strata(rows, by, targets) for by in columns[:MAX_COLUMNS]),
        num_columns=len(columns),
    )


def _strata(
    rows: Mapping[tuple[str, str, str, str], Statistic], slice_by: str, targets: Sequence[str]
) -> StrataPanel:
    sizes: dict[str, int] = {}
    for (by, name, _, _), row in rows.items():
        if by == slice_by:
            sizes[name] = max(sizes.get(name, 0), row.num_segments)
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:MAX_STRATA]
    strata = tuple(
        Stratum(
            slice=name,
            num_segments=sizes[name],
            cells=tuple(
                (
                    rows.get((slice_by, name, target, MEAN)),
                    rows.get((slice_by, name, target, MEAN_BY_SEGMENT)),
                )
                for target in targets
            ),
        )
        for name in sorted(largest)
    )
    return StrataPanel(slice_by=slice_by, strata=strata, num_strata=len(sizes))
