"""What a gate decided, in a screen of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestration.gate_decision import Comparison, Decision
from orchestration.report.wording import name, plain
from ser_model.metrics.noninferiority import FAIL, INCONCLUSIVE, PASS

_LABELS = {
    "concordance_cc": "CCC",
    "pearson_cc": "PCC",
    "mean_absolute_error": "MAE",
    "unweighted_average_recall": "UAR",
    "accuracy": "WAR",
}
_VERDICTS = {
    PASS: "PASS: nothing that was asked for is worse by as much as its margin",
    FAIL: "REFUSED: the candidate is shown to be worse by more than a margin",
    INCONCLUSIVE: "REFUSED: it is not shown that the candidate is no worse",
}

MAX_SHOWN = 30
"""Comparisons that are shown, those that decide first; all of them are in the file."""


def gate_text(decision: Decision, file: str) -> str:
    """Say what was decided and why; names from the data cannot change how the rest is shown."""
    lines = [_VERDICTS[decision.outcome]]
    for role, side in (("candidate", decision.candidate), ("champion", decision.champion)):
        lines.append(f"  {role:<9}  {name(side.model_version)}  ({plain(side.audit)})")
    ordered = sorted(decision.comparisons, key=_rank)
    shown = ordered[:MAX_SHOWN]
    lines += ["by how much the candidate is worse, with both one-sided 95 % bounds"]
    lines += _table(shown)
    if len(ordered) > len(shown):
        lines.append(f"  {len(shown)} of {len(ordered)} comparisons are shown")
    lines += [f"note: {plain(note)}" for note in decision.notes]
    return "\n".join([*lines, f"decision: {plain(file)}"])


def _rank(one: Comparison) -> tuple[bool, int]:
    order = (FAIL, INCONCLUSIVE, PASS)
    return one.counts_as == PASS, order.index(one.outcome)


def _table(comparisons: Sequence[Comparison]) -> Iterator[str]:
    wheres = [_where(one) for one in comparisons]
    width = max(map(len, wheres), default=0)
    for one, where in zip(comparisons, wheres, strict=True):
        verdict = one.outcome
        if one.outcome == INCONCLUSIVE and one.counts_as == PASS:
            verdict = "inconclusive, counts as pass"
        yield f"  {where:<{width}}  {_numbers(one)}  margin {one.margin:.3f}  {verdict}"


def _where(one: Comparison) -> str:
    metric = one.metric.removesuffix("_gap")
    what = _LABELS.get(metric, metric) + (" gap" if one.kind == "gap" else "")
    place = "" if not one.slice else f" {name(one.slice)}"
    return f"{what} {one.target}, {name(one.condition)}{place}"


def _numbers(one: Comparison) -> str:
    if one.worsening is None:
        return f"no value: {one.reason}"
    if one.worsening_low is None:
        return f"{one.worsening:6.3f}  no interval: {one.reason}"
    return f"{one.worsening:6.3f}  [{one.worsening_low:6.3f}, {one.worsening_high:6.3f}]"
