"""Train a recipe on a manifest: read, train, keep the best epoch, log and register it in MLflow.

    manifest -> splits -> waveforms -> prepared inputs -> ser_model.training.train
             -> DIR/{model.safetensors, config.json, train.json} -> MLflow run, version `candidate`

`train.json` is written last and says what the model was made of: where it is there and says the
same, nothing is trained again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from orchestration import mlflow_store
from orchestration.progress import Progress
from orchestration.registry import register_model
from orchestration.training_data import TrainingData, read_training_data, with_splits
from ser_model import storage
from ser_model.manifest import TruthRange, read_manifest
from ser_model.models.base import Task
from ser_model.models.storage import save_model, weights_sha256
from ser_model.schema import ConfigError, ModelError, RunError
from ser_model.training.loop import Epoch, TrainResult, new_model, train
from ser_model.training.recipe import Recipe, load_recipe, to_mapping

logger = logging.getLogger(__name__)

RECORD_NAME = "train.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSummary:
    """The end of a training.

    Attributes:
        output: folder of the model.
        recipe: name of the recipe.
        task: dimensions or emotion.
        num_segments: by split, as used.
        num_rejected: segments of train and dev that could not be read.
        num_without_truth: segments of train and dev that have no truth for the task.
        best_epoch: the one that was kept.
        num_epochs: how many there were.
        dev: metrics of the best epoch on dev.
        weights_sha256: of the model.
        model_uri: pinned version in the registry; None where no name was given.
        version: its number alone.
        resumed: whether the model was there already.
    """

    output: str
    recipe: str
    task: Task
    num_segments: Mapping[str, int]
    num_rejected: int
    num_without_truth: int
    best_epoch: int
    num_epochs: int
    dev: Mapping[str, float]
    weights_sha256: str
    model_uri: str | None
    version: str | None
    resumed: bool


def train_recipe(
    recipe_name: str,
    manifest_uri: str,
    output: str,
    *,
    target: Task | None = None,
    name: str | None = None,
    overrides: Sequence[str] = (),
    truth_range: TruthRange = (0.0, 1.0),
) -> TrainSummary:
    """Train a model and, with a name, register it.

    Args:
        recipe_name: one of `list_recipes()`.
        manifest_uri: with truth, `speaker_id` and perhaps `split`.
        output: folder of the model, a path or a URI.
        target: dimensions or emotion; None for what the recipe says.
        name: registered model; None to register nothing.
        overrides: "key=value" for the recipe's fields.
        truth_range: scale of the dimensions in the manifest.

    Raises:
        InputError: the recipe, the manifest or the folder cannot be used.
        TooManyRejectedError: too many recordings could not be read.
    """
    recipe = resolve_recipe(recipe_name, target, overrides)
    identity = _identity(recipe_name, recipe, manifest_uri, truth_range)
    record = _finished(output, identity)
    resumed = record is not None
    if record is None:
        table = with_splits(read_manifest(manifest_uri, truth_range=truth_range), seed=recipe.seed)
        record = _train(recipe, table, output, identity)
    number = None if name is None else _register(record, output, name)
    best = record["history"][record["best_epoch"] - 1]
    return TrainSummary(
        output=output,
        recipe=recipe_name,
        task=recipe.task,
        num_segments=record["num_segments"],
        num_rejected=len(record["rejections"]),
        num_without_truth=record["num_without_truth"],
        best_epoch=record["best_epoch"],
        num_epochs=len(record["history"]),
        dev=best["dev"],
        weights_sha256=record["weights_sha256"],
        model_uri=None if number is None else f"models:/{name}/{number}",
        version=number,
        resumed=resumed,
    )


def resolve_recipe(name: str, target: Task | None, overrides: Sequence[str]) -> Recipe:
    """Return a recipe with its overrides; `target` is one of them, and the last.

    Raises:
        ConfigError: as `load_recipe`.
    """
    task = () if target is None else (f"task={target}",)
    return load_recipe(name, (*overrides, *task))


def _identity(
    recipe_name: str, recipe: Recipe, manifest_uri: str, truth_range: TruthRange
) -> dict[str, Any]:
    """Return all that decides the weights, as far as it can be known without reading audio."""
    try:
        manifest_sha256 = hashlib.sha256(storage.read_bytes(manifest_uri)).hexdigest()
    except OSError:
        manifest_sha256 = ""  # `read_manifest` says what is wrong with it
    return {
        "recipe_name": recipe_name,
        "recipe": to_plain(to_mapping(recipe)),
        "manifest_sha256": manifest_sha256,
        "truth_range": list(truth_range),
    }


def to_plain(value: object) -> Any:  # noqa: ANN401  JSON is untyped
    """Return a value as it comes back from JSON: tuples are lists."""
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def _finished(output: str, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the record of a finished training of the same, None where there is none."""
    uri = storage.join(output, RECORD_NAME)
    try:
        record = storage.read_json(uri)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RunError(f"{uri} is no record of a training; choose another --output") from error
    differing = [key for key, value in identity.items() if record.get(key) != value]
    if differing:
        raise RunError(
            f"{output} holds a model that was trained otherwise ({', '.join(differing)} differ); "
            "choose another --output, or delete that folder"
        )
    if weights_sha256(output) != record["weights_sha256"]:
        raise ModelError(f"the weights in {output} are not those that {RECORD_NAME} speaks of")
    logger.info("%s is trained already", output)
    return record


def _train(
    recipe: Recipe, table: pa.Table, output: str, identity: Mapping[str, Any]
) -> dict[str, Any]:
    data = read_training_data(recipe, table)
    _log_data(data)
    with Progress("train", total=recipe.num_epochs, unit="epochs") as progress:

        def show(epoch: Epoch) -> None:
            progress.advance(loss=round(epoch.loss, 3), dev=round(epoch.dev["selection"], 3))

        try:
            result = train(
                recipe,
                new_model(recipe, data.targets),
                data.examples["train"],
                data.examples["dev"],
                on_epoch=show,
            )
        except ValueError as error:
            raise ConfigError(f"recipe {identity['recipe_name']}: {error}") from error
    save_model(result.model, output)
    record = {**identity, **_outcome(data, result), "seed": recipe.seed}
    storage.write_json(storage.join(output, RECORD_NAME), record)
    return record


def _outcome(data: TrainingData, result: TrainResult) -> dict[str, Any]:
    return {
        "task": result.model.task,
        "targets": list(data.targets),
        "num_segments": {split: len(examples) for split, examples in data.examples.items()},
        "num_without_truth": data.num_without_truth,
        "rejections": [dataclasses.asdict(rejection) for rejection in data.rejections],
        "audio_sha256": data.audio_sha256,
        "speakers_checked": data.speakers_checked,
        "history": [dataclasses.asdict(epoch) for epoch in result.history],
        "best_epoch": result.best_epoch,
        "weights_sha256": weights_sha256(result.model),
        "code_version": version("serval"),
        "torch_version": version("torch"),
    }


def _log_data(data: TrainingData) -> None:
    counts = ", ".join(f"{split} {len(examples)}" for split, examples in data.examples.items())
    logger.info("segments: %s", counts)
    if data.num_without_truth:
        logger.warning("%d segments have no truth and are not used", data.num_without_truth)
    reasons = Counter(str(rejection.reason) for rejection in data.rejections)
    for reason, number in sorted(reasons.items()):
        logger.warning("%d segments rejected: %s", number, reason)


def _register(record: Mapping[str, Any], output: str, name: str) -> str:
    """Log the training as an MLflow run and its model as a version; what is there is kept."""
    client = mlflow_store.open_client()
    run_id = mlflow_store.log_run(
        client,
        name=f"{name} {record['recipe_name']}",
        params={
            **flatten(record["recipe"]),
            **{f"num_segments.{split}": n for split, n in record["num_segments"].items()},
        },
        curves=[{"loss": epoch["loss"], **_dev(epoch)} for epoch in record["history"]],
        tags={
            key: str(record[key])
            for key in ("recipe_name", "manifest_sha256", "audio_sha256", "code_version")
        },
    )
    return register_model(output, name=name, run_id=run_id)


def _dev(epoch: Mapping[str, Any]) -> dict[str, float]:
    return {f"dev.{metric}": value for metric, value in epoch["dev"].items()}


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Return a nested mapping as one with dotted names.

    >>> flatten({"head": {"size": 2}, "seed": 0})
    {'head.size': 2, 'seed': 0}
    """
    flat: dict[str, object] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
