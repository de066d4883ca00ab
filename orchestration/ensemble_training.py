"""`serval train` of an ensemble: each member by itself, then the model that they are together.

    DIR/cnn14/ ...    a member, as `serval train` leaves it
    DIR/config.json   the ensemble, which names its members

Every member resumes for itself; what is trained already is not trained again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestration.ensembles.registration import register_ensemble, resolve_ensemble
from orchestration.training import SeriesSummary, all_overrides, train_recipe
from orchestration.training_record import TrainSummary
from ser_model import storage
from ser_model.manifest_checks import TruthRange
from ser_model.models.base import Task
from ser_model.models.ensemble import save_ensemble
from ser_model.schema import ConfigError
from ser_model.training.ensemble_recipe import load_ensemble_recipe
from ser_model.training.recipe import load_recipe
from ser_model.voting import Vote


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleSummary:
    """The end of the trainings of an ensemble.

    Attributes:
        output: folder of the ensemble.
        recipe: name of the recipe.
        task: dimensions or emotion.
        vote: hard, soft or mean.
        members: the URI of each member's model, by the name of its recipe.
        trainings: of the members.
        weights_sha256: of vote and members.
        model_uri: pinned version in the registry; None where no name was given.
    """

    output: str
    recipe: str
    task: Task
    vote: Vote
    members: Mapping[str, str]
    trainings: tuple[TrainSummary | SeriesSummary, ...]
    weights_sha256: str
    model_uri: str | None


def train_ensemble(
    recipe_name: str,
    manifest_uri: str,
    output: str,
    *,
    target: Task | None = None,
    name: str | None = None,
    overrides: Sequence[str] = (),
    truth_range: TruthRange = (0.0, 1.0),
    devices: str = "auto",
    num_workers: int = 1,
    transcripts_uri: str | None = None,
) -> EnsembleSummary:
    """Train the members of an ensemble, and register them and what they are together.

    Of a member that is trained with several seeds, the one that is best on dev is taken.

    Args:
        recipe_name: one of `list_ensemble_recipes()`.
        manifest_uri: as of `train_recipe`.
        output: folder of the ensemble, a path or a URI.
        target: as of `train_recipe`.
        name: registered model; its members are registered as NAME-MEMBER. None to put nothing into
            MLflow.
        overrides: "key=value" for all members, or "MEMBER.key=value" for one.
        truth_range: as of `train_recipe`.
        devices: likewise.
        num_workers: likewise.
        transcripts_uri: likewise.

    Raises:
        ServalError: as `train_recipe`.
    """
    recipe, by_member = load_ensemble_recipe(recipe_name, all_overrides(target, overrides))
    for member, words in by_member.items():
        if load_recipe(member, words).data.fold_by is not None:
            raise ConfigError(
                f"recipe {recipe_name}: an ensemble is of models that hear all of train; for "
                "cross-validation train the members with their folds, and vote on what they "
                "predict of test: serval ensemble vote A/test.parquet B/test.parquet --output RUN"
            )
    trainings = [
        train_recipe(
            member,
            manifest_uri,
            storage.join(output, short_name),
            name=None if name is None else f"{name}-{short_name}",
            overrides=by_member[member],
            truth_range=truth_range,
            devices=devices,
            num_workers=num_workers,
            transcripts_uri=transcripts_uri,
        )
        for member, short_name in zip(recipe.members, recipe.short_names, strict=True)
    ]
    uris = [_uri_of(training) for training in trainings]
    config = resolve_ensemble(uris, vote=recipe.vote)
    save_ensemble(config, output)
    registered = None if name is None else register_ensemble(uris, name=name, vote=recipe.vote)
    return EnsembleSummary(
        output=output,
        recipe=recipe_name,
        task=recipe.model_task,
        vote=recipe.vote,
        members=dict(zip(recipe.members, uris, strict=True)),
        trainings=tuple(trainings),
        weights_sha256=config.sha256(),
        model_uri=None if registered is None else registered.uri,
    )


def _uri_of(training: TrainSummary | SeriesSummary) -> str:
    if training.model_uri is not None:
        return training.model_uri
    folder = training.best if isinstance(training, SeriesSummary) else training.output
    return storage.absolute(folder)
