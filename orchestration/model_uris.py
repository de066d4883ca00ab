"""Models by URI: in the MLflow registry, on the hub, in ONNX files and folders, or untrained."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import parse_qsl

from orchestration import mlflow_store
from orchestration.registry import SHA256_TAG, find_version
from ser_model import storage
from ser_model.models.base import EmotionModel, ModelConfig, build_model
from ser_model.models.checkpoint import HUB_SCHEME, hub_revision
from ser_model.models.ensemble import Ensemble, EnsembleConfig, read_ensemble
from ser_model.models.onnx_model import ONNX_SCHEME, OnnxModel, load_onnx_model
from ser_model.models.pretrained import untrained
from ser_model.models.storage import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    load_model,
    read_config,
    weights_sha256,
)
from ser_model.schema import DIMENSIONS, ModelError
from ser_model.training.recipe import Recipe, list_recipes, load_recipe

KNOWN_URIS = (
    "models:/NAME/VERSION, models:/NAME@ALIAS, hf:ORG/NAME, onnx:FILE, a folder with config.json "
    "and model.safetensors, random:RECIPE?seed=0"
)
REGISTRY_SCHEME = "models:"
RANDOM_SCHEME = "random:"

AnyModel: TypeAlias = EmotionModel | OnnxModel | Ensemble


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A model that was found: which one, and where any process can load it from.

    Attributes:
        uri: pinned: an alias has become a version, a hub's branch a commit.
        version: short and unlike that of other models: "demo/3".
        weights_sha256: of the weights that were found; `load` accepts no others.
        location: of a version in the registry the folder of its files; else the URI itself.
        config: of a single model, without its weights; None for an ensemble, for ONNX files that do
            not read and for models of the hub, of which none reads.
        ensemble: who votes how, if it is one.
        members: in the order of `ensemble`.
    """

    uri: str
    version: str
    weights_sha256: str
    location: str
    config: ModelConfig | None = None
    ensemble: EnsembleConfig | None = None
    members: tuple[ResolvedModel, ...] = ()

    @property
    def uses_text(self) -> bool:
        """Whether it, or one of its members, reads transcripts."""
        own = self.config is not None and self.config.text is not None
        return own or any(member.uses_text for member in self.members)

    @property
    def needs_transcript(self) -> bool:
        """Whether a segment without transcript is rejected."""
        own = self.config is not None and self.config.needs_transcript
        return own or any(member.needs_transcript for member in self.members)

    def load(self) -> AnyModel:
        """Load the model, in eval mode.

        Raises:
            ModelError: it cannot be loaded, or is not the one that was resolved.
        """
        model: AnyModel
        if self.ensemble is not None:
            model = Ensemble(self.ensemble, [member.load() for member in self.members])
        elif self.location.startswith(ONNX_SCHEME):
            model = load_onnx_model(self.location)
        elif self.location.startswith(RANDOM_SCHEME):
            model = _untrained(*_recipe_and_seed(self.location))
        else:
            with mlflow_store.readable(self.location) as folder:
                model = load_model(folder)
        found = weights_sha256(model) if isinstance(model, EmotionModel) else model.weights_sha256
        if found != self.weights_sha256:
            raise ModelError(f"the weights of {self.uri} have changed since they were resolved")
        return model


def resolve_model(uri: str) -> ResolvedModel:
    """Find a model.

    Args:
        uri: one of KNOWN_URIS.

    Raises:
        ModelError: there is no such model; the message lists the ones that there are.
    """
    return _resolve(uri, may_be_ensemble=True)


def _resolve_members(ensemble: EnsembleConfig, uri: str) -> tuple[ResolvedModel, ...]:
    """Find the members of an ensemble.

    Args:
        ensemble: names them.
        uri: its own, for messages.

    Raises:
        ModelError: one is not there, is no more what it was, or is an ensemble itself.
    """
    members = tuple(_resolve(member.uri, may_be_ensemble=False) for member in ensemble.members)
    for found, member in zip(members, ensemble.members, strict=True):
        if found.weights_sha256 != member.weights_sha256:
            raise ModelError(f"the weights of {member.uri} are not the ones that {uri} was made of")
    return members


def _resolve(uri: str, *, may_be_ensemble: bool) -> ResolvedModel:
    if uri.startswith(REGISTRY_SCHEME):
        return _resolve_registered(uri, may_be_ensemble=may_be_ensemble)
    if uri.startswith(RANDOM_SCHEME):
        return _resolve_random(uri)
    if uri.startswith(HUB_SCHEME):
        return _resolve_on_hub(uri)
    if uri.startswith(ONNX_SCHEME):
        return _resolve_onnx(uri)
    if storage.exists(storage.join(uri, CONFIG_NAME)):
        return _resolve_folder(uri, may_be_ensemble=may_be_ensemble)
    raise ModelError(f"no model {uri!r}; known are: {KNOWN_URIS}")


def size_on_disk(uri: str) -> int | None:
    """Return the bytes of a model's weights; None where no file of them is at hand."""
    try:
        if uri.startswith(REGISTRY_SCHEME):
            found = find_version(uri) if mlflow_store.exists() else None
            folder = None if found is None else found[1]
        else:
            folder = None if uri.startswith((RANDOM_SCHEME, HUB_SCHEME)) else uri
        if folder is None or folder.startswith(mlflow_store.SERVER_SCHEME):
            return None
        is_onnx = folder.startswith(ONNX_SCHEME)
        file = folder.removeprefix(ONNX_SCHEME) if is_onnx else storage.join(folder, WEIGHTS_NAME)
        with storage.open_binary(file) as stream:
            return stream.seek(0, io.SEEK_END)
    except (ModelError, OSError):
        return None


def _resolve_registered(uri: str, *, may_be_ensemble: bool) -> ResolvedModel:
    found = find_version(uri)
    if found is None:
        raise ModelError(f"{uri!r} is no model URI; known are: {KNOWN_URIS}")
    version, folder = found
    pinned = f"models:/{version.name}/{version.version}"
    with mlflow_store.readable(folder) as readable:
        ensemble = _read_ensemble(readable, pinned, may_be_ensemble=may_be_ensemble)
        sha256 = weights_sha256(readable) if ensemble is None else ensemble.sha256()
        config = read_config(readable) if ensemble is None else None
    if version.tags.get(SHA256_TAG, sha256) != sha256:
        raise ModelError(f"the weights of {pinned} in {folder} are not the ones registered")
    return ResolvedModel(
        uri=pinned,
        version=f"{version.name}/{version.version}",
        weights_sha256=sha256,
        location=folder,
        config=config,
        ensemble=ensemble,
        members=() if ensemble is None else _resolve_members(ensemble, pinned),
    )


def _read_ensemble(folder: str, uri: str, *, may_be_ensemble: bool) -> EnsembleConfig | None:
    ensemble = read_ensemble(folder)
    if ensemble is not None and not may_be_ensemble:
        raise ModelError(f"{uri} is an ensemble itself; name its members instead")
    return ensemble


def _resolve_random(uri: str) -> ResolvedModel:
    recipe, seed = _recipe_and_seed(uri)
    pinned = f"{RANDOM_SCHEME}{recipe}?seed={seed}"
    model = _untrained(recipe, seed)
    return ResolvedModel(
        uri=pinned,
        version=f"{recipe}/random-{seed}",
        weights_sha256=weights_sha256(model),
        location=pinned,
        config=model.config,
    )


def _recipe_and_seed(uri: str) -> tuple[str, int]:
    recipe, _, query = uri.removeprefix(RANDOM_SCHEME).partition("?")
    options = dict(parse_qsl(query))
    seed = options.pop("seed", "0")
    if recipe not in list_recipes() or options or not seed.isdecimal():
        raise ModelError(
            f"{uri!r} is not random:RECIPE?seed=0 with one of the recipes: "
            f"{', '.join(list_recipes())}"
        )
    return recipe, int(seed)


def _untrained(recipe: str, seed: int) -> EmotionModel:
    loaded = load_recipe(recipe, ["task=dimensions"])
    if not isinstance(loaded, Recipe):
        raise ModelError(
            f"random:{recipe}: only networks have weights before they are trained; "
            f"serval train {recipe}"
        )
    return build_model(untrained(loaded.model_config(DIMENSIONS)), seed).eval()


def _resolve_on_hub(uri: str) -> ResolvedModel:
    hub_id, revision = hub_revision(uri)
    pinned = f"{HUB_SCHEME}{hub_id}@{revision}"
    return ResolvedModel(
        uri=pinned,
        version=f"{hub_id}@{revision[:12]}",
        weights_sha256=weights_sha256(load_model(pinned)),
        location=pinned,
    )


def _resolve_onnx(uri: str) -> ResolvedModel:
    path = storage.local_path(uri.removeprefix(ONNX_SCHEME))
    pinned = uri if path is None else f"{ONNX_SCHEME}{path.absolute()}"
    model = load_onnx_model(pinned)
    return ResolvedModel(
        uri=pinned,
        version=model.weights_sha256[:12],
        weights_sha256=model.weights_sha256,
        location=pinned,
        config=model.config,
    )


def _resolve_folder(uri: str, *, may_be_ensemble: bool) -> ResolvedModel:
    path = storage.local_path(uri)
    pinned = uri if path is None else str(path.absolute())
    ensemble = _read_ensemble(pinned, pinned, may_be_ensemble=may_be_ensemble)
    if ensemble is not None:
        sha256 = ensemble.sha256()
        return ResolvedModel(
            uri=pinned,
            version=sha256[:12],
            weights_sha256=sha256,
            location=pinned,
            ensemble=ensemble,
            members=_resolve_members(ensemble, pinned),
        )
    model = load_model(pinned)
    sha256 = weights_sha256(model)
    return ResolvedModel(
        uri=pinned,
        version=sha256[:12],
        weights_sha256=sha256,
        location=pinned,
        config=model.config,
    )
