"""`train.json`, the record of a finished training: what made the model, and what came out.

It is written last: a folder with a record holds a whole model.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from orchestration.mlflow_store import TRAINING_RECORD
from orchestration.training_data import TrainingData
from orchestration.training_options import TrainOptions
from orchestration.training_predictions import Measured
from ser_model import storage
from ser_model.models.base import Task, layer_importance
from ser_model.models.storage import weights_sha256
from ser_model.schema import ModelError, RunError
from ser_model.training.checkpoint import Evaluation, read_history, to_json
from ser_model.training.loop import TrainResult

logger = logging.getLogger(__name__)


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


def make_record(
    options: TrainOptions,
    identity: Mapping[str, Any],
    data: TrainingData,
    result: TrainResult,
    measured: Measured,
) -> dict[str, Any]:
    """Return the record of a training.

    Args:
        options: what was asked of it.
        identity: of the training, taken before it began: the manifest may have changed since.
        data: what it was trained on.
        result: the model and how it came to be.
        measured: what the kept weights predict.
    """
    return {
        **identity,
        "overrides": list(options.overrides),
        "task": result.model.task,
        "targets": list(data.targets),
        "num_segments": data.num_segments,
        "num_without_truth": data.num_without_truth,
        "rejections": [dataclasses.asdict(rejection) for rejection in data.rejections],
        "audio_sha256": data.audio_sha256,
        "speakers_overlap": data.speakers_overlap,
        "history": to_json([dataclasses.asdict(line) for line in result.history]),
        "best": to_json(dataclasses.asdict(result.best)),
        "best_epoch": result.best.epoch,
        "test": measured.test,
        "confusion": measured.confusion,
        "layer_importance": layer_importance(result.model),
        "weights_sha256": weights_sha256(result.model),
        "machines": list(result.machines),
        "seed": options.recipe.seed,
        "code_version": version("serval"),
        "torch_version": version("torch"),
    }


def write_record(output: str, record: Mapping[str, Any]) -> None:
    """Write the record beside its model, which must be whole by now."""
    storage.write_json(storage.join(output, TRAINING_RECORD), record)


def read_finished(output: str, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the record of a finished training of the same, None where there is none.

    Args:
        output: folder of the model.
        identity: of the training that is asked for.

    Raises:
        RunError: the folder holds a model of another training, or no record at all.
        ModelError: the weights are not those of the record.
    """
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


def history_of(record: Mapping[str, Any]) -> list[Evaluation]:
    """Return every look at dev; JSON's null is NaN again."""
    return read_history(record["history"])


def summary_of(
    options: TrainOptions, record: Mapping[str, Any], number: str | None, *, resumed: bool
) -> TrainSummary:
    """Return what a record says of a training.

    Args:
        options: what was asked of it.
        record: of the training.
        number: version in the registry; None where it was not registered.
        resumed: whether the model was there already.
    """
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
