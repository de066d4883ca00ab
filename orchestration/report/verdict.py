"""What the statistics mean: one sentence and a traffic-light table. Pure: no files, no HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestration.report import wording
from orchestration.report.audit_folder import Statistic
from orchestration.report.gaps import Gap, describe, gaps_of, worst_first

WANTED = 0.5
"""What CCC and UAR have to exceed where the audit gives no verdict of its own: the thresholds of
Derington et al. 2023 (Testing correctness, fairness and robustness of speech emotion recognition
models, arXiv 2312.06270), here asked of the whole interval and not of the point alone."""


class Status(StrEnum):
    """A traffic light, in a word."""

    PASS = "pass"  # noqa: S105  no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_JUDGED = "not judged"


_MOST_SERIOUS_FIRST = (Status.FAIL, Status.INCONCLUSIVE, Status.NOT_JUDGED, Status.PASS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """One line of the traffic-light table.

    Attributes:
        question: what is asked, in words.
        status: the answer in a word.
        answer: the answer with its numbers.
    """

    question: str
    status: Status
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the audit says of one model under one condition.

    Attributes:
        status: the most serious of the lights that are judged.
        sentence: one sentence for somebody in a hurry.
        lights: correctness by target, then fairness by metadata column.
        findings: every failed gap in words, the one that says most first.
    """

    status: Status
    sentence: str
    lights: tuple[Light, ...]
    findings: tuple[str, ...]


def judge(statistics: Iterable[Statistic], *, is_cross_corpus: bool = False) -> Verdict:
    """Judge one model under one condition.

    Args:
        statistics: its rows of statistics.parquet.
        is_cross_corpus: whether the verdict rests on PCC in the place of CCC.
    """
    rows = list(statistics)
    headlines = headline_rows(rows, is_cross_corpus=is_cross_corpus)
    gaps = gaps_of(rows)
    correctness = [_correctness_light(row) for row in headlines]
    fairness = [_fairness_light(by, of_column) for by, of_column in _by_column(gaps).items()]
    lights = (*correctness, *fairness)
    judged = [light.status for light in lights if light.status is not Status.NOT_JUDGED]
    failed = worst_first(gap for gap in gaps if gap.failed)
    return Verdict(
        status=most_serious(judged),
        sentence=_sentence(headlines, fairness, _worst(gaps)),
        lights=lights,
        findings=tuple(describe(gap) for gap in failed),
    )


def summarise(verdicts: Sequence[Verdict]) -> Verdict:
    """Sum up the verdicts on several models and conditions.

    >>> def verdict(status):
    ...     return Verdict(status=status, sentence="", lights=(), findings=())
    >>> summarise([verdict(Status.FAIL), verdict(Status.PASS), verdict(Status.FAIL)]).sentence
    '3 models and conditions were audited: 1 passes and 2 fail.'
    """
    counts = Counter(verdict.status for verdict in verdicts)
    words = {
        Status.PASS: ("passes", "pass"),
        Status.FAIL: ("fails", "fail"),
        Status.INCONCLUSIVE: ("is inconclusive", "are inconclusive"),
        Status.NOT_JUDGED: ("is not judged", "are not judged"),
    }
    parts = [
        f"{counts[status]} {singular if counts[status] == 1 else plural}"
        for status, (singular, plural) in words.items()
        if counts[status]
    ]
    listed = wording.enumerate_words(parts)
    return Verdict(
        status=most_serious(counts),
        sentence=f"{len(verdicts)} models and conditions were audited: {listed}.",
        lights=(),
        findings=(),
    )


def headline_rows(
    statistics: Iterable[Statistic], *, is_cross_corpus: bool = False
) -> list[Statistic]:
    """Return for each target, in order, the statistic of all segments that its verdict rests on."""
    rows = {(s.target, s.metric): s for s in statistics if s.slice_by == ""}
    preferred: tuple[str, ...] = wording.HEADLINE_METRICS
    if is_cross_corpus:
        preferred = (wording.CROSS_CORPUS_METRIC, *preferred)
    found = []
    for target in wording.TARGETS:
        of_target = [rows[target, m] for m in preferred if (target, m) in rows]
        found += of_target[:1]
    return found


def status_of(row: Statistic) -> Status:
    """Return the audit's own verdict where it has one, else hold the interval against WANTED."""
    if row.verdict in {Status.PASS, Status.FAIL, Status.INCONCLUSIVE}:
        return Status(row.verdict)
    if row.verdict is not None or row.value is None:
        return Status.NOT_JUDGED
    if row.ci_low is not None and row.ci_low > WANTED:
        return Status.PASS
    if row.ci_high is not None and row.ci_high <= WANTED:
        return Status.FAIL
    return Status.INCONCLUSIVE


def most_serious(statuses: Iterable[Status]) -> Status:
    """Return the most serious status; NOT_JUDGED where there is none.

    >>> most_serious([Status.PASS, Status.INCONCLUSIVE]).value, most_serious([]).value
    ('inconclusive', 'not judged')
    """
    present = set(statuses)
    return next((s for s in _MOST_SERIOUS_FIRST if s in present), Status.NOT_JUDGED)


def _correctness_light(row: Statistic) -> Light:
    label = wording.metric_label(row.metric)
    if row.value is None:
        answer = f"{label} has no value{_because(row.reason)}"
    else:
        answer = f"{label} {_with_interval(row)}; wanted is more than {wording.tick(WANTED)}"
    return Light(
        question=f"Is {row.target} predicted as people rate it?",
        status=status_of(row),
        answer=answer,
    )


def _fairness_light(slice_by: str, gaps: Sequence[Gap]) -> Light:
    headline = [gap for gap in gaps if gap.is_headline]
    judged = [Status(gap.statistic.verdict) for gap in gaps if gap.statistic.verdict in set(Status)]
    status = most_serious(judged)
    ranked = worst_first(gap for gap in headline if gap.failed) or worst_first(
        gap for gap in gaps if gap.failed
    )
    if ranked:
        num_failed = sum(gap.failed for gap in gaps)
        answer = f"{describe(ranked[0])}{_one_of(num_failed)}"
    elif not any(gap.statistic.value is not None for gap in gaps):
        answer = f"No gap could be computed{_because(gaps[0].statistic.reason)}"
    elif status is Status.PASS:
        answer = "Every gap lies within its margin"
    else:
        candidates = [g for g in headline if g.statistic.verdict] or headline or gaps
        widest = max(candidates, key=lambda gap: abs(gap.statistic.value or 0.0))
        answer = (
            f"No gap is shown to be too large, {_how_many_pass(gaps)}; widest: {describe(widest)}"
        )
    columns = wording.enumerate_words([wording.name(by) for by in slice_by.split(",")])
    return Light(question=f"Are groups by {columns} treated alike?", status=status, answer=answer)


def _sentence(headlines: Sequence[Statistic], fairness: Sequence[Light], worst: Gap | None) -> str:
    clauses = [_correctness_clause(headlines)]
    if worst is not None:
        clauses.append(f"but it is not fair: {describe(worst)}")
    elif any(light.status is Status.INCONCLUSIVE for light in fairness):
        clauses.append(
            "no gap between groups is shown to be too large, which does not prove that it is fair"
        )
    elif any(light.status is Status.PASS for light in fairness):
        clauses.append("every gap between groups lies within its margin")
    else:
        clauses.append("gaps between groups were not judged")
    return f"{(', ' if worst is not None else '; ').join(clauses)}."


def _correctness_clause(headlines: Sequence[Statistic]) -> str:
    by_status: dict[Status, list[str]] = {}
    for row in headlines:
        by_status.setdefault(status_of(row), []).append(row.target)
    labels = wording.enumerate_words(sorted({wording.metric_label(r.metric) for r in headlines}))
    phrases = {
        Status.PASS: f"well enough ({labels} above {wording.tick(WANTED)})",
        Status.FAIL: f"not well enough ({labels} below {wording.tick(WANTED)})",
        Status.INCONCLUSIVE: "too uncertainly to tell whether it is good enough",
        Status.NOT_JUDGED: "without a verdict",
    }
    parts = [
        f"{wording.enumerate_words(by_status[status])} {phrase}"
        for status, phrase in phrases.items()
        if status in by_status
    ]
    if not parts:
        return "The audit holds no statistic of all segments"
    return f"The model predicts {wording.enumerate_words(parts)}"


def _worst(gaps: Iterable[Gap]) -> Gap | None:
    failed = [gap for gap in gaps if gap.failed]
    ranked = worst_first(gap for gap in failed if gap.is_headline) or worst_first(failed)
    return ranked[0] if ranked else None


def _by_column(gaps: Iterable[Gap]) -> dict[str, list[Gap]]:
    columns: dict[str, list[Gap]] = {}
    for gap in gaps:
        columns.setdefault(gap.statistic.slice_by, []).append(gap)
    return columns


def _with_interval(row: Statistic) -> str:
    if row.ci_low is None or row.ci_high is None:
        return f"{wording.number(row.value)} (no interval{_because(row.reason)})"
    return f"{wording.number(row.value)} (95% interval {wording.interval(row.ci_low, row.ci_high)})"


def _how_many_pass(gaps: Sequence[Gap]) -> str:
    """Say how many of the judged gaps are shown to be small; the others are not known."""
    judged = [gap for gap in gaps if gap.statistic.verdict in {"pass", "inconclusive"}]
    num_passed = sum(gap.statistic.verdict == "pass" for gap in judged)
    return f"but only {num_passed} of {len(judged)} to be small enough"


def _one_of(num_failed: int) -> str:
    return f" (one of {num_failed} failed gaps)" if num_failed > 1 else ""


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""
