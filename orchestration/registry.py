"""Models by URI: versions and aliases of the MLflow registry, local folders, untrained recipes."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from orchestration import mlflow_store
from ser_model import storage
from ser_model.models.base import EmotionModel, build_model
from ser_model.models.checkpoint import HUB_SCHEME, hub_revision
from ser_model.models.onnx_export import export_onnx
from ser_model.models.onnx_model import ONNX_SCHEME, OnnxModel, load_onnx_model
from ser_model.models.pretrained import untrained
from ser_model.models.storage import CONFIG_NAME, load_model, weights_sha256
from ser_model.schema import DIMENSIONS, ModelError
from ser_model.training.recipe import Recipe, list_recipes, load_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

KNOWN_URIS = (
    "models:/NAME/VERSION, models:/NAME@ALIAS, hf:ORG/NAME, onnx:FILE, a folder with config.json "
    "and model.safetensors, random:RECIPE?seed=0"
)
SHA256_TAG = "serval.weights_sha256"
TASK_TAG = "serval.task"
SOURCE_TAG = "serval.source"

SERVER_SCHEME = "mlflow-artifacts:"
"""Artifacts that a tracking server hands out itself; only MLflow can fetch them."""

_VERSION = re.compile(r"models:/([^/@]+)/([0-9]+)")
_ALIAS = re.compile(r"models:/([^/@]+)@([^/@]+)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A model that was found: which one, and where any process can load it from.

    Attributes:
        uri: pinned: an alias has become a version, a hub's branch a commit.
        version: short and unlike that of other models: "demo/3".
        weights_sha256: of the weights that were found; `load` accepts no others.
        folder: where config.json and model.safetensors are, or hf:ORG/NAME@COMMIT, or onnx:FILE;
            None for an untrained recipe.
        recipe: of an untrained model, else None.
        seed: of an untrained model.
    """

    uri: str
    version: str
    weights_sha256: str
    folder: str | None
    recipe: str | None = None
    seed: int = 0

    def load(self) -> EmotionModel | OnnxModel:
        """Load the model, in eval mode.

        Raises:
            ModelError: it cannot be loaded, or is not the one that was resolved.
        """
        model: EmotionModel | OnnxModel
        if self.folder is not None and self.folder.startswith(ONNX_SCHEME):
            model = load_onnx_model(self.folder)
        elif self.folder is None:
            assert self.recipe is not None, "a model has a folder or a recipe"
            model = _untrained(self.recipe, self.seed)
        else:
            with _readable(self.folder) as folder:
                model = load_model(folder)
        found = model.weights_sha256 if isinstance(model, OnnxModel) else weights_sha256(model)
        if found != self.weights_sha256:
            raise ModelError(f"the weights of {self.uri} have changed since they were resolved")
        return model


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


def resolve_model(uri: str) -> ResolvedModel:
    """Find a model.

    Args:
        uri: one of KNOWN_URIS.

    Raises:
        ModelError: there is no such model; the message lists the ones that there are.
    """
    if uri.startswith("models:"):
        return _resolve_registered(uri)
    if uri.startswith("random:"):
        return _resolve_random(uri)
    if uri.startswith(HUB_SCHEME):
        return _resolve_on_hub(uri)
    if uri.startswith(ONNX_SCHEME):
        return _resolve_onnx(uri)
    if storage.exists(storage.join(uri, CONFIG_NAME)):
        path = storage.local_path(uri)
        folder = uri if path is None else str(path.absolute())
        sha256 = weights_sha256(load_model(folder))
        return ResolvedModel(uri=folder, version=sha256[:12], weights_sha256=sha256, folder=folder)
    raise ModelError(f"no model {uri!r}; known are: {KNOWN_URIS}")


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
    if not _NAME.fullmatch(name):
        raise ModelError(f"model name {name!r} must be of letters, digits and . _ - alone")
    from mlflow.exceptions import MlflowException

    if folder.startswith(HUB_SCHEME):
        hub_id, revision = hub_revision(folder)
        folder = f"{HUB_SCHEME}{hub_id}@{revision}"
    model = load_model(folder)
    sha256 = weights_sha256(model)
    client = mlflow_store.open_client()
    for known in client.search_model_versions(f"name='{name}'"):
        if known.tags.get(SHA256_TAG) == sha256:
            return str(known.version)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    model_id, location = mlflow_store.log_model(client, folder, name=name, run_id=run_id)
    created = client.create_model_version(
        name,
        source=location,
        run_id=run_id,
        model_id=model_id,
        tags={SHA256_TAG: sha256, TASK_TAG: model.task, SOURCE_TAG: folder},
    )
    version = str(created.version)
    client.set_registered_model_alias(name, "candidate", version)
    return version


def set_alias(name: str, alias: str, version: str) -> None:
    """Give an alias (champion, candidate) to one version of a model, and take it from any other."""
    with _as_model_error(f"models:/{name}/{version}"):
        mlflow_store.open_client().set_registered_model_alias(name, alias, version)


def promote(uri: str, alias: str) -> ResolvedModel:
    """Give an alias to the registered model that `uri` means.

    Raises:
        ModelError: the URI means no registered model.
    """
    resolved = resolve_model(uri)
    match = _VERSION.fullmatch(resolved.uri)
    if match is None:
        raise ModelError(
            f"{uri} is not in the registry; put it there with `serval models import {uri} --name N`"
        )
    set_alias(match[1], alias, match[2])
    return resolved


def list_models() -> list[RegisteredVersion]:
    """Return all versions of all models, by name, the newest version first."""
    return _versions(mlflow_store.open_client())


def describe_model(uri: str) -> dict[str, Any]:
    """Return what is known of a model: identity, configuration, size, and how it was trained."""
    resolved = resolve_model(uri)
    model = resolved.load()
    return {
        **_training_of(resolved),
        "uri": resolved.uri,
        "weights_sha256": resolved.weights_sha256,
        "folder": resolved.folder,
        "task": model.task,
        "targets": list(model.targets),
        "num_parameters": _num_parameters(model),
        "min_duration_s": model.min_samples / 16_000,
    }


def export_model(uri: str, file: str) -> ResolvedModel:
    """Write a model as an ONNX file; return the file as a model.

    Args:
        uri: of a model with weights of Serval's.
        file: path or URI to write.

    Raises:
        ConfigError: the extra `onnx` is not installed.
        ModelError: there is no such model, or it cannot be exported.
    """
    model = resolve_model(uri).load()
    if isinstance(model, OnnxModel):
        raise ModelError(f"{uri} is an ONNX file already")
    storage.write_atomic(file, export_onnx(model))
    return resolve_model(f"{ONNX_SCHEME}{file}")


def _num_parameters(model: EmotionModel | OnnxModel) -> int | None:
    """Return how many weights a model has; an ONNX file does not tell them from constants."""
    if isinstance(model, OnnxModel):
        return None
    return sum(parameter.numel() for parameter in model.parameters())


def _training_of(resolved: ResolvedModel) -> dict[str, Any]:
    """Return recipe and metrics from the record beside the weights, where there is one."""
    if resolved.folder is None or resolved.folder.startswith((HUB_SCHEME, ONNX_SCHEME)):
        return {}
    with _readable(resolved.folder) as folder:
        uri = storage.join(folder, mlflow_store.TRAINING_RECORD)
        if not storage.exists(uri):
            return {}
        record = storage.read_json(uri)
    names = ("recipe_name", "recipe", "overrides", "best", "num_segments", "speakers_overlap")
    return {name: record[name] for name in names if name in record}


def _resolve_registered(uri: str) -> ResolvedModel:
    by_version, by_alias = _VERSION.fullmatch(uri), _ALIAS.fullmatch(uri)
    client = mlflow_store.open_client()
    with _as_model_error(uri):
        if by_version is not None:
            found = client.get_model_version(by_version[1], by_version[2])
        elif by_alias is not None:
            found = client.get_model_version_by_alias(by_alias[1], by_alias[2])
        else:
            raise ModelError(f"{uri!r} is no model URI; known are: {KNOWN_URIS}")
        location = client.get_model_version_download_uri(found.name, found.version)
    pinned = f"models:/{found.name}/{found.version}"
    folder = _absolute(location)
    with _readable(folder) as readable:
        sha256 = weights_sha256(readable)
    if found.tags.get(SHA256_TAG, sha256) != sha256:
        raise ModelError(f"the weights of {pinned} in {folder} are not the ones registered")
    return ResolvedModel(
        uri=pinned,
        version=f"{found.name}/{found.version}",
        weights_sha256=sha256,
        folder=folder,
    )


def _resolve_on_hub(uri: str) -> ResolvedModel:
    hub_id, revision = hub_revision(uri)
    pinned = f"{HUB_SCHEME}{hub_id}@{revision}"
    return ResolvedModel(
        uri=pinned,
        version=f"{hub_id}@{revision[:12]}",
        weights_sha256=weights_sha256(load_model(pinned)),
        folder=pinned,
    )


def _resolve_onnx(uri: str) -> ResolvedModel:
    path = storage.local_path(uri.removeprefix(ONNX_SCHEME))
    pinned = uri if path is None else f"{ONNX_SCHEME}{path.absolute()}"
    sha256 = load_onnx_model(pinned).weights_sha256
    return ResolvedModel(uri=pinned, version=sha256[:12], weights_sha256=sha256, folder=pinned)


def _resolve_random(uri: str) -> ResolvedModel:
    recipe, _, query = uri.removeprefix("random:").partition("?")
    options = dict(parse_qsl(query))
    seed = options.pop("seed", "0")
    if recipe not in list_recipes() or options or not seed.isdecimal():
        raise ModelError(
            f"{uri!r} is not random:RECIPE?seed=0 with one of the recipes: "
            f"{', '.join(list_recipes())}"
        )
    return ResolvedModel(
        uri=f"random:{recipe}?seed={int(seed)}",
        version=f"{recipe}/random-{int(seed)}",
        weights_sha256=weights_sha256(_untrained(recipe, int(seed))),
        folder=None,
        recipe=recipe,
        seed=int(seed),
    )


def _untrained(recipe: str, seed: int) -> EmotionModel:
    loaded = load_recipe(recipe, ["task=dimensions"])
    if not isinstance(loaded, Recipe):
        raise ModelError(
            f"random:{recipe}: only networks have weights before they are trained; "
            f"serval train {recipe}"
        )
    return build_model(untrained(loaded.model_config(DIMENSIONS)), seed).eval()


def _absolute(location: str) -> str:
    path = storage.local_path(location)
    if path is None or location.startswith(SERVER_SCHEME):
        return location
    return str(path.absolute())


@contextmanager
def _readable(folder: str) -> Iterator[str]:
    """Yield a folder that `ser_model.storage` reads; fetch it where only MLflow knows how."""
    if not folder.startswith(SERVER_SCHEME):
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        mlflow_store.download(folder, temporary)
        yield temporary


@contextmanager
def _as_model_error(uri: str) -> Iterator[None]:
    """Turn MLflow's refusal into one line that lists what there is."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        known = _versions(mlflow_store.open_client())
        listed = ", ".join([version.uri for version in known[:10]]) or "none yet (serval train)"
        raise ModelError(
            f"no model {uri} in {mlflow_store.shown_uri()}; registered are: {listed}"
        ) from error


def _versions(client: MlflowClient) -> list[RegisteredVersion]:
    aliases = {model.name: dict(model.aliases) for model in client.search_registered_models()}
    rows = [_row(version, aliases.get(version.name, {})) for version in _all_versions(client)]
    return sorted(rows, key=lambda row: (row.name, -int(row.version)))


def _all_versions(client: MlflowClient) -> Sequence[ModelVersion]:
    return list(client.search_model_versions())


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
