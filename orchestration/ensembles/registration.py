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
    members = [_resolve(uri) for uri in uris]
    loaded = [member.load() for member in members]
    if vote is None:
        vote = "mean" if loaded and loaded[0].task == "dimensions" else "hard"
    try:
        config = EnsembleConfig(
            vote=vote,
            members=tuple(
                Member(uri=member.uri, weights_sha256=member.weights_sha256) for member in members
            ),
        )
    except ValueError as error:
        raise ModelError(f"these models are no ensemble: {error}") from error
    version = register(
        Ensemble(config, loaded),
        partial(save_ensemble, config),
        weights_sha256=config.sha256(),
        source=" ".join(member.uri for member in members),
        name=name,
    )
    return RegisteredEnsemble(
        uri=f"models:/{name}/{version}", vote=vote, members=tuple(member.uri for member in members)
    )


def _resolve(uri: str) -> ResolvedModel:
    resolved = resolve_model(uri)
    if resolved.ensemble is not None:
        raise ModelError(f"{uri} is an ensemble itself; name its members instead")
    return resolved
