"""Train one model, or find it trained, and put it into MLflow where it has a name.

    what is asked for, and its identity          training_options.py
    DIR/train.json of the same? then it is done  training_record.py
    manifest -> splits -> truth                  training_splits.py, training_truth.py
    -> segments, read and prepared               training_corpus.py, feature_corpus.py
    -> examples by split                         training_data.py
    -> ser_model.training: the best weights      here; several processes: training_workers.py
    -> what they predict of test: test.parquet   training_predictions.py
    -> DIR/{model.safetensors, config.json}, and train.json last
    -> MLflow run, version `candidate`           training_log.py, registry.py

`DIR/checkpoint` is there while a training is under way: whoever kills it can run the same command
again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from orchestration.progress import Progress
from orchestration.registry import register_model
from orchestration.training_data import CorpusReader, TrainingData
from orchestration.training_log import TrainingLog, flatten
from orchestration.training_options import TrainOptions, identity_of, identity_to_resume
from orchestration.training_predictions import measure
from orchestration.training_record import (
    TrainSummary,
    history_of,
    make_record,
    read_finished,
    summary_of,
    write_record,
)
from orchestration.training_workers import Job, train_on_workers
from ser_model import storage
from ser_model.models.storage import save_model
from ser_model.schema import ConfigError
from ser_model.training.checkpoint import Checkpoints, Evaluation
from ser_model.training.loop import TrainResult, new_model, train
from ser_model.training.recipe import AnyRecipe, Recipe
from ser_model.training.support_vector_recipe import SupportVectorRecipe
from ser_model.training.support_vectors import train_support_vectors


def train_once(options: TrainOptions, reader: CorpusReader) -> TrainSummary:
    """Train one model, or find it trained, and put it into MLflow where it has a name.

    Raises:
        InputError: the recipe, the manifest or the folder cannot be used.
        TooManyRejectedError: too many recordings could not be read.
        UnfinishedError: a worker died.
    """
    identity = identity_of(options)
    record = read_finished(options.output, identity)
    resumed = record is not None
    if record is None:
        record = _train(options, reader, identity)
    number = None
    if options.name is not None:
        log = _open_log(options, record)
        for evaluation in history_of(record):
            log.log(evaluation, by_step=_by_step(options.recipe))
        log.finish(record)
        if options.register:
            number = register_model(options.output, name=options.name, run_id=log.run_id)
    return summary_of(options, record, number, resumed=resumed)


def _train(
    options: TrainOptions, reader: CorpusReader, identity: Mapping[str, Any]
) -> dict[str, Any]:
    """Train, write the model and its record, and return the record."""
    data = reader.read(options.recipe, options.fold)
    checkpoints = Checkpoints(
        storage.join(options.output, "checkpoint"),
        identity_to_resume(options, identity, data.audio_sha256),
    )
    log = None
    if options.name is not None:
        counts = {"audio_sha256": data.audio_sha256, "num_segments": data.num_segments}
        log = _open_log(options, {**identity, **counts})
    with Progress("train", total=options.recipe.num_epochs, unit="epochs") as progress:
        try:
            result = _run(options, data, checkpoints, _watch(progress, log, options.recipe))
        except Exception as error:
            if log is not None:
                log.fail()
            if isinstance(error, ValueError):
                raise ConfigError(f"recipe {options.recipe_name}: {error}") from error
            raise
    measured = measure(result.model, options.recipe, data, options.output)
    record = make_record(options, identity, data, result, measured)
    save_model(result.model, options.output)
    write_record(options.output, record)
    checkpoints.delete()
    return record


def _run(
    options: TrainOptions,
    data: TrainingData,
    checkpoints: Checkpoints,
    on_evaluation: Callable[[Evaluation], None],
) -> TrainResult:
    """Train in the way that the recipe and the number of workers ask for."""
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
        new_model(options.recipe, data.targets, train_set),
        train_set,
        dev_set,
        on_evaluation=on_evaluation,
        checkpoints=checkpoints,
        device=options.device,
    )


def _watch(
    progress: Progress, log: TrainingLog | None, recipe: AnyRecipe
) -> Callable[[Evaluation], None]:
    """Return what shows each look at dev on the terminal, and in MLflow where there is a run."""
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
            log.log(evaluation, by_step=_by_step(recipe))

    return show


def _open_log(options: TrainOptions, record: Mapping[str, Any]) -> TrainingLog:
    """Begin the training's run in MLflow, or go on with it; the record may be unfinished."""
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
