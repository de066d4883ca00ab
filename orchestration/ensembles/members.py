"""The members of an ensemble: runs, or files of predictions of any other tool."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.found_runs import FoundRun, find_run
from ser_model import storage
from ser_model.schema import RunError
from ser_model.voting import MIN_MEMBERS

if TYPE_CHECKING:
    from pipelines.member_comparison import MemberComparison
    from pipelines.transforms.members import MemberFile
    from ser_model.voting import Vote

ENSEMBLE_SCHEME = "ensemble:"
"""How the model URI of a run begins that was voted and not scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """The members, in the alphabetical order of their names.

    Attributes:
        names: what each is called: its model's version, or its file's name without the extension;
            as it was given, where two would be called the same.
        runs: what was found of each.
    """

    names: tuple[str, ...]
    runs: tuple[FoundRun, ...]

    @property
    def weights_sha256(self) -> tuple[str, ...]:
        """The hash of each member's weights, or of its file."""
        return tuple(run.sha256 if run.model is None else run.model[1] for run in self.runs)

    @property
    def uris(self) -> tuple[str, ...]:
        """The URI of each member's model, or of its file."""
        return tuple(run.uri if run.model is None else run.model[0] for run in self.runs)

    def content_sha256(self) -> str:
        """Hash all that the members say."""
        return hashlib.sha256(
            " ".join(sorted(run.sha256 for run in self.runs)).encode()
        ).hexdigest()

    def files(self) -> list[MemberFile]:
        """Return the files of all members."""
        from pipelines.transforms.members import MemberFile

        return [
            MemberFile(member=number, uri=uri, is_rejections=is_rejections)
            for number, run in enumerate(self.runs)
            for is_rejections, uris in ((False, run.files), (True, run.rejections))
            for uri in uris
        ]


def find_members(uris: Sequence[str]) -> Members:
    """Find the members of an ensemble.

    Raises:
        RunError: one is absent or incomplete, one model is there twice, one was voted itself, or
            there are not enough.
    """
    if len(uris) < MIN_MEMBERS:
        raise RunError(f"{len(uris)} run is no ensemble; name {MIN_MEMBERS} or more")
    found = [find_run(uri) for uri in uris]
    names = [run.model_version or storage.name(run.uri).rpartition(".")[0] for run in found]
    names = [
        run.uri if names.count(name) > 1 else name for run, name in zip(found, names, strict=True)
    ]
    pairs = sorted(zip(names, found, strict=True), key=lambda pair: pair[0])
    members = Members(names=tuple(name for name, _ in pairs), runs=tuple(run for _, run in pairs))
    first: dict[str, FoundRun] = {}
    for run, sha256 in zip(members.runs, members.weights_sha256, strict=True):
        if run.model is not None and run.model[0].startswith(ENSEMBLE_SCHEME):
            raise RunError(f"{run.uri} was voted itself; name the runs of its members instead")
        if sha256 in first:
            raise RunError(
                f"{first[sha256].uri} and {run.uri} are of the same model, which has one vote"
            )
        first[sha256] = run
    return members


def choose_vote(comparison: MemberComparison, members: Members, vote: Vote | None) -> Vote:
    """Return the vote, a fitting one where none is asked for, of members that can vote together.

    Raises:
        RunError: they cannot, or it has to be said what is voted on.
    """
    if vote is None and comparison.members:
        of_emotions = all("emotion" in facts.targets for facts in comparison.members)
        of_dimensions = all(set(facts.targets) - {"emotion"} for facts in comparison.members)
        if of_emotions and of_dimensions:
            raise RunError(
                "the members predict both emotions and dimensions; choose with --vote hard, "
                "--vote soft (of emotions) or --vote mean (of dimensions)"
            )
        vote = "mean" if of_dimensions else "hard"
    comparison.check(members.names, vote or "hard")
    return vote or "hard"
