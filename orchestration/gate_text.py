"""What a gate decided, in a screen of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestration.gate_decision import Comparison, Decision
from orchestration.report.gate_wording import (
    BECAUSE,
    MAX_COMPARISONS,
    deciding_first,
    what,
)
from orchestration.report.wording import name, plain
from ser_model.metrics.noninferiority import INCONCLUSIVE, PASS


def gate_text(decision: Decision, file: str) -> str:
    """Say what was decided and why; names from the data cannot change how the rest is shown."""
    answer = "PASS" if decision.is_accepted else "REFUSED"
    lines = [f"{answer}: {BECAUSE[decision.outcome]}"]
    for role, side in (("candidate", decision.candidate), ("champion", decision.champion)):
        lines.append(f"  {role:<9}  {name(side.model_version)}  ({plain(side.audit)})")
    ordered = deciding_first(decision.comparisons)
    shown = ordered[:MAX_COMPARISONS]
    lines += ["by how much the candidate is worse, with both one-sided 95 % bounds"]
    lines += _table(shown)
    if len(ordered) > len(shown):
        lines.append(f"  {len(shown)} of {len(ordered)} comparisons are shown")
    lines += [f"note: {plain(note)}" for note in decision.notes]
    return "\n".join([*lines, f"decision: {plain(file)}"])


def _table(comparisons: Sequence[Comparison]) -> Iterator[str]:
    names = [what(one) for one in comparisons]
    width = max(map(len, names), default=0)
    for one, named in zip(comparisons, names, strict=True):
        row = f"  {named:<{width}}  {_numbers(one)}  margin {one.margin:.3f}"
        verdict = one.outcome
        if one.outcome == INCONCLUSIVE and one.counts_as == PASS:
            verdict = f"{verdict}, counts as pass"
        yield f"{row}  {verdict}"


def _numbers(one: Comparison) -> str:
    if one.worsening is None:
        return f"no value: {one.reason}"
    if one.worsening_low is None:
        return f"{one.worsening:6.3f}  no interval: {one.reason}"
    return f"{one.worsening:6.3f}  [{one.worsening_low:6.3f}, {one.worsening_high:6.3f}]"
