"""What is followed on a corpus from night to night."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from orchestration.nights.record import CorpusNight, Headline, Night, Scored
from orchestration.report import wording

MAX_STATISTICS = 6
"""Of all segments: three dimensions, emotion, and room for another metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A number of one night; the ends of its interval are None where it has none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A number of a model on a corpus.

    Attributes:
        title: what it is.
        read: returns it; None where there is none.
        include: what its axis has to hold.
        write: as people read it.
    """

    title: str
    read: Callable[[Scored], Point | None]
    include: tuple[float, ...] = ()
    write: Callable[[float], str] = wording.number


def corpus_of(night: Night, name: str) -> CorpusNight | None:
    """Return what a night found on a corpus; None where it did not look."""
    return next((corpus for corpus in night.corpora if corpus.name == name), None)


def scored_as(corpus: CorpusNight | None, role: str) -> Scored | None:
    """Return the model of a role; None where there is none."""
    models = () if corpus is None else corpus.models
    return next((one for one in models if one.role == role), None)


def statistics_of(corpora: Sequence[CorpusNight | None]) -> list[tuple[str, str]]:
    """Return metric and target of the statistics of all segments, MAX_STATISTICS at most."""
    found = dict.fromkeys(
        (row.metric, row.target)
        for corpus in corpora
        if corpus is not None
        for one in corpus.models
        for row in one.headlines
        if _is_of_all(row)
    )
    order = {target: number for number, target in enumerate(wording.TARGETS)}
    ranked = sorted(found, key=lambda key: (order.get(key[1], len(order)), key))
    return ranked[:MAX_STATISTICS]


def statistic(scored: Scored | None, metric: str, target: str) -> Point | None:
    """Return a statistic of all segments."""
    rows = () if scored is None else (row for row in scored.headlines if _is_of_all(row))
    return next((_point(row) for row in rows if (row.metric, row.target) == (metric, target)), None)


def rejected_share(scored: Scored | None) -> Point | None:
    """Return the share of the segments that have no score."""
    if scored is None or not scored.num_segments:
        return None
    return Point(value=scored.num_rejections / scored.num_segments)


def measures_of(corpora: Sequence[CorpusNight | None]) -> Iterator[Measure]:
    """Yield what is followed on a corpus: its statistics, then what each night has."""
    for metric, target in statistics_of(corpora):
        yield Measure(
            title=f"{wording.name(wording.metric_label(metric))} of {wording.name(target)}",
            read=_statistic(metric, target),
        )
    yield Measure(title="Largest gap between groups", read=_largest_gap, include=(0.0,))
    yield Measure(title="Share of segments rejected", read=rejected_share, include=(0.0, 0.01))
    yield Measure(
        title="Seconds of audio a device second",
        read=_throughput,
        include=(0.0,),
        write=_with_two_decimals,
    )
    yield Measure(
        title="Cost of the night's scoring",
        read=_cost,
        include=(0.0, 0.01),
        write=_with_two_decimals,
    )


def _statistic(metric: str, target: str) -> Callable[[Scored], Point | None]:
    return lambda scored: statistic(scored, metric, target)


def _largest_gap(scored: Scored) -> Point | None:
    gaps = [row for row in scored.headlines if wording.is_gap(row.metric)]
    known = [point for row in gaps if (point := _point(row)) is not None]
    if not known:
        return None
    widest = max(known, key=lambda point: abs(point.value))
    if widest.value >= 0.0 or widest.low is None or widest.high is None:
        return Point(value=abs(widest.value), low=widest.low, high=widest.high)
    return Point(value=-widest.value, low=-widest.high, high=-widest.low)


def _throughput(scored: Scored) -> Point | None:
    if scored.scored_now_s <= 0.0 or scored.device_s <= 0.0:
        return None
    return Point(value=scored.scored_now_s / scored.device_s)


def _cost(scored: Scored) -> Point | None:
    return None if scored.cost is None else Point(value=scored.cost)


def _is_of_all(row: Headline) -> bool:
    return not row.slice and not wording.is_gap(row.metric)


def _point(row: Headline) -> Point | None:
    if row.value is None:
        return None
    if row.ci_low is None or row.ci_high is None:
        return Point(value=row.value)
    return Point(value=row.value, low=row.ci_low, high=row.ci_high)


def _with_two_decimals(value: float) -> str:
    return f"{value:,.2f}"
