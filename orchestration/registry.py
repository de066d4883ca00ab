"""The MLflow registry: versions of models, and the aliases that say which one is in use."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from orchestration import mlflow_store
from ser_model import storage
from ser_model.models.base import Scorer
from ser_model.models.checkpoint import HUB_SCHEME, hub_revision
from ser_model.models.storage import load_model, save_model, weights_sha256
from ser_model.schema import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow.entities.model_registry import ModelVersion

SHA256_TAG = "serval.weights_sha256"
TASK_TAG = "serval.task"
SOURCE_TAG = "serval.source"

PROMOTION_TAG = "serval.promotion"
"""Of a version that became champion: JSON that says how, by whom and when."""

NIGHT_TAG = "serval.night"
"""Of a night's MLflow run: its name. Of a version: JSON that names the last night that it was in,
its part in it, the run and the reports."""

REGISTERED_URI = re.compile(r"models:/(?P<name>[^/@]+)(/(?P<version>[0-9]+)|@(?P<alias>[^/@]+))")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredVersion:
    """A line of `serval models list`.

    Attributes:
        uri: models:/NAME/VERSION.
        name: of the registered model.
        version: a number from 1 on.
        aliases: sorted.
        task: dimensions or emotion.
        weights_sha256: of the weights.
        created_s: seconds since 1970.
    """

    uri: str
    name: str
    version: str
    aliases: tuple[str, ...]
    task: str
    weights_sha256: str
    created_s: float


@contextmanager
def _as_refusal() -> Iterator[None]:
    """Say in one line that a tracking server wants to know who asks, or lets others only."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            raise
        raise ModelError(
            f"{mlflow_store.shown_uri()} does not let this user do that ({error.error_code}); set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to those of an account that may"
        ) from error


def register_model(folder: str, *, name: str, run_id: str | None = None) -> str:
    """Store the model of a folder as a version of `name` with the alias `candidate`.

    The same weights are registered once: a second time returns the version that has them.

    Args:
        folder: that `save_model` wrote, or in the Hugging Face layout, or hf:ORG/NAME.
        name: of the registered model; made where it is new.
        run_id: the MLflow run that it came from.

    Returns:
        The version.

    Raises:
        ModelError: the folder holds no model, or the name is not allowed.
    """
    check_name(name)
    if folder.startswith(HUB_SCHEME):
        hub_id, revision = hub_revision(folder)
        folder = f"{HUB_SCHEME}{hub_id}@{revision}"
    model = load_model(folder)
    return register(
        model,
        partial(save_model, model),
        weights_sha256=weights_sha256(model),
        source=folder,
        name=name,
        run_id=run_id,
    )


def check_name(name: str) -> None:
    """Raise ModelError where a model cannot be called so."""
    if not _NAME.fullmatch(name):
        raise ModelError(f"model name {name!r} must be of letters, digits and . _ - alone")


@_as_refusal()
def register(
    model: Scorer,
    save: Callable[[str], None],
    *,
    weights_sha256: str,
    source: str,
    name: str,
    run_id: str | None = None,
) -> str:
    """Store any model as a version of `name`; see `register_model`.

    Args:
        model: what it is.
        save: writes it into a local folder.
        weights_sha256: what tells it from others.
        source: where it is from; a training's record there is stored too.
        name: of the registered model, checked by `check_name`; made where it is new.
        run_id: the MLflow run that it came from.
    """
    from mlflow.exceptions import MlflowException

    client = mlflow_store.open_client()
    for known in client.search_model_versions(f"name='{name}'"):
        if known.tags.get(SHA256_TAG) == weights_sha256:
            return str(known.version)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    model_id, location = mlflow_store.log_model(
        client, model, save, source, name=name, run_id=run_id
    )
    created = client.create_model_version(
        name,
        source=location,
        run_id=run_id,
        model_id=model_id,
        tags={SHA256_TAG: weights_sha256, TASK_TAG: model.task, SOURCE_TAG: source},
    )
    version = str(created.version)
    client.set_registered_model_alias(name, "candidate", version)
    return version


def set_alias(name: str, alias: str, version: str) -> None:
    """Give an alias (champion, candidate) to one version of a model, and take it from any other."""
    with _as_model_error(f"models:/{name}/{version}"):
        mlflow_store.open_client().set_registered_model_alias(name, alias, version)


def find_alias(name: str, alias: str) -> RegisteredVersion | None:
    """Return the version of a model that has an alias; None where none has it.

    Raises:
        ModelError: there is no such model.
    """
    client = mlflow_store.open_client()
    with _as_model_error(f"models:/{name}"):
        aliases = dict(client.get_registered_model(name).aliases)
        if alias not in aliases:
            return None
        return _row(client.get_model_version(name, str(aliases[alias])), aliases)


def tag_version(name: str, version: str, tag: str, value: str) -> None:
    """Write a tag on a version of a model; one of this name is replaced."""
    with _as_model_error(f"models:/{name}/{version}"):
        mlflow_store.open_client().set_model_version_tag(name, version, tag, value)


def find_version(uri: str) -> tuple[ModelVersion, str] | None:
    """Find a version by models:/NAME/VERSION or models:/NAME@ALIAS.

    Returns:
        The version, and the folder that MLflow keeps its files in; None for any other URI.

    Raises:
        ModelError: there is no such version; the message lists the ones that there are.
    """
    match = REGISTERED_URI.fullmatch(uri)
    if match is None:
        return None
    client = mlflow_store.open_client()
    with _as_model_error(uri):
        if match["version"] is not None:
            found = client.get_model_version(match["name"], match["version"])
        else:
            found = client.get_model_version_by_alias(match["name"], match["alias"])
        location = client.get_model_version_download_uri(found.name, found.version)
    return found, _absolute(location)


@_as_refusal()
def list_models() -> list[RegisteredVersion]:
    """Return all versions of all models, by name, the newest version first."""
    client = mlflow_store.open_client()
    aliases = {model.name: dict(model.aliases) for model in client.search_registered_models()}
    rows = [
        _row(version, aliases.get(version.name, {})) for version in client.search_model_versions()
    ]
    return sorted(rows, key=lambda row: (row.name, -int(row.version)))


def _absolute(location: str) -> str:
    path = storage.local_path(location)
    if path is None or location.startswith(mlflow_store.SERVER_SCHEME):
        return location
    return str(path.absolute())


@contextmanager
def _as_model_error(uri: str) -> Iterator[None]:
    """Turn MLflow's refusal into one line that lists what there is."""
    from mlflow.exceptions import MlflowException

    try:
        with _as_refusal():
            yield
    except MlflowException as error:
        known = list_models()
        listed = ", ".join([version.uri for version in known[:10]]) or "none yet (serval train)"
        raise ModelError(
            f"no model {uri} in {mlflow_store.shown_uri()}; registered are: {listed}"
        ) from error


def _row(version: ModelVersion, aliases: dict[str, str]) -> RegisteredVersion:
    number = str(version.version)
    return RegisteredVersion(
        uri=f"models:/{version.name}/{number}",
        name=version.name,
        version=number,
        aliases=tuple(sorted(alias for alias, at in aliases.items() if str(at) == number)),
        task=version.tags.get(TASK_TAG, ""),
        weights_sha256=version.tags.get(SHA256_TAG, ""),
        created_s=version.creation_timestamp / 1000,
    )
