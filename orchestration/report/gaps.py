"""Comparisons of groups: which two, who is worse, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from orchestration.report import wording
from orchestration.report.audit_folder import Statistic

REST = "the rest"
_REST_SUFFIX = "-rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A statistic of the first group minus that of the second.

    Attributes:
        statistic: the row; its metric ends in ``_gap``.
        first: the first slice, as "accent=scottish".
        second: the second slice, or REST.
    """

    statistic: Statistic
    first: str
    second: str

    @property
    def failed(self) -> bool:
        """Whether the audit calls it unfair."""
        return self.statistic.verdict == "fail"

    @property
    def against_rest(self) -> bool:
        """Whether a group is compared with all others together."""
        return self.second == REST

    @property
    def is_headline(self) -> bool:
        """Whether it compares CCC or UAR, on which verdicts rest."""
        return wording.base_metric(self.statistic.metric) in wording.HEADLINE_METRICS[:2]

    @property
    def first_is_worse(self) -> bool:
        """Whether the first group is the one that is predicted worse."""
        value = self.statistic.value or 0.0
        return value * wording.better_sign(self.statistic.metric) < 0


def gaps_of(statistics: Iterable[Statistic]) -> list[Gap]:
    """Return the comparisons among `statistics`, in their order; not those of changes."""
    rows = [row for row in statistics if not _is_of_change(row)]
    known: dict[str, set[str]] = {}
    for row in rows:
        if not wording.is_gap(row.metric):
            known.setdefault(row.slice_by, set()).add(row.slice)
    return [
        Gap(statistic=row, first=first, second=second)
        for row in rows
        if wording.is_gap(row.metric)
        for first, second in [split_comparison(row.slice, known.get(row.slice_by, set()))]
    ]


def _is_of_change(row: Statistic) -> bool:
    """Tell whether a row is about a condition against another: that has a section of its own."""
    return row.slice.startswith(f"condition={row.condition}-condition=")


def split_comparison(comparison: str, slices: Collection[str]) -> tuple[str, str]:
    """Return the two slices that a comparison's name joins with a hyphen.

    Args:
        comparison: the column `slice` of a gap.
        slices: the slices that exist; their values may hold hyphens themselves.

    >>> split_comparison("sex=a-sex=b", ["sex=a", "sex=b"])
    ('sex=a', 'sex=b')
    >>> split_comparison("accent=mid-west-rest", ["accent=mid-west", "accent=mid"])
    ('accent=mid-west', 'the rest')
    """
    for at, character in enumerate(comparison):
        if character == "-" and comparison[:at] in slices and comparison[at + 1 :] in slices:
            return comparison[:at], comparison[at + 1 :]
    if comparison.endswith(_REST_SUFFIX):
        return comparison.removesuffix(_REST_SUFFIX), REST
    first, _, second = comparison.partition("-")
    return first, second


def worst_first(gaps: Iterable[Gap]) -> list[Gap]:
    """Sort so that the gap that says most stands first.

    A group that is worse than the rest says more than one that is better than the rest (which may
    only mirror the first), and both say more than a pair.
    """

    def rank(gap: Gap) -> tuple[bool, bool, float]:
        mirrors = gap.against_rest and not gap.first_is_worse
        return mirrors, not gap.against_rest, -abs(gap.statistic.value or 0.0)

    return sorted((gap for gap in gaps if gap.statistic.value is not None), key=rank)


def describe(gap: Gap) -> str:
    """Say a gap in words, from the side of the group that is worse.

    Example: "accent=scottish is predicted worse than the rest on arousal by .312 CCC (95% interval
    .204 to .401)".
    """
    row = gap.statistic
    value, low, high = row.value or 0.0, row.ci_low, row.ci_high
    first, second = wording.name(gap.first), wording.name(gap.second)
    sign = wording.better_sign(row.metric)
    flip = value < 0
    if flip:
        value, low, high = -value, _negated(row.ci_high), _negated(row.ci_low)
    worse = gap.first_is_worse
    if sign != 0 and not worse and not gap.against_rest:
        first, second, worse = second, first, True
    if sign == 0:
        direction = "lower" if flip else "higher"
        clause = f"{row.target} is predicted {direction} for {first} than for {second} by"
        return f"{clause} {wording.number(value)}{_interval(low, high)}"
    clause = f"{first} is predicted {'worse' if worse else 'better'} than {second}"
    size = f"{wording.number(value)} {wording.metric_label(row.metric)}{_interval(low, high)}"
    return f"{clause} on {row.target} by {size}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" (95% interval {wording.interval(low, high)})"


def _negated(value: float | None) -> float | None:
    return None if value is None else -value
