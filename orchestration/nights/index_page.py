"""All nights on one page: what became of the latest, trends, and a table of them.

The page is one file like a report, without scripts and without anything from elsewhere. It links
to the reports by paths from its own folder, so the folder can be moved, or shown by a web server.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jinja2

from orchestration.nights.measures import Point, rejected_share, scored_as, statistic, statistics_of
from orchestration.nights.night_text import INDEX_FILE, verdict
from orchestration.nights.record import (
    NIGHT_FILE,
    NIGHTS_FOLDER,
    CorpusNight,
    DriftFinding,
    Night,
    read_nights,
)
from orchestration.nights.trends import Trend, corpus_trends
from orchestration.report.links import Link, link
from orchestration.report.templating import environment
from orchestration.report.verdict import Status
from ser_model import storage

logger = logging.getLogger(__name__)

TEMPLATE = "index.html.j2"
MAX_NIGHTS = 400
"""The newest; all stand in their night.json."""
MAX_ROWS = 600
"""Of the table, one for each night and corpus."""
MAX_CORPORA = 8
"""Corpora with figures, and corpora of one night in the table."""
MAX_SENTENCES = 20
"""Reasons, and alarms, of the latest night."""
MAX_ALARMS = 3
"""Alarms that a cell of the table names."""

_OUTCOMES = {
    "first": "first of its name",
    "accepted": "accepted",
    "refused": "refused",
    "unchanged": "no candidate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusTrends:
    """The figures of a corpus, and the last night that has it where the latest night has not."""

    name: str
    trends: tuple[Trend, ...]
    last_night: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusRow:
    """A night on one corpus, in one line of the table.

    Attributes:
        name: of the corpus.
        scores: of the candidate and the champion, by statistic as in the page's.
        rejected: shares, likewise.
        hours: of audio that the night scored.
        cost: of that; None where there is no price.
        alarms: the first MAX_ALARMS in short.
        num_alarms: how many there are.
        links: to the report and the gate's decision.
    """

    name: str
    scores: tuple[tuple[Point | None, Point | None], ...]
    rejected: tuple[Point | None, Point | None]
    hours: float
    cost: float | None
    alarms: tuple[str, ...]
    num_alarms: int
    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NightRow:
    """A night in the table: its corpora, and how many are left out."""

    night: Night
    outcome: str
    link: Link
    corpora: tuple[CorpusRow, ...]
    num_left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """The whole page.

    Attributes:
        latest: the newest night; None where there is none.
        status: what became of its candidate.
        sentence: the same in words.
        reasons: why it was refused, with their corpora, MAX_SENTENCES at most.
        num_reasons: how many there are.
        alarms: its alarms, likewise.
        num_alarms: how many there are.
        corpora: figures of MAX_CORPORA corpora at most, those of the latest night first.
        num_corpora: how many there are.
        statistics: metric and target of each column of scores.
        rows: the newest nights, newest first.
        num_drawn: nights in the figures.
        num_nights: how many nights there are.
    """

    latest: Night | None
    status: Status
    sentence: str
    reasons: tuple[tuple[str, str], ...]
    num_reasons: int
    alarms: tuple[tuple[str, str], ...]
    num_alarms: int
    corpora: tuple[CorpusTrends, ...]
    num_corpora: int
    statistics: tuple[tuple[str, str], ...]
    rows: tuple[NightRow, ...]
    num_drawn: int
    num_nights: int


def write_index(output: str, tonight: Night) -> str:
    """Write the page of all complete nights and of one that is about to be.

    Args:
        output: folder of the nights.
        tonight: it replaces what an earlier attempt of the same name said.

    Returns:
        Where the page is.

    Raises:
        RunError: the file of a night is damaged.
    """
    nights = [night for night in read_nights(output) if night.name != tonight.name]
    return render_index(sorted([*nights, tonight], key=lambda night: night.name), output)


def render_index(nights: Sequence[Night], output: str) -> str:
    """Write the page; the same nights give the same bytes.

    Args:
        nights: oldest first, as `read_nights` returns them.
        output: folder of the nights.

    Returns:
        Where the page is.
    """
    index = build_index(nights, output)
    data = _environment().get_template(TEMPLATE).render(index=index).encode()
    uri = storage.join(output, INDEX_FILE)
    storage.write_atomic(uri, data)
    logger.info("index: %s, %d nights, %d bytes", uri, len(nights), len(data))
    return uri


def build_index(nights: Sequence[Night], output: str) -> Index:
    """Arrange nights for reading.

    Args:
        nights: oldest first.
        output: folder of the nights, to which links are relative.
    """
    drawn = nights[-MAX_NIGHTS:]
    latest = drawn[-1] if drawn else None
    reasons = [(c.name, reason) for c in _corpora(latest) for reason in c.reasons]
    alarms = [(c.name, alarm.detail) for c in _corpora(latest) for alarm in c.alarms]
    names = list(dict.fromkeys(c.name for night in reversed(drawn) for c in night.corpora))
    statistics = statistics_of([corpus for night in drawn for corpus in night.corpora])
    return Index(
        latest=latest,
        status=_status(latest),
        sentence="No night is complete yet." if latest is None else f"{verdict(latest)}.",
        reasons=tuple(reasons[:MAX_SENTENCES]),
        num_reasons=len(reasons),
        alarms=tuple(alarms[:MAX_SENTENCES]),
        num_alarms=len(alarms),
        corpora=tuple(_corpus_trends(drawn, name) for name in names[:MAX_CORPORA]),
        num_corpora=len(names),
        statistics=tuple(statistics),
        rows=tuple(_rows(drawn, output, statistics)),
        num_drawn=len(drawn),
        num_nights=len(nights),
    )


def _corpora(night: Night | None) -> tuple[CorpusNight, ...]:
    return () if night is None else night.corpora


def _status(night: Night | None) -> Status:
    if night is not None and night.outcome == "refused":
        return Status.FAIL
    if any(corpus.alarms for corpus in _corpora(night)):
        return Status.INCONCLUSIVE
    if night is None or night.outcome == "unchanged":
        return Status.NOT_JUDGED
    return Status.PASS


def _corpus_trends(nights: Sequence[Night], name: str) -> CorpusTrends:
    last = next(n for n in reversed(nights) if any(c.name == name for c in n.corpora))
    return CorpusTrends(
        name=name,
        trends=corpus_trends(nights, name),
        last_night=None if last is nights[-1] else last.name,
    )


def _rows(
    nights: Sequence[Night], output: str, statistics: Sequence[tuple[str, str]]
) -> Iterator[NightRow]:
    room = MAX_ROWS
    for night in reversed(nights):
        shown = night.corpora[:MAX_CORPORA]
        room -= max(len(shown), 1)
        if room < 0:
            return
        file = storage.join(output, NIGHTS_FOLDER, night.name, NIGHT_FILE)
        yield NightRow(
            night=night,
            outcome=_OUTCOMES[night.outcome],
            link=link("night", storage.relative(file, output)),
            corpora=tuple(_corpus_row(corpus, output, statistics) for corpus in shown),
            num_left_out=len(night.corpora) - len(shown),
        )


def _corpus_row(
    corpus: CorpusNight, output: str, statistics: Sequence[tuple[str, str]]
) -> CorpusRow:
    candidate, champion = (scored_as(corpus, role) for role in ("candidate", "champion"))
    costs = [one.cost for one in corpus.models if one.cost is not None]
    files = (("report", corpus.report), ("gate", corpus.gate))
    return CorpusRow(
        name=corpus.name,
        scores=tuple(
            (statistic(candidate, metric, target), statistic(champion, metric, target))
            for metric, target in statistics
        ),
        rejected=(rejected_share(candidate), rejected_share(champion)),
        hours=sum(one.scored_now_s for one in corpus.models) / 3600.0,
        cost=sum(costs) if costs else None,
        alarms=tuple(_in_short(alarm) for alarm in corpus.alarms[:MAX_ALARMS]),
        num_alarms=len(corpus.alarms),
        links=tuple(link(what, storage.relative(uri, output)) for what, uri in files if uri),
    )


def _in_short(alarm: DriftFinding) -> str:
    return " ".join(filter(None, (alarm.kind.replace("_", " "), alarm.subject)))


@functools.cache
def _environment() -> jinja2.Environment:
    return environment("orchestration.nights", "orchestration.report")
