"""What a gate decided, as a file: every comparison behind it, and of which weights it speaks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ser_model import storage
from ser_model.metrics.noninferiority import FAIL, INCONCLUSIVE, PASS
from ser_model.models.configuration import build
from ser_model.schema import SCHEMA_VERSION, ConfigError

DECISION_FILE = "gate.json"
KIND = "serval gate decision"

Kind: TypeAlias = Literal["statistic", "gap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Candidate or champion.

    Attributes:
        audit: folder.
        inputs_sha256: of all that the audit was made of.
        model_version: as the audit says.
        model_uri: None where the predictions were made by another tool.
        weights_sha256: likewise.
    """

    audit: str
    inputs_sha256: str
    model_version: str
    model_uri: str | None
    weights_sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One statistic or gap of both.

    Attributes:
        kind: whether the statistic may not get worse or the gap not widen.
        condition: as in statistics.parquet; so are slice_by, slice, target and metric.
        slice_by: see condition.
        slice: see condition.
        target: see condition.
        metric: see condition; of a gap with `_gap`.
        margin: how much worse it may be.
        candidate: its value; None where it has none.
        champion: likewise.
        worsening: by how much the candidate is worse; below 0 it is better.
        worsening_low: lower end of the one-sided 95 % interval.
        worsening_high: upper end of the other one-sided 95 % interval.
        p_value: of the test that it is not worse by more than the margin.
        p_adjusted: Holm's, over all comparisons of the kind.
        outcome: pass, fail or inconclusive.
        counts_as: the same, or what the policy makes of inconclusive.
        reason: why there is no interval.
        num_segments: of the candidate.
        num_speakers: of the candidate.
    """

    kind: Kind
    condition: str
    slice_by: str
    slice: str
    target: str
    metric: str
    margin: float
    candidate: float | None
    champion: float | None
    worsening: float | None = None
    worsening_low: float | None = None
    worsening_high: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    outcome: str = INCONCLUSIVE
    counts_as: str = FAIL
    reason: str | None = None
    num_segments: int | None = None
    num_speakers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a gate decided.

    Attributes:
        candidate: whom it is about.
        champion: whom it was held against.
        comparisons: all that was asked.
        config: what was asked, as read.
        notes: what a reader has to know besides.
    """

    candidate: Side
    champion: Side
    comparisons: tuple[Comparison, ...]
    config: Mapping[str, Any]
    notes: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """Fail where anything fails; else inconclusive where that does not count as a pass."""
        if any(one.outcome == FAIL for one in self.comparisons):
            return FAIL
        return PASS if self.is_accepted else INCONCLUSIVE

    @property
    def is_accepted(self) -> bool:
        """Whether every comparison passes, or counts as passed."""
        return all(one.counts_as == PASS for one in self.comparisons)

    def to_json(self) -> dict[str, Any]:
        """Return the file's content: the same inputs give the same bytes."""
        return {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "outcome": self.outcome,
            "accepted": self.is_accepted,
            **dataclasses.asdict(self),
        }


def read_decision(uri: str) -> dict[str, Any]:
    """Read what `serval gate` wrote.

    Raises:
        ConfigError: there is no such file, or it is no decision.
    """
    try:
        found = storage.read_json(uri)
    except FileNotFoundError as error:
        raise ConfigError(f"{uri} does not exist; serval gate writes it") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{uri} is no decision of serval gate: {error}") from error
    sides = [found.get(name) for name in ("candidate", "champion")]
    is_whole = all(isinstance(side, dict) and "weights_sha256" in side for side in sides)
    if found.get("kind") != KIND or not is_whole or not isinstance(found.get("accepted"), bool):
        raise ConfigError(f"{uri} is no decision of serval gate")
    return found


def decision_of(content: Mapping[str, Any], uri: str) -> Decision:
    """Return the decision that a file holds.

    Args:
        content: as `read_decision` read it.
        uri: of the file, for messages.

    Raises:
        ConfigError: the content is damaged, or says something else than its comparisons do.
    """
    outcomes = {PASS, FAIL, INCONCLUSIVE}
    try:
        candidate, champion = (build(Side, content.get(side)) for side in ("candidate", "champion"))
        decision = Decision(
            candidate=candidate,
            champion=champion,
            comparisons=tuple(build(Comparison, one) for one in content.get("comparisons", ())),
            config=content.get("config", {}),
            notes=tuple(str(note) for note in content.get("notes", ())),
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{uri} is damaged: {error}; run serval gate again") from error
    is_known = all({one.outcome, one.counts_as} <= outcomes for one in decision.comparisons)
    if not is_known or decision.is_accepted != content.get("accepted"):
        raise ConfigError(f"{uri} does not say what its comparisons say; run serval gate again")
    return decision
