"""Registers models that vote as one: a registered version whose members are pinned versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from orchestration.model_uris import ResolvedModel, resolve_model
from orchestration.registry import check_name, register
from ser_model.models.ensemble import Ensemble, EnsembleConfig, Member, save_ensemble
from ser_model.schema import ModelError
from ser_model.voting import Vote


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredEnsemble:
    """What was registered.

    Attributes:
        uri: models:/NAME/VERSION.
        vote: hard, soft or mean.
        members: the URIs of the models, pinned.
    """

    uri: str
    vote: Vote
    members: tuple[str, ...]


def register_ensemble(
    uris: Sequence[str], *, name: str, vote: Vote | None = None
) -> RegisteredEnsemble:
    """Register models as one that votes.

    Aliases and branches are pinned: the ensemble stays what it is, whatever is promoted later. The
    same vote of the same members is registered once.

    Args:
        uris: of the members.
        name: of the registered model; made where it is new.
        vote: hard or soft, of emotions; mean, of dimensions; None for hard or mean, as fits.

    Raises:
        ModelError: a member is not there or an ensemble itself, members differ in task or targets,
            one is there twice, or the name is not allowed.
    """
    check_name(name)
    config = resolve_ensemble(uris, vote=vote)
    uris = [member.uri for member in config.members]
    model = Ensemble(config, [resolve_model(uri).load() for uri in uris])
    version = register(
        model,
        partial(save_ensemble, config),
        weights_sha256=config.sha256(),
        source=" ".join(uris),
        name=name,
    )
    return RegisteredEnsemble(
        uri=f"models:/{name}/{version}", vote=config.vote, members=tuple(uris)
    )


def resolve_ensemble(uris: Sequence[str], *, vote: Vote | None = None) -> EnsembleConfig:
    """Pin the members of an ensemble; arguments and errors as of `register_ensemble`."""
    members = [_resolve(uri) for uri in uris]
    if vote is None:
        is_of_dimensions = bool(members) and members[0].load().task == "dimensions"
        vote = "mean" if is_of_dimensions else "hard"
    try:
        return EnsembleConfig(
            vote=vote,
            members=tuple(
                Member(uri=member.uri, weights_sha256=member.weights_sha256) for member in members
            ),
        )
    except ValueError as error:
        raise ModelError(f"these models are no ensemble: {error}") from error


def _resolve(uri: str) -> ResolvedModel:
    resolved = resolve_model(uri)
    if resolved.ensemble is not None:
        raise ModelError(f"{uri} is an ensemble itself; name its members instead")
    return resolved
