"""Decides whether a candidate may take the champion's place: a pure function of two audits.

For each statistic that the configuration asks for, the candidate must be shown to be worse by less
than a margin (see `ser_model.metrics.noninferiority`). Both audits weighed the same draws of
speakers, so the replicates of the worsening are those of a paired difference, and a candidate with
the champion's predictions differs by 0 in every one of them.

To pass, all must pass: that needs no correction for being many (intersection-union test). To fail,
one is enough: so p-values of being worse by more than the margin are corrected (Holm), those of
statistics and those of gaps apart, so that many groups take nothing from the main question.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from orchestration.gate_audits import (
    OpenAudit,
    check_comparable,
    check_segments,
    open_audit,
)
from orchestration.gate_config import GapRule, GateConfig, default_config
from orchestration.gate_decision import Comparison, Decision
from orchestration.gate_selection import Asked, describe, select, value_of
from orchestration.gate_worsening import gap_worsening, statistic_worsening
from ser_model.metrics.noninferiority import INCONCLUSIVE, Worsening, outcome
from ser_model.metrics.significance import holm
from ser_model.schema import RunError

NOT_KEPT = "too small to be shown in the candidate's audit"


def decide(candidate: str, champion: str, config: GateConfig | None = None) -> Decision:
    """Hold a candidate against the champion.

    Args:
        candidate: folder of an audit.
        champion: likewise.
        config: what is asked; None for `default_config`.

    Raises:
        RunError: an audit cannot be used, or the two cannot be compared.
        ConfigError: the configuration asks for what the champion's audit does not have.
    """
    mine, theirs = open_audit(candidate), open_audit(champion)
    notes = check_comparable(mine, theirs)
    is_default = config is None
    if config is None:
        config = default_config(cross_corpus=theirs.audit["configuration"]["cross_corpus"])
    asked = list(select(config, theirs, is_default=is_default))
    for condition, target in dict.fromkeys((one.place[0], one.place[3]) for one in asked):
        note = check_segments(mine, theirs, condition, target)
        notes += [note] if note else []
    compared = []
    for one in asked:
        if value_of(one, theirs) is None:
            notes.append(f"left out, as the champion has no value: {describe(one)}")
        else:
            compared.append(_compare(one, mine, theirs))
    if not compared:
        raise RunError(f"{champion} has no value of anything that the gate asks for")
    return Decision(
        candidate=mine.side,
        champion=theirs.side,
        comparisons=tuple(_judge(compared, config)),
        config=dataclasses.asdict(config),
        notes=tuple(notes),
    )


def _compare(asked: Asked, candidate: OpenAudit, champion: OpenAudit) -> Comparison:
    condition, slice_by, _, target, metric = asked.place
    is_gap = isinstance(asked.rule, GapRule)
    head = Comparison(
        kind="gap" if is_gap else "statistic",
        condition=condition,
        slice_by=slice_by,
        slice=asked.name,
        target=target,
        metric=f"{metric}_gap" if is_gap else metric,
        margin=asked.rule.margin,
        candidate=value_of(asked, candidate),
        champion=value_of(asked, champion),
    )
    mine, theirs = asked.of(candidate), asked.of(champion)
    first, second = mine
    if first is None or (is_gap and second is None):
        return replace(head, reason=NOT_KEPT)
    parts = [one for one in mine if one is not None]
    num_speakers = min(sum(one.num_speakers for one in parts), first.num_compared_speakers)
    head = replace(
        head,
        num_segments=sum(one.num_segments for one in parts),
        num_speakers=num_speakers if is_gap else first.num_speakers,
    )
    if head.candidate is None:
        return replace(head, reason=next(one.reason for one in parts if one.reason))
    if second is None:
        assert theirs[0] is not None
        value, held = statistic_worsening(metric, first, theirs[0], head.margin)
    else:
        assert theirs[0] is not None
        assert theirs[1] is not None
        of_champion = (theirs[0], theirs[1])
        value, held = gap_worsening((first, second), of_champion, num_speakers, head.margin)
    if isinstance(held, str):
        return replace(head, worsening=value, reason=held)
    return replace(
        head,
        worsening=held.value,
        worsening_low=held.low,
        worsening_high=held.high,
        p_value=held.p_value,
    )


def _judge(comparisons: Sequence[Comparison], config: GateConfig) -> Iterator[Comparison]:
    adjusted = [math.nan] * len(comparisons)
    for kind in ("statistic", "gap"):
        numbers = [number for number, one in enumerate(comparisons) if one.kind == kind]
        p_values = [comparisons[number].p_value for number in numbers]
        of_kind = holm([math.nan if p_value is None else p_value for p_value in p_values])
        for number, p_adjusted in zip(numbers, of_kind.tolist(), strict=True):
            adjusted[number] = p_adjusted
    for one, p_adjusted in zip(comparisons, adjusted, strict=True):
        judged = INCONCLUSIVE
        if one.worsening is not None and one.worsening_low is not None:
            assert one.worsening_high is not None
            assert one.p_value is not None
            held = Worsening(
                value=one.worsening,
                low=one.worsening_low,
                high=one.worsening_high,
                p_value=one.p_value,
            )
            judged = outcome(held, one.margin, p_adjusted)
        policy = config.inconclusive
        of_policy = policy.gaps if one.kind == "gap" else policy.statistics
        yield replace(
            one,
            p_adjusted=None if math.isnan(p_adjusted) else p_adjusted,
            outcome=judged,
            counts_as=of_policy if judged == INCONCLUSIVE else judged,
        )
