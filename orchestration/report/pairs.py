"""Models side by side, and conditions against clean: differences on the same segments."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from orchestration.report import wording
from orchestration.report.audit_folder import Statistic
from orchestration.report.figures import Axis, interval_axis
from ser_model.schema import CLEAN

DIFFERENCE = "_difference"
CHANGE = "_change"
MAX_PAIRS = 24
"""For each target."""
MAX_OF_SLICES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One comparison: what is on either side, and the row that says how they differ.

    Attributes:
        first: model version, or condition.
        second: what it is compared with.
        slice: on which segments; "" for all.
        statistic: first minus second.
    """

    first: str
    second: str
    slice: str
    statistic: Statistic


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPanel:
    """Comparisons of models under a condition, or of a model's conditions with clean.

    Attributes:
        title: the condition, or the model.
        metric: what is compared.
        pairs: by target, for all segments, MAX_PAIRS at most.
        num_pairs: how many there are, for all targets.
        num_shown: how many of them are shown.
        of_slices: those of slices that are shown to differ, the largest MAX_OF_SLICES.
        num_of_slices: how many those are.
        axis: scale of the plots.
    """

    title: str
    metric: str
    pairs: tuple[tuple[str, tuple[Pair, ...]], ...]
    num_pairs: int
    num_shown: int
    of_slices: tuple[Pair, ...]
    num_of_slices: int
    axis: Axis


def model_panels(
    statistics: Sequence[Statistic], names: Mapping[str, str]
) -> tuple[PairPanel, ...]:
    """Return for each condition, and metric that verdicts rest on, how the models differ.

    Args:
        statistics: of the whole audit.
        names: the URI of a model version, where it has one.
    """
    versions, wanted = {row.model_version for row in statistics}, _wanted(DIFFERENCE)
    found = [
        (row.condition, pair)
        for row in statistics
        if row.metric in wanted
        for pair in _split(row, "model_version", row.model_version, versions, names)
    ]
    return _panels(found, DIFFERENCE)


def change_panels(
    statistics: Sequence[Statistic], model_version: str, title: str
) -> tuple[PairPanel, ...]:
    """Return how one model changes under each condition.

    Args:
        statistics: of the whole audit.
        model_version: which model.
        title: its name in words.
    """
    conditions, wanted = {row.condition for row in statistics}, _wanted(CHANGE)
    found = [
        (title, pair)
        for row in statistics
        if row.metric in wanted and row.model_version == model_version
        for pair in _split(row, "condition", row.condition, conditions, {})
    ]
    return _panels(found, CHANGE)


def describe(pair: Pair) -> str:
    """Say in words who is better on which slice.

    Example: "a is better than b on sex=female, arousal, by .100 CCC (95% interval .050 to .150)".
    """
    row = pair.statistic
    value = row.value or 0.0
    is_better = value * wording.better_sign(_base(row.metric)) >= 0
    low, high = (
        (row.ci_low, row.ci_high) if value >= 0 else (_minus(row.ci_high), _minus(row.ci_low))
    )
    interval = "" if low is None else f" (95% interval {wording.interval(low, high)})"
    return (
        f"{wording.name(pair.first)} is {'better' if is_better else 'worse'} than "
        f"{wording.name(pair.second)} on {wording.name(pair.slice)}, {row.target}, by "
        f"{wording.number(abs(value))} {wording.metric_label(_base(row.metric))}{interval}"
    )


def _split(
    row: Statistic, column: str, first: str, others: Collection[str], names: Mapping[str, str]
) -> list[Pair]:
    """Take "model_version=a-model_version=b,sex=female" apart; nothing where it is not that."""
    prefix = f"{column}={first}-{column}="
    if not row.slice.startswith(prefix):
        return []
    rest = row.slice.removeprefix(prefix)
    if row.slice_by == column:
        fitting = [other for other in others if rest == other]
    else:
        fitting = [other for other in others if rest.startswith(f"{other},")]
    if not fitting:
        return []
    second = max(fitting, key=len)
    return [
        Pair(
            first=names.get(first, first),
            second=names.get(second, second),
            slice=rest[len(second) + 1 :],
            statistic=row,
        )
    ]


def _panels(found: Sequence[tuple[str, Pair]], suffix: str) -> tuple[PairPanel, ...]:
    titles = sorted({title for title, _ in found}, key=lambda title: (title != CLEAN, title))
    panels = []
    for title in titles:
        for metric in _wanted(suffix):
            pairs = [p for of, p in found if of == title and p.statistic.metric == metric]
            if pairs:
                panels.append(_panel(title, metric, pairs))
    return tuple(panels)


def _panel(title: str, metric: str, pairs: Sequence[Pair]) -> PairPanel:
    of_all = [pair for pair in pairs if not pair.slice]
    by_target = tuple(
        (target, tuple(shown[:MAX_PAIRS]))
        for target in wording.TARGETS
        if (shown := [pair for pair in of_all if pair.statistic.target == target])
    )
    differing = sorted(
        (pair for pair in pairs if pair.slice and pair.statistic.is_shown),
        key=lambda pair: (-abs(pair.statistic.value or 0.0), pair.first, pair.second, pair.slice),
    )
    shown_rows = [pair.statistic for _, shown in by_target for pair in shown]
    return PairPanel(
        title=title,
        metric=_base(metric),
        pairs=by_target,
        num_pairs=len(of_all),
        num_shown=len(shown_rows),
        of_slices=tuple(differing[:MAX_OF_SLICES]),
        num_of_slices=len(differing),
        axis=interval_axis(shown_rows, include=(0.0,)),
    )


def _wanted(suffix: str) -> tuple[str, ...]:
    """CCC and UAR, on which verdicts rest."""
    return tuple(f"{metric}{suffix}" for metric in wording.HEADLINE_METRICS[:2])


def _base(metric: str) -> str:
    return metric.removesuffix(DIFFERENCE).removesuffix(CHANGE)


def _minus(value: float | None) -> float | None:
    return None if value is None else -value
