"""Several models that vote as one.

An ensemble is stored as a folder with a `config.json` that names its members and has no weights of
its own; who calls resolves the names (`orchestration/model_uris.py`) and hands in the members.

Shapes: M members, B batch, N samples, D hidden features, K scores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from ser_model import storage
from ser_model.models.base import ModelOutput, Scorer
from ser_model.models.configuration import build
from ser_model.schema import ModelError
from ser_model.voting import MIN_MEMBERS, Vote, combine, members_sha256

CONFIG_NAME = "config.json"
FORMAT = "serval-ensemble"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of a stored ensemble.

    Attributes:
        uri: of the model, pinned to a version.
        weights_sha256: of its weights.
    """

    uri: str
    weights_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleConfig:
    """All that an ensemble is apart from its members.

    Attributes:
        vote: hard or soft, of emotions; mean, of dimensions.
        members: two or more, of different weights.
    """

    vote: Vote
    members: tuple[Member, ...]

    def __post_init__(self) -> None:
        """Refuse what is no ensemble."""
        if len(self.members) < MIN_MEMBERS:
            raise ValueError(f"members: {len(self.members)}, but it takes {MIN_MEMBERS} or more")
        first: dict[str, Member] = {}
        for member in self.members:
            if member.weights_sha256 in first:
                raise ValueError(
                    f"{first[member.weights_sha256].uri} and {member.uri} are the same model, "
                    "which has one vote"
                )
            first[member.weights_sha256] = member

    def sha256(self) -> str:
        """Return the hash that stands for the ensemble, as that of its weights does for a model."""
        return members_sha256(self.vote, [member.weights_sha256 for member in self.members])


def save_ensemble(config: EnsembleConfig, folder: str) -> None:
    """Write `config.json` into a folder, local or any URI."""
    content = {"format": FORMAT, **dataclasses.asdict(config)}
    storage.write_json(storage.join(folder, CONFIG_NAME), content)


def read_ensemble(folder: str) -> EnsembleConfig | None:
    """Read what `save_ensemble` wrote; None where the folder holds no ensemble.

    Raises:
        ModelError: it holds one that cannot be read.
    """
    uri = storage.join(folder, CONFIG_NAME)
    try:
        mapping = storage.read_json(uri)
    except (OSError, ValueError):
        return None  # whoever reads it as a model says what is wrong
    if mapping.pop("format", None) != FORMAT:
        return None
    try:
        return build(EnsembleConfig, mapping)
    except ValueError as error:
        raise ModelError(f"{uri} describes no ensemble: {error}") from error


class Ensemble:
    """Members as one model.

    Attributes:
        vote: as it is decided.
        members: the models, by their names.
        task: theirs.
        targets: theirs.
        min_samples: the longest of theirs.
        padding_free: whether all of them are.
        uses_text: whether one of them reads transcripts.
        needs_transcript: whether one of them cannot do without.
        weights_sha256: of vote and members.
    """

    def __init__(self, config: EnsembleConfig, members: Sequence[Scorer]) -> None:
        """Put members together.

        Args:
            config: names them, in the same order.
            members: the models.

        Raises:
            ModelError: they differ in task or targets, or the vote is not for their task.
        """
        self.vote = config.vote
        self.members = dict(zip((member.uri for member in config.members), members, strict=True))
        self.weights_sha256 = config.sha256()
        _refuse_differing("tasks", {uri: model.task for uri, model in self.members.items()})
        _refuse_differing(
            "targets", {uri: ", ".join(model.targets) for uri, model in self.members.items()}
        )
        self.task, self.targets = members[0].task, members[0].targets
        if (self.task == "dimensions") != (self.vote == "mean"):
            fitting = "mean" if self.task == "dimensions" else "hard or soft"
            raise ModelError(
                f"members for {self.task} have a {fitting} vote, not a {self.vote} one"
            )
        self.min_samples = max(member.min_samples for member in members)
        self.padding_free = all(member.padding_free for member in members)
        self.uses_text = any(member.uses_text for member in members)
        self.needs_transcript = any(member.needs_transcript for member in members)

    def to(self, device: str) -> Self:
        """Move the members to a device."""
        self.members = {uri: member.to(device) for uri, member in self.members.items()}
        return self

    def eval(self) -> Self:
        """Make the members ready to score."""
        self.members = {uri: member.eval() for uri, member in self.members.items()}
        return self

    def __call__(
        self, waveform_BN: Tensor, num_samples_B: Tensor, transcripts: Sequence[str] | None = None
    ) -> ModelOutput:
        """Score a batch; the embedding is the members' embeddings one behind the other."""
        outputs = [
            member(waveform_BN, num_samples_B, transcripts if member.uses_text else None)
            for member in self.members.values()
        ]
        scores_MBK = torch.stack([output.scores.float() for output in outputs])
        if self.task == "emotion":
            scores_MBK = torch.softmax(scores_MBK, dim=-1)
        # The one arithmetic that votes on runs have too, in float64.
        scores_BK = combine(self.vote, scores_MBK.cpu().numpy().astype(np.float64))
        if self.task == "emotion":
            # As logits, of which the softmax is the probabilities again.
            with np.errstate(divide="ignore"):
                scores_BK = np.log(scores_BK)
        return ModelOutput(
            scores=torch.from_numpy(scores_BK).to(scores_MBK),
            embedding=torch.cat([output.embedding.float() for output in outputs], dim=-1),
        )


def _refuse_differing(what: str, by_member: dict[str, Any]) -> None:
    if len(set(by_member.values())) > 1:
        shown = "; ".join(f"{uri}: {value}" for uri, value in by_member.items())
        raise ModelError(f"the members of an ensemble have different {what}: {shown}")
