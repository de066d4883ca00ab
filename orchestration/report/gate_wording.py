"""What a gate decided, in words: the same on the terminal, in the report and in notifications."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestration.gate_decision import Comparison, Decision, decision_of
from orchestration.report import wording
from ser_model.metrics.noninferiority import FAIL, INCONCLUSIVE, PASS

BECAUSE = {
    PASS: "nothing that was asked for is worse by as much as its margin",
    FAIL: "the candidate is shown to be worse by more than a margin",
    INCONCLUSIVE: "it is not shown that the candidate is no worse",
}

MAX_COMPARISONS = 30
"""Comparisons that are shown, those that decide first; all of them are in the file."""

MAX_REASONS = 10


def deciding_first(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Sort: what refuses before what passes, and failed before inconclusive."""
    order = (FAIL, INCONCLUSIVE, PASS)
    return sorted(comparisons, key=lambda one: (one.counts_as == PASS, order.index(one.outcome)))


def what(one: Comparison) -> str:
    """Name a comparison; names from the data cannot change how the rest is shown.

    >>> what(Comparison(kind="gap", condition="clean", slice_by="sex",
    ...     slice="sex=female-sex=male", target="arousal", metric="concordance_cc_gap",
    ...     margin=0.05, candidate=0.1, champion=0.1))
    'CCC gap arousal, clean sex=female-sex=male'
    """
    gap = " gap" if one.kind == "gap" else ""
    place = "" if not one.slice else f" {wording.name(one.slice)}"
    label, target = wording.name(wording.metric_label(one.metric)), wording.name(one.target)
    return f"{label}{gap} {target}, {wording.name(one.condition)}{place}"


def refusal_reasons(content: Mapping[str, Any], uri: str = "the decision") -> tuple[str, ...]:
    """Return sentences that say why a decision refuses its candidate; none where it does not.

    Args:
        content: of gate.json.
        uri: of the file, for messages.

    Raises:
        ConfigError: the content is damaged.
    """
    return reasons_of(decision_of(content, uri))


def reasons_of(decision: Decision) -> tuple[str, ...]:
    """Return a sentence for each comparison that refuses, those that fail first.

    Of more than MAX_REASONS the last sentence says how many there are besides.
    """
    refusing = [one for one in deciding_first(decision.comparisons) if one.counts_as != PASS]
    sentences = [reason(one) for one in refusing[:MAX_REASONS]]
    if len(refusing) > MAX_REASONS:
        sentences.append(f"So do {len(refusing) - MAX_REASONS} more comparisons.")
    return tuple(sentences)


def reason(one: Comparison) -> str:
    """Say in a sentence why a comparison is not passed."""
    number = wording.number
    wider = "wider" if one.kind == "gap" else "worse"
    if one.worsening is None or one.worsening_low is None:
        because = f": {one.reason}" if one.reason else ""
        return f"{what(one)}: it cannot be told whether it is {wider}{because}."
    by = f"{wider} by {number(one.worsening)}"
    if one.worsening < 0.0:
        by = f"{'narrower' if one.kind == 'gap' else 'better'} by {number(-one.worsening)}"
    bounds = f"one-sided 95% bounds {number(one.worsening_low)} and {number(one.worsening_high)}"
    if one.outcome == FAIL:
        verdict = f"shown to be {wider} by more than the margin of {number(one.margin)}"
    else:
        verdict = f"not shown to be {wider} by less than the margin of {number(one.margin)}"
    return f"{what(one)}: {by} ({bounds}), {verdict}."
