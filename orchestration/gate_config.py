"""What a gate asks of a candidate: which statistics, and how much worse they may be.

A configuration is a YAML file:

    inconclusive: {statistics: fail, gaps: pass}
    statistics:
      - {metric: concordance_cc, margin: .02}
      - {metric: concordance_cc, target: valence, slice_by: sex, slice: sex=female, margin: .05}
    gaps:
      - {metric: concordance_cc, slice_by: sex, margin: .05}
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from orchestration.config_file import read_config_file
from ser_model.schema import CLEAN, DIMENSIONS

Policy: TypeAlias = Literal["pass", "fail"]
Better: TypeAlias = Literal["higher", "lower"]

BETTER: dict[str, Better] = {
    "concordance_cc": "higher",
    "pearson_cc": "higher",
    "mean_absolute_error": "lower",
    "unweighted_average_recall": "higher",
    "accuracy": "higher",
}
"""The metrics that an audit keeps replicates of, and which end of them is good."""

STATISTIC_MARGIN = 0.02
"""How much CCC, PCC or UAR a candidate may lose. A choice, and a strict one: docs/gate.md says how
many speakers it takes to show so little."""

GAP_MARGIN = 0.05
"""By how much a gap between groups may widen: two thirds of the gap that an audit lets pass."""

_TARGETS = (*DIMENSIONS, "emotion")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticRule:
    """A statistic that may not get worse by more than a margin.

    Attributes:
        metric: one of BETTER.
        margin: more than 0, on the metric's scale.
        target: a dimension or "emotion"; None for all that have the metric.
        condition: under which it was scored.
        slice_by: columns of the slice, "" for all segments.
        slice: its name as in statistics.parquet; "" with `slice_by` for all slices by its columns.
        better: which end of the metric is good; None for what is known of it.
    """

    metric: str
    margin: float
    target: str | None = None
    condition: str = CLEAN
    slice_by: str = ""
    slice: str = ""
    better: Better | None = None

    def __post_init__(self) -> None:
        """Refuse what is no rule."""
        _check(self.metric, self.margin, self.target)
        if self.slice and not self.slice_by:
            raise ValueError(f"slice {self.slice!r} needs slice_by, the columns that it is by")
        if self.better is not None and self.better != BETTER[self.metric]:
            raise ValueError(
                f"better is {self.better!r}, but {self.metric} is better where it is "
                f"{BETTER[self.metric]}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRule:
    """A gap between groups that may not widen by more than a margin.

    Attributes:
        metric: one of BETTER.
        margin: more than 0, on the metric's scale.
        target: a dimension or "emotion"; None for all that have the metric.
        condition: under which it was scored.
        slice_by: columns of the groups; None for all columns that were compared.
        slice: the gap's name as in statistics.parquet, "accent=scottish-rest"; None for all.
    """

    metric: str
    margin: float
    target: str | None = None
    condition: str = CLEAN
    slice_by: str | None = None
    slice: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no rule."""
        _check(self.metric, self.margin, self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """What becomes of a comparison that is inconclusive.

    Attributes:
        statistics: a candidate has to show that it is no worse.
        gaps: small groups can hardly ever show that; who asks for it refuses nearly everything.
    """

    statistics: Policy = "fail"
    gaps: Policy = "pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """All that a gate asks.

    Attributes:
        statistics: that may not get worse.
        gaps: that may not widen.
        inconclusive: what becomes of those that show neither.
    """

    statistics: tuple[StatisticRule, ...] = ()
    gaps: tuple[GapRule, ...] = ()
    inconclusive: Policies = Policies()

    def __post_init__(self) -> None:
        """Refuse a gate that asks nothing."""
        if not self.statistics and not self.gaps:
            raise ValueError("neither statistics nor gaps are listed: everything would pass")


def default_config(*, cross_corpus: bool) -> GateConfig:
    """Return what is asked where there is no file.

    Args:
        cross_corpus: whether the truth is of another corpus than the models were trained on: PCC
            takes the place of CCC.
    """
    metrics = ("pearson_cc" if cross_corpus else "concordance_cc", "unweighted_average_recall")
    return GateConfig(
        statistics=tuple(StatisticRule(metric=m, margin=STATISTIC_MARGIN) for m in metrics),
        gaps=tuple(GapRule(metric=m, margin=GAP_MARGIN) for m in metrics),
    )


def read_config(uri: str) -> GateConfig:
    """Read a configuration.

    Raises:
        ConfigError: the file cannot be read or is no configuration; the message names file, line,
            field and what is allowed.
    """
    return read_config_file(GateConfig, uri)


def _check(metric: str, margin: float, target: str | None) -> None:
    if metric not in BETTER:
        raise ValueError(f"metric is {metric!r}; allowed are: {', '.join(BETTER)}")
    if not (math.isfinite(margin) and margin > 0):
        raise ValueError(f"margin is {margin}, not a number above 0")
    if target is not None and target not in _TARGETS:
        raise ValueError(f"target is {target!r}; allowed are: {', '.join(_TARGETS)}")
