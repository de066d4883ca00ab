"""Compares a night with the nights before: scores, rejections and metadata. See docs/drift.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from orchestration.nights.drift_config import DriftConfig
from orchestration.nights.observation import MAX_SPEAKERS, Histogram, Observation
from orchestration.nights.record import DriftFinding
from orchestration.report.wording import enumerate_words, name, tick
from ser_model.metrics.bootstrap import UInt64s
from ser_model.metrics.drift import (
    jensen_shannon_divergence_of,
    population_stability_index_of,
    shares_of,
)
from ser_model.metrics.exchanged_nights import exchanged, limit_by_chance
from ser_model.metrics.moments import Floats
from ser_model.schema import DIMENSIONS

FALSE_ALARMS = 0.01
"""How often, at most, a night of a corpus has an alarm of scores or rejections that is chance."""

_MAX_SHOWN = 5
_OUTCOMES = ("rejected", "scored")
_DISTANCES: dict[str, tuple[str, Callable[[Floats, Floats], Floats]]] = {
    "population_stability_index": ("PSI", population_stability_index_of),
    "jensen_shannon_divergence": (
        "Jensen-Shannon divergence",
        jensen_shannon_divergence_of,
    ),
}


def compare(
    tonight: Observation, before: Sequence[Observation], thresholds: DriftConfig
) -> tuple[DriftFinding, ...]:
    """Return what was looked at, in a fixed order.

    Args:
        tonight: of the model that is in use.
        before: earlier nights, by whatever model: metadata are compared with all of them, scores
            and rejections with those by the same weights.
        thresholds: what is an alarm; `nights` is not looked at here.
    """
    by_these = [night for night in before if night.weights_sha256 == tonight.weights_sha256]
    findings: list[DriftFinding] = []
    if by_these:
        findings += _scores(tonight, by_these, thresholds)
    else:
        which = "no earlier night by these weights" if before else "no earlier night"
        detail = f"{which}: there is nothing to compare scores and rejections with"
        findings.append(_untold("population_stability_index", "", thresholds, detail))
    if before:
        findings += _speakers(tonight, before, thresholds)
        findings += _languages(tonight, before, thresholds)
        findings += _missing(tonight, before, thresholds)
    return tuple(findings)


def _scores(
    tonight: Observation, before: Sequence[Observation], thresholds: DriftConfig
) -> Iterator[DriftFinding]:
    found = {target for night in (tonight, *before) for target in night.histograms}
    targets = [target for target in (*DIMENSIONS, "emotion") if target in found]
    # Bonferroni: with rejections, so many could be an alarm by chance.
    level = FALSE_ALARMS / (len(_DISTANCES) * len(targets) + 1)
    for target in targets:
        nothing: Histogram = {}
        histograms = [night.histograms.get(target, nothing) for night in (tonight, *before)]
        bins = tuple(sorted(set[str]().union(*histograms)))
        counts = [tonight.counts(histogram, bins) for histogram in histograms]
        yield from _distances(target, counts[0], counts[1:], level, thresholds)
    yield _rejected(tonight, before, level, thresholds)


def _distances(
    target: str,
    tonight_GK: NDArray[np.int64],
    before: Sequence[NDArray[np.int64]],
    level: float,
    thresholds: DriftConfig,
) -> Iterator[DriftFinding]:
    before = [night for night in before if night.any()]
    if not before or not tonight_GK.any():
        when = "before" if not before else "tonight"
        for kind in _DISTANCES:
            yield _untold(kind, target, thresholds, f"{target}: no segment has a score {when}")
        return
    before_K = np.concatenate(before).sum(axis=0, dtype=np.float64)
    tonight_K = tonight_GK.sum(axis=0, dtype=np.float64)
    before_BK, tonight_BK = exchanged(before, tonight_GK)
    for kind, (title, distance) in _DISTANCES.items():
        value = float(distance(before_K, tonight_K))
        limit = limit_by_chance(value, distance(before_BK, tonight_BK), level)
        what = f"{target}: {title} {_short(value)} against {_nights(len(before))}"
        yield _beyond_chance(kind, target, value, limit, thresholds, what)


def _rejected(
    tonight: Observation, before: Sequence[Observation], level: float, thresholds: DriftConfig
) -> DriftFinding:
    counts = [night.counts(night.outcomes, _OUTCOMES) for night in (tonight, *before)]
    sides = [np.concatenate(counts[1:]), counts[0]]
    shares = [float(shares_of(side.sum(axis=0, dtype=np.float64))[0]) for side in sides]
    before_BK, tonight_BK = exchanged(counts[1:], counts[0])
    rises_B = shares_of(tonight_BK)[:, 0] - shares_of(before_BK)[:, 0]
    value = shares[1] - shares[0]
    limit = limit_by_chance(value, rises_B, level)
    what = (
        f"rejected: {_percent(shares[1])} of the segments against {_percent(shares[0])} in "
        f"{_nights(len(before))}, a difference of {_short(value)}"
    )
    return _beyond_chance("rejected_share", "", value, limit, thresholds, what)


def _beyond_chance(
    kind: str, subject: str, value: float, limit: float, thresholds: DriftConfig, what: str
) -> DriftFinding:
    """Return an alarm only of what is above its threshold and more than chance."""
    threshold = getattr(thresholds, kind)
    return DriftFinding(
        kind=kind,
        subject=subject,
        value=value,
        threshold=threshold,
        is_alarm=threshold is not None and value > threshold and value > limit,
        detail=f"{what} ({_above(threshold)}; by chance up to {_short(limit)})",
    )


def _speakers(
    tonight: Observation, before: Sequence[Observation], thresholds: DriftConfig
) -> Iterator[DriftFinding]:
    before = _with_column(before, "speaker_id")
    if not before or not tonight.speakers.size:
        return
    known_up_to = min(_known_up_to(night.speakers) for night in (tonight, *before))
    speakers = tonight.speakers[tonight.speakers <= known_up_to]
    num_old = int(np.isin(speakers, np.concatenate([night.speakers for night in before])).sum())
    num_new = speakers.size - num_old
    sample = "" if known_up_to == _LAST_KEY else "a sample of "
    what = f"new speakers: {num_new} of {sample}{speakers.size} were not there before"
    yield _fact("new_speakers", "speaker_id", num_new / speakers.size, thresholds, what)


_LAST_KEY = np.uint64(2**64 - 1)


def _known_up_to(speakers: UInt64s) -> np.uint64:
    """Return the key up to which every speaker of a night is in its observation."""
    return _LAST_KEY if speakers.size < MAX_SPEAKERS else np.uint64(speakers[-1])


def _languages(
    tonight: Observation, before: Sequence[Observation], thresholds: DriftConfig
) -> Iterator[DriftFinding]:
    before = _with_column(before, "language")
    if not before or not tonight.languages:
        return
    new = sorted(set(tonight.languages).difference(*(night.languages for night in before)))
    shown = [name(language) for language in new[:_MAX_SHOWN]]
    if len(new) > _MAX_SHOWN:
        shown.append(f"{len(new) - _MAX_SHOWN} more")
    what = f"new languages: {enumerate_words(shown) if new else 'none'}"
    yield _fact("new_languages", "language", float(len(new)), thresholds, what)


def _missing(
    tonight: Observation, before: Sequence[Observation], thresholds: DriftConfig
) -> Iterator[DriftFinding]:
    now, then = _share_unmatched([tonight]), _share_unmatched(before)
    what = f"segments without metadata: {_percent(now)} against {_percent(then)}"
    yield _fact("missing_metadata", "", now - then, thresholds, what)
    columns = {column for night in (tonight, *before) for column in night.missing}
    for column in sorted(columns):
        if not tonight.num_matched or not any(night.num_matched for night in before):
            detail = f"{column}: no segment has metadata on one side"
            yield _untold("missing_metadata", column, thresholds, detail)
            continue
        now, then = _share_missing([tonight], column), _share_missing(before, column)
        what = f"segments without {column}: {_percent(now)} against {_percent(then)}"
        yield _fact("missing_metadata", column, now - then, thresholds, what)


def _with_column(nights: Sequence[Observation], column: str) -> list[Observation]:
    return [night for night in nights if column in night.missing]


def _share_unmatched(nights: Sequence[Observation]) -> float:
    return sum(n.num_unmatched for n in nights) / sum(n.num_segments for n in nights)


def _share_missing(nights: Sequence[Observation], column: str) -> float:
    """Return the share of segments without a value; in a night without the column all of them."""
    num_missing = sum(night.missing.get(column, night.num_matched) for night in nights)
    return num_missing / sum(night.num_matched for night in nights)


def _fact(
    kind: str, subject: str, value: float, thresholds: DriftConfig, what: str
) -> DriftFinding:
    """Return an alarm of what is above its threshold: it was counted, and chance has no part."""
    threshold = getattr(thresholds, kind)
    return DriftFinding(
        kind=kind,
        subject=subject,
        value=value,
        threshold=threshold,
        is_alarm=threshold is not None and value > threshold,
        detail=f"{what} ({_above(threshold)})",
    )


def _untold(kind: str, subject: str, thresholds: DriftConfig, detail: str) -> DriftFinding:
    return DriftFinding(
        kind=kind,
        subject=subject,
        value=None,
        threshold=getattr(thresholds, kind),
        is_alarm=False,
        detail=detail,
    )


def _above(threshold: float | None) -> str:
    return "never an alarm" if threshold is None else f"alarm above {_short(threshold)}"


def _nights(number: int) -> str:
    return "1 night" if number == 1 else f"{number} nights"


def _short(value: float) -> str:
    return tick(round(value, 3))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
