"""A vote of systems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from orchestration.reproduce.steps.base import Context, PredictingStep, Step
from orchestration.reproduce.steps.predictions import PredictionsStep
from ser_model.voting import Vote


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteStep(PredictingStep):
    """Votes, as `serval ensemble vote` does.

    Attributes:
        system: name in the table.
        members: the predictions of each.
        vote: how they vote.
    """

    kind: ClassVar[str] = "votes"
    verb: ClassVar[str] = "vote:"
    system: str
    members: tuple[PredictionsStep, ...]
    vote: Vote

    @property
    def name(self) -> str:
        """How many vote, and how."""
        return f"{self.system} ({self.vote} vote of {len(self.members)})"

    @property
    def content(self) -> Mapping[str, object]:
        """How they vote."""
        return {"vote": self.vote}

    @property
    def inputs(self) -> tuple[Step, ...]:
        """The members."""
        return self.members

    def predictions(self, work: str, seed: int | None) -> str:
        """Return the run; the seed is that of the members."""
        del seed
        return self.folder(work)

    def run(self, context: Context) -> None:
        """Vote."""
        from orchestration.ensembles.voting import vote_on_runs

        uris = [member.uri(context.work) for member in self.members]
        vote_on_runs(uris, self.folder(context.work), vote=self.vote)
