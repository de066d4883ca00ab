"""What is followed on a corpus from night to night, and where its marks stand in small figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from orchestration.nights.measures import Measure, Point, corpus_of, measures_of, scored_as
from orchestration.nights.record import CorpusNight, Night
from orchestration.report import wording
from orchestration.report.figures import PLOT_WIDTH, Axis, axis_around, band_path

HEIGHT = 120.0
MAX_DOTS = 100
MAX_NAMED_PROMOTIONS = 10
MAX_LABEL_LENGTH = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One number over the nights, of the champion in use and of the candidates.

    Attributes:
        title: what it is.
        axis: the scale of the y axis.
        tick_y: y of each tick of the axis.
        labels: names of the first and the last night, with their x and where the text is anchored.
        line: path through the champion's values; broken where a night has none.
        points: path of the same values; of more than MAX_DOTS nights, of those off the line alone.
        band: path around their intervals.
        whiskers: path of the candidates' intervals.
        candidates: path of a diamond for each candidate that was not refused.
        refused: path of a cross for each candidate that was.
        promotions: path of an upright line behind each night that promoted.
        radius: half the width of a mark.
        stroke: width of whiskers and promotions.
        description: the same in words.
    """

    title: str
    axis: Axis
    tick_y: tuple[float, ...]
    labels: tuple[tuple[float, str, str], ...]
    line: str
    points: str
    band: str
    whiskers: str
    candidates: str
    refused: str
    promotions: str
    radius: float
    stroke: float
    description: str


def corpus_trends(nights: Sequence[Night], corpus: str) -> tuple[Trend, ...]:
    """Return the figures of a corpus; of what no night has a number there is none.

    Args:
        nights: those that are drawn, oldest first; some may not have the corpus.
        corpus: its name.
    """
    by_night = [corpus_of(night, corpus) for night in nights]
    found = []
    for measure in measures_of(by_night):
        champion = [_measured(one, "champion", measure) for one in by_night]
        candidate = [_measured(one, "candidate", measure) for one in by_night]
        if any((*champion, *candidate)):
            found.append(_trend(measure, nights, champion, candidate))
    return tuple(found)


def _measured(corpus: CorpusNight | None, role: str, measure: Measure) -> Point | None:
    scored = scored_as(corpus, role)
    return None if scored is None else measure.read(scored)


def _trend(
    measure: Measure,
    nights: Sequence[Night],
    champion: Sequence[Point | None],
    candidate: Sequence[Point | None],
) -> Trend:
    drawn = [point for point in (*champion, *candidate) if point is not None]
    ends = [end for point in drawn for end in (point.value, point.low, point.high)]
    axis = axis_around(ends, include=measure.include)
    step = PLOT_WIDTH / len(nights)
    radius = round(min(3.5, max(1.2, 0.45 * step)), 2)
    left, right = _columns(len(nights), step)
    at_champion = _placed(champion, left, axis)
    refused, others = _parted(_placed(candidate, right, axis), nights)
    return Trend(
        title=measure.title,
        axis=axis,
        tick_y=tuple(_y(tick, axis) for tick in axis.ticks),
        labels=_labels(nights),
        line=_line(at_champion),
        points=_points(at_champion),
        band=band_path(_intervals(at_champion)),
        whiskers="".join(map(_whisker, (*refused, *others))),
        candidates="".join(_diamond(mark, radius) for mark in others),
        refused="".join(_cross(mark, radius) for mark in refused),
        promotions="".join(
            f"M{round(step * number, 1):g} 0V{HEIGHT:g}"
            for number, night in enumerate(nights, start=1)
            if night.is_promoted
        ),
        radius=radius,
        stroke=round(min(1.2, 0.4 * step), 2),
        description=_description(nights, champion, candidate, measure.write),
    )


def _columns(num: int, step: float) -> tuple[list[float], list[float]]:
    """Return x of the champion and of the candidate by night: beside each other, so both show."""
    aside = min(4.0, 0.2 * step)
    middles = [step * (number + 0.5) for number in range(num)]
    return [round(x - aside, 1) for x in middles], [round(x + aside, 1) for x in middles]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """Where a point stands."""

    x: float
    y: float
    low: float | None
    high: float | None


def _y(value: float, axis: Axis) -> float:
    return round(HEIGHT * (1.0 - axis.percent(value) / 100.0), 1)


def _placed(points: Sequence[Point | None], xs: Sequence[float], axis: Axis) -> list[_Mark | None]:
    return [
        None
        if point is None
        else _Mark(
            x=x,
            y=_y(point.value, axis),
            low=None if point.low is None else _y(point.low, axis),
            high=None if point.high is None else _y(point.high, axis),
        )
        for point, x in zip(points, xs, strict=True)
    ]


def _parted(
    marks: Sequence[_Mark | None], nights: Sequence[Night]
) -> tuple[list[_Mark], list[_Mark]]:
    """Return the marks of refused candidates, and of the others."""
    known = [(mark, night) for mark, night in zip(marks, nights, strict=True) if mark is not None]
    return (
        [mark for mark, night in known if night.outcome == "refused"],
        [mark for mark, night in known if night.outcome != "refused"],
    )


def _line(marks: Sequence[_Mark | None]) -> str:
    path, is_open = [], False
    for mark in marks:
        if mark is not None:
            path.append(f"{'L' if is_open else 'M'}{mark.x:g} {mark.y:g}")
        is_open = mark is not None
    return "".join(path)


def _points(marks: Sequence[_Mark | None]) -> str:
    is_off = _are_alone([mark is not None for mark in marks])
    return "".join(
        f"M{mark.x:g} {mark.y:g}h0"
        for mark, is_alone in zip(marks, is_off, strict=True)
        if mark is not None and (is_alone or len(marks) <= MAX_DOTS)
    )


def _intervals(marks: Sequence[_Mark | None]) -> Iterator[tuple[float, float, float] | None]:
    """Give an interval that stands alone a width, so that it can be seen."""
    alone = _are_alone([mark is not None and mark.low is not None for mark in marks])
    for mark, is_alone in zip(marks, alone, strict=True):
        if mark is None or mark.low is None or mark.high is None:
            yield None
        else:
            for x in (mark.x - 2.0, mark.x + 2.0) if is_alone else (mark.x,):
                yield x, mark.low, mark.high


def _are_alone(present: Sequence[bool]) -> list[bool]:
    """Tell of each whether neither neighbour is there."""
    padded = [False, *present, False]
    return [not padded[at] and not padded[at + 2] for at in range(len(present))]


def _whisker(mark: _Mark) -> str:
    if mark.low is None or mark.high is None:
        return ""
    return f"M{mark.x:g} {mark.low:g}V{mark.high:g}"


def _diamond(mark: _Mark, radius: float) -> str:
    r = radius * 1.2
    return f"M{mark.x:g} {mark.y - r:g}l{r:g} {r:g}l{-r:g} {r:g}l{-r:g} {-r:g}z"


def _cross(mark: _Mark, radius: float) -> str:
    r = radius
    return f"M{mark.x - r:g} {mark.y - r:g}l{2 * r:g} {2 * r:g}m0 {-2 * r:g}l{-2 * r:g} {2 * r:g}"


def _labels(nights: Sequence[Night]) -> tuple[tuple[float, str, str], ...]:
    if len(nights) == 1:
        return ((PLOT_WIDTH / 2, "middle", _label(nights[0])),)
    return ((0.0, "start", _label(nights[0])), (PLOT_WIDTH, "end", _label(nights[-1])))


def _label(night: Night) -> str:
    text = wording.plain(night.name)
    return text if len(text) <= MAX_LABEL_LENGTH else f"{text[: MAX_LABEL_LENGTH - 1]}…"


def _description(
    nights: Sequence[Night],
    champion: Sequence[Point | None],
    candidate: Sequence[Point | None],
    write: Callable[[float], str],
) -> str:
    parts = [
        _in_words("champion", nights, champion, write),
        _in_words("candidates", nights, candidate, write),
    ]
    refused = sum(
        night.outcome == "refused" and point is not None
        for night, point in zip(nights, candidate, strict=True)
    )
    parts += [f"Refused candidates: {refused}."] if refused else []
    promoted = [wording.name(night.name) for night in nights if night.is_promoted]
    if promoted:
        more = len(promoted) - MAX_NAMED_PROMOTIONS
        listed = ", ".join(promoted[-MAX_NAMED_PROMOTIONS:])
        parts.append(f"Promotions: {listed}{f' and {more} before' if more > 0 else ''}.")
    return " ".join(filter(None, parts))


def _in_words(
    who: str,
    nights: Sequence[Night],
    points: Sequence[Point | None],
    write: Callable[[float], str],
) -> str:
    known = [(night, p) for night, p in zip(nights, points, strict=True) if p is not None]
    if not known:
        return f"No night has a value of the {who}."
    values = [point.value for _, point in known]
    night, last = known[-1]
    nights_word = "night" if len(known) == 1 else "nights"
    return (
        f"{wording.sentence_case(who)} on {len(known)} {nights_word}: lowest {write(min(values))}, "
        f"highest {write(max(values))}, last {write(last.value)} on {wording.name(night.name)}."
    )
