"""The gate's decision about the audited model, ready for the template."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from orchestration.gate_decision import (
    DECISION_FILE,
    Comparison,
    Decision,
    Side,
    decision_of,
    read_decision,
)
from orchestration.report import wording
from orchestration.report.audit_folder import AuditFolder
from orchestration.report.figures import Axis, axis_around
from orchestration.report.gate_wording import (
    BECAUSE,
    MAX_COMPARISONS,
    deciding_first,
    reasons_of,
    what,
)
from orchestration.report.verdict import Status, Verdict
from ser_model import storage
from ser_model.schema import RunError

MAX_NOTES = 20
MAX_NOTE_LENGTH = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionPanel:
    """What a gate decided.

    Attributes:
        question: the heading; it says whether the audited model is the candidate or the champion.
        verdict: the answer in a sentence.
        reasons: sentences that say why the candidate is refused; none where it is not.
        rows: comparisons with their names, those that decide first, MAX_COMPARISONS at most.
        num_comparisons: how many there are.
        axis: the scale of worsenings and margins.
        sides: candidate and champion, each with its role.
        notes: what a reader has to know besides, MAX_NOTES at most.
        num_notes: how many there are.
    """

    question: str
    verdict: Verdict
    reasons: tuple[str, ...]
    rows: tuple[tuple[str, Comparison], ...]
    num_comparisons: int
    axis: Axis
    sides: tuple[tuple[str, Side], ...]
    notes: tuple[str, ...]
    num_notes: int


def with_decision(folder: AuditFolder, uri: str | None = None) -> AuditFolder:
    """Return the audit with the gate's decision about it.

    Args:
        folder: the audit.
        uri: file of the decision; None for gate.json in the audit, where there is one.

    Raises:
        RunError: the decision is about other audits.
        ConfigError: the file is absent or damaged.
    """
    if uri is None:
        uri = storage.join(folder.uri, DECISION_FILE)
        if not storage.exists(uri):
            return folder
    decision = decision_of(read_decision(uri), uri)
    audited = folder.audit.get("inputs_sha256")
    if not audited or audited not in {side.inputs_sha256 for _, side in _sides(decision)}:
        raise RunError(
            f"{uri} is about other audits ({decision.candidate.audit} against "
            f"{decision.champion.audit}) than {folder.uri} as it is now; run `serval gate` again, "
            f"or name the decision about this audit with --gate"
        )
    return replace(folder, decision=decision)


def decision_panel(folder: AuditFolder) -> DecisionPanel | None:
    """Arrange the decision for reading; None where there is none."""
    decision = folder.decision
    if decision is None:
        return None
    is_candidate = folder.audit.get("inputs_sha256") == decision.candidate.inputs_sha256
    shown = deciding_first(decision.comparisons)[:MAX_COMPARISONS]
    return DecisionPanel(
        question=(
            "May it take the champion's place?"
            if is_candidate
            else "May the candidate take its place?"
        ),
        verdict=_verdict(decision),
        reasons=reasons_of(decision),
        rows=tuple((what(one), one) for one in shown),
        num_comparisons=len(decision.comparisons),
        axis=axis_around([number for one in shown for number in _numbers(one)], include=(0.0,)),
        sides=tuple(_sides(decision)),
        notes=tuple(wording.plain(note[:MAX_NOTE_LENGTH]) for note in decision.notes[:MAX_NOTES]),
        num_notes=len(decision.notes),
    )


def _sides(decision: Decision) -> Iterator[tuple[str, Side]]:
    yield "candidate", decision.candidate
    yield "champion", decision.champion


def _numbers(one: Comparison) -> tuple[float | None, ...]:
    return one.worsening, one.worsening_low, one.worsening_high, one.margin


def _verdict(decision: Decision) -> Verdict:
    answer = "Yes" if decision.is_accepted else "No"
    return Verdict(
        status=Status(decision.outcome),
        sentence=f"{answer}: {BECAUSE[decision.outcome]}.",
        lights=(),
        findings=(),
    )
