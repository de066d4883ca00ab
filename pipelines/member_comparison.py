"""How the members of an ensemble differ in the segments, conditions and targets that they cover.

Loads nothing heavy. A part of the segments is compared at a time; the parts merge in any order.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from ser_model.schema import DIMENSIONS, RunError
from ser_model.voting import Vote

NUM_BUCKETS = 1024
"""Segments are counted in so many parts of their hashes, a power of two: any smaller power of two
is then a number of shards whose sizes are known before they are made."""

SEGMENTS_PER_SHARD = 16_384
"""Segments of a shard, about: some ten megabytes of rows as Python objects."""

NUM_EXAMPLES = 5
"""Segments that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFacts:
    """What one member covers.

    Attributes:
        num_by_condition: its rows, predictions and rejections, by condition.
        num_missing: segments (under a condition) that another member has and it has not.
        missing: the first of them.
        num_repeated: segments that it has more than once under the same condition.
        repeated: the first of them.
        num_rejected: those that it rejected.
        targets: what it says something of: dimensions, emotion.
        categories: that it gives probabilities for; empty where it gives none.
        emotions: that it predicts.
        num_without_scores: predictions of an emotion that come without probabilities.
        num_improper_scores: predictions whose emotion_scores are no probabilities.
    """

    num_by_condition: Mapping[str, int]
    num_missing: int = 0
    missing: tuple[str, ...] = ()
    num_repeated: int = 0
    repeated: tuple[str, ...] = ()
    num_rejected: int = 0
    targets: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    emotions: tuple[str, ...] = ()
    num_without_scores: int = 0
    num_improper_scores: int = 0

    @classmethod
    def merge(cls, parts: Sequence[MemberFacts]) -> Self:
        """Return what is true of all segments of the parts together."""
        merged: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            values = [getattr(part, field.name) for part in parts]
            if field.name == "num_by_condition":
                merged[field.name] = dict(sum((Counter(value) for value in values), Counter()))
            elif field.name.startswith("num_"):
                merged[field.name] = sum(values)
            else:
                merged[field.name] = tuple(sorted({name for value in values for name in value}))
        for name in ("missing", "repeated"):
            merged[name] = merged[name][:NUM_EXAMPLES]
        return cls(**merged)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberComparison:
    """What the members of an ensemble cover.

    Attributes:
        buckets: by condition, the number of segments in each of NUM_BUCKETS parts of their hashes.
        members: the facts of each member.
        error: why a file could not be read.
    """

    buckets: Mapping[str, tuple[int, ...]]
    members: tuple[MemberFacts, ...]
    error: str | None = None

    @classmethod
    def merge(cls, parts: Iterable[MemberComparison]) -> Self:
        """Merge the comparisons of parts of the segments."""
        parts = list(parts)
        conditions = sorted({name for part in parts for name in part.buckets})
        nothing = (0,) * NUM_BUCKETS
        return cls(
            buckets={
                name: tuple(
                    map(sum, zip(*(part.buckets.get(name, nothing) for part in parts), strict=True))
                )
                for name in conditions
            },
            members=tuple(
                MemberFacts.merge(facts)
                for facts in zip(*(part.members for part in parts if part.members), strict=True)
            ),
            error=min((part.error for part in parts if part.error is not None), default=None),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it for a file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave."""
        members = []
        for facts in found["members"]:
            fields: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in facts.items()
            }
            members.append(MemberFacts(**fields))
        buckets = {name: tuple(counts) for name, counts in found["buckets"].items()}
        return cls(buckets=buckets, members=tuple(members), error=found["error"])

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions, sorted."""
        return tuple(sorted(self.buckets))

    @property
    def num_segments(self) -> int:
        """Segments under each condition; of checked members."""
        return sum(next(iter(self.buckets.values())))

    def num_segments_by_shard(self) -> list[int]:
        """Return how many segments each shard holds, whose number is hash modulo their number."""
        num_shards = 1
        while num_shards < NUM_BUCKETS and self.num_segments > num_shards * SEGMENTS_PER_SHARD:
            num_shards *= 2
        counts = next(iter(self.buckets.values()))
        return [sum(counts[shard::num_shards]) for shard in range(num_shards)]

    def targets(self, vote: Vote) -> tuple[str, ...]:
        """Return what is voted on: the emotions, sorted, or the dimensions, in their order."""
        found = {name for facts in self.members for name in facts.categories + facts.emotions}
        if vote == "mean":
            found = {name for facts in self.members for name in facts.targets}
            return tuple(name for name in DIMENSIONS if name in found)
        return tuple(sorted(found))

    def check(self, names: Sequence[str], vote: Vote) -> None:
        """Refuse members that cannot vote together.

        Args:
            names: of the members.
            vote: what is to be done.

        Raises:
            RunError: they differ; the message says in what.
        """
        if self.error is not None:
            raise RunError(self.error)
        if not self.buckets:
            raise RunError("there are no predictions in these runs: nothing to vote on")
        for problem in (
            self._conditions(names),
            self._segments(names),
            self._repeated(names),
            self._uneven_conditions(),
            self._targets(names, vote),
            self._emotions(names, vote),
        ):
            if problem:
                raise RunError(problem)

    def _conditions(self, names: Sequence[str]) -> str | None:
        covered = [tuple(sorted(facts.num_by_condition)) for facts in self.members]
        shown = _differing(names, [", ".join(c) or "nothing" for c in covered])
        return shown and f"the members have different conditions: {shown}"

    def _segments(self, names: Sequence[str]) -> str | None:
        lacking = [
            f"{name} lacks {facts.num_missing} that others have "
            f"({_some(facts.missing, facts.num_missing)})"
            for name, facts in zip(names, self.members, strict=True)
            if facts.num_missing
        ]
        return "the members have different segments: " + "; ".join(lacking) if lacking else None

    def _repeated(self, names: Sequence[str]) -> str | None:
        for name, facts in zip(names, self.members, strict=True):
            if facts.num_repeated:
                return (
                    f"{name} has {facts.num_repeated} segments more than once under a condition "
                    f"({_some(facts.repeated, facts.num_repeated)}); keep one prediction of each"
                )
        return None

    def _uneven_conditions(self) -> str | None:
        if len(set(self.buckets.values())) < 2:
            return None
        counts = ", ".join(f"{name} {sum(self.buckets[name])}" for name in self.conditions)
        return (
            f"the conditions do not have the same segments ({counts}); vote on the files of each "
            "condition apart"
        )

    def _targets(self, names: Sequence[str], vote: Vote) -> str | None:
        wanted = DIMENSIONS if vote == "mean" else ("emotion",)
        covered = [
            [target for target in facts.targets if target in wanted] for facts in self.members
        ]
        shown = [", ".join(facts.targets) or "nothing" for facts in self.members]
        if not all(covered):
            what = "dimensions" if vote == "mean" else "emotions"
            said = "; ".join(f"{n}: {t}" for n, t in zip(names, shown, strict=True))
            return f"a {vote} vote is of {what}, which not every member predicts: {said}"
        differing = _differing(names, [", ".join(targets) for targets in covered])
        return differing and f"the members predict different dimensions: {differing}"

    def _emotions(self, names: Sequence[str], vote: Vote) -> str | None:
        if vote == "mean":
            return None
        for name, facts in zip(names, self.members, strict=True):
            if facts.num_improper_scores:
                return (
                    f"{name} has {facts.num_improper_scores} predictions whose emotion_scores are "
                    "no probabilities (0 to 1, summing to 1)"
                )
            if facts.num_without_scores and vote == "soft":
                return (
                    f"a soft vote needs emotion_scores, which {facts.num_without_scores} "
                    f"predictions of {name} lack; --vote hard does without"
                )
        with_scores = [(n, f) for n, f in zip(names, self.members, strict=True) if f.categories]
        shown = _differing(
            [name for name, _ in with_scores], [", ".join(f.categories) for _, f in with_scores]
        )
        if shown:
            return f"the members know different emotions: {shown}"
        known = set(with_scores[0][1].categories) if with_scores else set(self.targets(vote))
        for name, facts in zip(names, self.members, strict=True):
            others = {e for f in self.members if f is not facts for e in f.emotions + f.categories}
            unknown = sorted(set(facts.emotions) - known)
            if unknown or not set(facts.emotions + facts.categories) & others:
                said = ", ".join(unknown or facts.emotions)
                return (
                    f"the members know different emotions: {name} predicts {said}, the others "
                    + (", ".join(sorted(known if unknown else others)))
                )
        return None


def _differing(names: Sequence[str], values: Sequence[str]) -> str | None:
    """Return who has which value, or None where all have the same."""
    if len(set(values)) < 2:
        return None
    return "; ".join(f"{name}: {value}" for name, value in zip(names, values, strict=True))


def _some(examples: Sequence[str], number: int) -> str:
    shown = ", ".join(map(repr, examples))
    return f"{shown}, ..." if number > len(examples) else shown
