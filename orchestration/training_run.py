"""Train one model on a manifest: read, train, keep the best weights, log and register in MLflow.

    manifest -> splits -> waveforms -> prepared inputs -> ser_model.training.loop.train
             -> DIR/{model.safetensors, config.json, train.json} -> MLflow run, version `candidate`

`DIR/checkpoint` is there while a training is under way: whoever kills it can run the same command
again. `train.json` is written last and says what the model was made of: where it is there and says
the same, nothing is trained again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from orchestration.feature_corpus import read_features
from orchestration.mlflow_store import TRAINING_RECORD
from orchestration.progress import Progress
from orchestration.registry import register_model
from orchestration.training_data import (
    Corpus,
    TrainingData,
    read_corpus,
    select_data,
    with_splits,
)
from orchestration.training_log import TrainingLog, flatten
from orchestration.training_predictions import PREDICTIONS_NAME, prediction_table
from orchestration.training_workers import Job, train_on_workers
from ser_model import storage
from ser_model.manifest import TruthRange, read_manifest
from ser_model.models.base import Task, layer_importance
from ser_model.models.storage import save_model, weights_sha256
from ser_model.schema import ConfigError, ModelError, RunError
from ser_model.splits import Fold, keep_fraction, set_splits
from ser_model.training.checkpoint import Checkpoints, Evaluation, to_json
from ser_model.training.evaluation import confusion_of, metrics_of, score_examples
from ser_model.training.examples import MAX_MEMORY_BYTES, InputStore
from ser_model.training.loop import TrainResult, new_model, train
from ser_model.training.recipe import AnyRecipe, Recipe, to_mapping
from ser_model.training.support_vector_recipe import SupportVectorRecipe
from ser_model.training.support_vectors import train_support_vectors

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What a training is made of, and where it goes.

    Attributes:
        recipe_name: one of `list_recipes()`.
        recipe: resolved.
        overrides: "key=value", as given.
        manifest_uri: with truth, `speaker_id` and perhaps `split`.
        truth_range: scale of the dimensions in the manifest.
        output: folder of the model, a path or a URI.
        name: registered model; None for nothing in MLflow.
        device: "cpu" or "cuda".
        num_workers: processes that train together.
        register: whether the model becomes a version of `name`.
        parent_run: MLflow run of the series that this training is of.
        fold: of a cross-validation.
    """

    recipe_name: str
    recipe: AnyRecipe
    overrides: tuple[str, ...]
    manifest_uri: str
    truth_range: TruthRange
    output: str
    name: str | None
    device: str
    num_workers: int
    register: bool = True
    parent_run: str | None = None
    fold: Fold | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSummary:
    """The end of a training.

    Attributes:
        output: folder of the model.
        recipe: name of the recipe.
        task: dimensions or emotion.
        num_segments: by split, as used.
        num_rejected: segments that could not be read.
        num_without_truth: segments that have no truth for the task.
        best_epoch: the one that was kept.
        best_step: the steps that had been taken then.
        num_epochs: how many were begun.
        dev: metrics of the best weights on dev.
        test: metrics of the best weights on test; None where it was not predicted.
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
    best_step: int
    num_epochs: int
    dev: Mapping[str, float | None]
    test: Mapping[str, float | None] | None
    weights_sha256: str
    model_uri: str | None
    version: str | None
    resumed: bool


class CorpusReader:
    """Reads the manifest's segments when they are first wanted, once for all of a series."""

    def __init__(
        self, manifest_uri: str, truth_range: TruthRange, store: InputStore, folder: str
    ) -> None:
        """Read nothing yet.

        Args:
            manifest_uri: of all trainings of the series.
            truth_range: scale of its dimensions.
            store: keeps the inputs.
            folder: of the series; functionals stay there.
        """
        self._manifest_uri, self._truth_range = manifest_uri, truth_range
        self._store, self._folder = store, folder
        self._manifest: pa.Table | None = None
        self._corpus: Corpus | None = None

    @property
    def manifest(self) -> pa.Table:
        """The manifest as it is."""
        if self._manifest is None:
            self._manifest = read_manifest(self._manifest_uri, truth_range=self._truth_range)
        return self._manifest

    def read(self, recipe: AnyRecipe, fold: Fold | None) -> TrainingData:
        """Return the segments of a training in their splits."""
        data = recipe.data
        if fold is None:
            table = with_splits(self.manifest, data)
        else:
            table = set_splits(self.manifest, fold.splits)
            table = keep_fraction(table, data.fraction, seed=data.seed)
        if self._corpus is None:
            # Folds need every row sooner or later, whatever split the manifest gives it.
            wanted = table if fold is None else set_splits(table, ["train"] * len(table))
            self._corpus = self._read(recipe, wanted)
        return select_data(recipe, table, self._corpus)

    def _read(self, recipe: AnyRecipe, table: pa.Table) -> Corpus:
        if isinstance(recipe, SupportVectorRecipe):
            return read_features(recipe, table, self._store, self._folder)
        return read_corpus(recipe, table, self._store)


def input_store(output: str, num_workers: int) -> InputStore:
    """Return where inputs are kept: what does not fit into memory goes beside the model."""
    folder = storage.local_path(output)
    if folder is None:
        folder = Path(tempfile.gettempdir(), f"serval-train-{os.getpid()}")
    in_memory = MAX_MEMORY_BYTES if num_workers == 1 else 0  # workers share a file
    return InputStore(folder / "inputs.f32", max_memory_bytes=in_memory)


def train_once(options: TrainOptions, reader: CorpusReader) -> TrainSummary:
    """Train one model, or find it trained, and put it into MLflow where it has a name.

    Raises:
        InputError: the recipe, the manifest or the folder cannot be used.
        TooManyRejectedError: too many recordings could not be read.
        UnfinishedError: a worker died.
    """
    identity = identity_of(options)
    record = _finished(options.output, identity)
    resumed = record is not None
    if record is None:
        record = _train(options, reader, identity)
    number = None
    if options.name is not None:
        log = _open_log(options, record)
        for line in record["history"]:
            log.log(_evaluation(line), by_step=_by_step(options.recipe))
        log.finish(record)
        if options.register:
            number = register_model(options.output, name=options.name, run_id=log.run_id)
    return _summary(options, record, number, resumed=resumed)


def identity_of(options: TrainOptions) -> dict[str, Any]:
    """Return all that decides the weights, as far as it can be known without reading audio."""
    try:
        manifest_sha256 = hashlib.sha256(storage.read_bytes(options.manifest_uri)).hexdigest()
    except OSError:
        manifest_sha256 = ""  # `read_manifest` says what is wrong with it
    held_out = {} if options.fold is None else {"held_out": list(options.fold.held_out)}
    return {
        "recipe_name": options.recipe_name,
        "recipe": to_json(to_mapping(options.recipe)),
        "manifest_sha256": manifest_sha256,
        "truth_range": list(options.truth_range),
        **held_out,
    }


def code_sha256() -> str:
    """Return the SHA-256 of the source of `ser_model`: what decides how a training goes on."""
    digest = hashlib.sha256()
    with resources.as_file(resources.files("ser_model")) as folder:
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _finished(output: str, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the record of a finished training of the same, None where there is none."""
    uri = storage.join(output, TRAINING_RECORD)
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
        raise ModelError(f"the weights in {output} are not those that {TRAINING_RECORD} speaks of")
    logger.info("%s is trained already", output)
    return record


def _train(
    options: TrainOptions, reader: CorpusReader, identity: Mapping[str, Any]
) -> dict[str, Any]:
    data = reader.read(options.recipe, options.fold)
    _log_data(data)
    checkpoints = Checkpoints(
        storage.join(options.output, "checkpoint"),
        {
            **identity,
            "audio_sha256": data.audio_sha256,
            "code_sha256": code_sha256(),
            "torch_version": version("torch"),
            "device": options.device,
            "num_workers": options.num_workers,
        },
    )
    log = None
    if options.name is not None:
        log = _open_log(options, {"audio_sha256": data.audio_sha256, **identity, **_counts(data)})
    with Progress("train", total=options.recipe.num_epochs, unit="epochs") as progress:
        shown = 0

        def show(evaluation: Evaluation) -> None:
            nonlocal shown
            progress.advance(
                evaluation.epoch - shown,
                loss=round(evaluation.loss, 3),
                dev=round(evaluation.dev["selection"], 3),
            )
            shown = evaluation.epoch
            if log is not None:
                log.log(evaluation, by_step=_by_step(options.recipe))

        try:
            result = _run(options, data, checkpoints, show)
        except Exception as error:
            if log is not None:
                log.fail()
            if isinstance(error, ValueError):
                raise ConfigError(f"recipe {options.recipe_name}: {error}") from error
            raise
    record = {**identity, "overrides": list(options.overrides), **_outcome(options, data, result)}
    save_model(result.model, options.output)
    storage.write_json(storage.join(options.output, TRAINING_RECORD), record)
    checkpoints.delete()
    return record


def _run(
    options: TrainOptions,
    data: TrainingData,
    checkpoints: Checkpoints,
    on_evaluation: Callable[[Evaluation], None],
) -> TrainResult:
    train_set, dev_set = data.examples["train"], data.examples["dev"]
    if isinstance(options.recipe, SupportVectorRecipe):
        if options.num_workers > 1:
            raise ConfigError("--workers: a support vector machine is trained by one process")
        result = train_support_vectors(options.recipe, data.targets, train_set, dev_set)
        on_evaluation(result.best)
        return result
    if options.num_workers > 1:
        job = Job(
            recipe=options.recipe,
            targets=data.targets,
            train_set=train_set,
            dev_set=dev_set,
            checkpoints=checkpoints,
            device=options.device,
        )
        train_on_workers(job, options.num_workers, on_evaluation)
    # After workers, this finds nothing left to train, and loads what they made.
    return train(
        options.recipe,
        new_model(options.recipe, data.targets),
        train_set,
        dev_set,
        on_evaluation=on_evaluation,
        checkpoints=checkpoints,
        device=options.device,
    )


def _outcome(options: TrainOptions, data: TrainingData, result: TrainResult) -> dict[str, Any]:
    """Return what came out; writes the predictions of test on the way."""
    recipe, targets = options.recipe, data.targets
    confusion, test = {}, None
    for split in ("dev", "test"):
        if split not in data.examples or (split == "dev" and recipe.task != "emotion"):
            continue
        if split == "dev" and isinstance(recipe, SupportVectorRecipe) and recipe.refit_with_dev:
            continue  # it has learned them
        scored = score_examples(result.model, data.examples[split], recipe)
        if recipe.task == "emotion":
            counts = confusion_of(scored, targets)
            confusion[split] = {"targets": list(targets), "counts": counts}
        if split == "test":
            test = to_json(metrics_of(scored, recipe, targets))
            uri = storage.join(options.output, PREDICTIONS_NAME)
            storage.write_table(uri, prediction_table(scored, recipe, targets))
    return {
        "task": result.model.task,
        "targets": list(targets),
        **_counts(data),
        "num_without_truth": data.num_without_truth,
        "rejections": [dataclasses.asdict(rejection) for rejection in data.rejections],
        "audio_sha256": data.audio_sha256,
        "speakers_overlap": data.speakers_overlap,
        "history": to_json([dataclasses.asdict(line) for line in result.history]),
        "best": to_json(dataclasses.asdict(result.best)),
        "best_epoch": result.best.epoch,
        "test": test,
        "confusion": confusion,
        "layer_importance": layer_importance(result.model),
        "weights_sha256": weights_sha256(result.model),
        "seed": recipe.seed,
        "code_version": version("serval"),
        "torch_version": version("torch"),
    }


def _counts(data: TrainingData) -> dict[str, Any]:
    return {"num_segments": {split: len(rows) for split, rows in data.examples.items()}}


def _log_data(data: TrainingData) -> None:
    counts = ", ".join(f"{split} {len(examples)}" for split, examples in data.examples.items())
    logger.info("segments: %s", counts)
    if data.num_without_truth:
        logger.warning("%d segments have no truth and are not used", data.num_without_truth)
    reasons = Counter(str(rejection.reason) for rejection in data.rejections)
    for reason, number in sorted(reasons.items()):
        logger.warning("%d segments rejected: %s", number, reason)


def _open_log(options: TrainOptions, record: Mapping[str, Any]) -> TrainingLog:
    fold = "" if options.fold is None else f" {options.fold.name}"
    return TrainingLog(
        options.output,
        name=f"{options.name} {options.recipe_name} seed {options.recipe.seed}{fold}",
        params={
            **flatten(record["recipe"]),
            **flatten({"num_segments": record["num_segments"]}),
        },
        tags={
            "recipe_name": options.recipe_name,
            "manifest_sha256": record["manifest_sha256"],
            "audio_sha256": record["audio_sha256"],
            "code_version": version("serval"),
        },
        parent_id=options.parent_run,
    )


def _by_step(recipe: AnyRecipe) -> bool:
    return isinstance(recipe, Recipe) and recipe.selection.every_steps is not None


def _evaluation(line: Mapping[str, Any]) -> Evaluation:
    dev = {name: float("nan") if value is None else value for name, value in line["dev"].items()}
    return Evaluation(epoch=line["epoch"], step=line["step"], loss=line["loss"], dev=dev)


def _summary(
    options: TrainOptions, record: Mapping[str, Any], number: str | None, *, resumed: bool
) -> TrainSummary:
    return TrainSummary(
        output=options.output,
        recipe=options.recipe_name,
        task=record["task"],
        num_segments=record["num_segments"],
        num_rejected=len(record["rejections"]),
        num_without_truth=record["num_without_truth"],
        best_epoch=record["best"]["epoch"],
        best_step=record["best"]["step"],
        num_epochs=record["history"][-1]["epoch"],
        dev=record["best"]["dev"],
        test=record["test"],
        weights_sha256=record["weights_sha256"],
        model_uri=None if number is None else f"models:/{options.name}/{number}",
        version=number,
        resumed=resumed,
    )
