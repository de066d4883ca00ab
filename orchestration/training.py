"""`serval train`: one training, or one for each seed and each fold, and what they come to.

    DIR/                      one seed, no folds: the model (see training_run.py)
    DIR/seed-0/fold-01/ ...   several: a model each, one after the other
    DIR/series.json           their metrics: each, mean and standard deviation, folds together

Every training of a series resumes for itself; what is trained already is not trained again.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
import torch

from orchestration.pretrained_models import with_folders
from orchestration.registry import register_model
from orchestration.training_data import CorpusReader, input_store
from orchestration.training_log import RUN_NAME, TrainingLog, flatten
from orchestration.training_options import TrainOptions, identity_of
from orchestration.training_predictions import PREDICTIONS_NAME, pooled_metrics
from orchestration.training_record import TrainSummary
from orchestration.training_run import train_once
from ser_model import storage
from ser_model.manifest_checks import TruthRange
from ser_model.models.base import Task
from ser_model.schema import ConfigError
from ser_model.splits import Fold, make_folds
from ser_model.training.checkpoint import to_json
from ser_model.training.recipe import AnyRecipe, load_recipe

logger = logging.getLogger(__name__)

SERIES_RECORD = "series.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSummary:
    """The end of several trainings.

    Attributes:
        output: folder of them all.
        recipe: name of the recipe.
        task: dimensions or emotion.
        trainings: one for each seed and fold.
        dev: mean and std (of the sample, n - 1) over the trainings, by metric.
        test: likewise; None where test was not predicted.
        pooled: mean and std over the seeds of the metrics of all folds together; None without
            folds.
        best: folder of the training that is best on dev.
        model_uri: pinned version in the registry; None without a name, or with folds.
        version: its number alone.
    """

    output: str
    recipe: str
    task: Task
    trainings: tuple[TrainSummary, ...]
    dev: Mapping[str, Mapping[str, float | None]]
    test: Mapping[str, Mapping[str, float | None]] | None
    pooled: Mapping[str, Mapping[str, float | None]] | None
    best: str
    model_uri: str | None
    version: str | None


def train_recipe(
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
) -> TrainSummary | SeriesSummary:
    """Train a recipe and, with a name, log it in MLflow and register the model.

    Args:
        recipe_name: one of `list_recipes()`.
        manifest_uri: with truth, `speaker_id` and perhaps `split`.
        output: folder of the model, a path or a URI.
        target: dimensions or emotion; None for what the recipe says.
        name: registered model; None to put nothing into MLflow.
        overrides: "key=value" for the recipe's fields.
        truth_range: scale of the dimensions in the manifest.
        devices: auto, cpu or cuda.
        num_workers: processes that train together, each with a core or a GPU of its own.
        transcripts_uri: run of `serval transcribe`, or table, whose transcripts stand in for the
            manifest's.

    Raises:
        InputError: the recipe, the manifest or the folder cannot be used.
        TooManyRejectedError: too many recordings could not be read.
        UnfinishedError: a worker died.
    """
    words = all_overrides(target, overrides)
    options = TrainOptions(
        recipe_name=recipe_name,
        recipe=with_folders(load_recipe(recipe_name, words)),
        overrides=words,
        manifest_uri=manifest_uri,
        truth_range=truth_range,
        output=output,
        name=name,
        device=choose_device(devices),
        num_workers=num_workers,
        transcripts_uri=transcripts_uri,
    )
    if num_workers < 1:
        raise ConfigError(f"--workers {num_workers}: at least one is needed")
    store = input_store(output, num_workers)
    try:
        reader = CorpusReader(
            manifest_uri, truth_range, store, output, transcripts_uri=transcripts_uri
        )
        if is_series(options.recipe):
            return _train_series(options, reader)
        return train_once(options, reader)
    finally:
        store.delete()


def all_overrides(target: Task | None, overrides: Sequence[str]) -> tuple[str, ...]:
    """Return the overrides with `--target` as the last of them."""
    return (*overrides, *(() if target is None else (f"task={target}",)))


def is_series(recipe: AnyRecipe) -> bool:
    """Tell whether a recipe asks for several trainings."""
    return recipe.num_seeds > 1 or recipe.data.fold_by is not None


def choose_device(devices: str) -> str:
    """Return "cpu" or "cuda".

    Raises:
        ConfigError: there is no such device.
    """
    if devices not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--devices {devices!r} is none of auto, cpu, cuda")
    has_cuda = torch.cuda.is_available()
    if devices == "cuda" and not has_cuda:
        raise ConfigError("--devices cuda: this machine has no GPU that torch can use")
    return "cuda" if devices != "cpu" and has_cuda else "cpu"


def _train_series(options: TrainOptions, reader: CorpusReader) -> SeriesSummary:
    recipe = options.recipe
    parent = None
    if options.name is not None:
        record = identity_of(options)
        parent = TrainingLog(
            options.output,
            name=f"{options.name} {options.recipe_name}",
            params=flatten(record["recipe"]),
            tags={"recipe_name": options.recipe_name},
        )
    seeds = range(recipe.seed, recipe.seed + recipe.num_seeds)
    plans = [(seed, fold) for seed in seeds for fold in _folds(recipe, reader)]
    trainings = []
    for number, (seed, fold) in enumerate(plans, start=1):
        logger.info("training %d of %d: seed %d%s", number, len(plans), seed, _shown(fold))
        part = replace(
            options,
            recipe=replace(recipe, seed=seed, num_seeds=1),
            output=storage.join(options.output, *_folders(recipe, seed, fold)),
            register=False,
            parent_run=None if parent is None else parent.run_id,
            fold=fold,
        )
        trainings.append(train_once(part, reader))
    summary = _summarise(options, trainings, reader, list(seeds))
    if parent is not None:
        parent.finish(
            {"recipe": identity_of(options)["recipe"], **_json(summary)}, metrics=_flat(summary)
        )
        if recipe.data.fold_by is None:
            version = register_model(
                summary.best, name=str(options.name), run_id=_run_of(summary.best)
            )
            uri = f"models:/{options.name}/{version}"
            summary = replace(summary, model_uri=uri, version=version)
    storage.write_json(storage.join(options.output, SERIES_RECORD), _json(summary))
    return summary


def _folds(recipe: AnyRecipe, reader: CorpusReader) -> Sequence[Fold | None]:
    data = recipe.data
    if data.fold_by is None:
        return [None]
    return make_folds(
        reader.manifest,
        data.fold_by,
        num_folds=data.num_folds,
        dev_within=data.dev_within,
        seed=data.seed,
    )


def _folders(recipe: AnyRecipe, seed: int, fold: Fold | None) -> list[str]:
    """Return the folders of a training below the series': only what tells it from the others."""
    of_seed = [f"seed-{seed}"] if recipe.num_seeds > 1 else []
    return of_seed + ([] if fold is None else [fold.name])


def _shown(fold: Fold | None) -> str:
    return "" if fold is None else f", {fold.name} ({', '.join(fold.held_out)} held out)"


def _summarise(
    options: TrainOptions,
    trainings: Sequence[TrainSummary],
    reader: CorpusReader,
    seeds: Sequence[int],
) -> SeriesSummary:
    tests = [training.test for training in trainings if training.test is not None]
    best = max(trainings, key=lambda training: training.dev["selection"] or float("-inf"))
    return SeriesSummary(
        output=options.output,
        recipe=options.recipe_name,
        task=trainings[0].task,
        trainings=tuple(trainings),
        dev=mean_and_std([training.dev for training in trainings]),
        test=mean_and_std(tests) if tests else None,
        pooled=_pool(options, trainings, reader, seeds),
        best=best.output,
        model_uri=None,
        version=None,
    )


def _pool(
    options: TrainOptions,
    trainings: Sequence[TrainSummary],
    reader: CorpusReader,
    seeds: Sequence[int],
) -> Mapping[str, Mapping[str, float | None]] | None:
    """Put the test predictions of each seed's folds into one file, and measure them together."""
    if options.recipe.data.fold_by is None:
        return None
    num_folds = len(trainings) // len(seeds)
    pooled = []
    for number, seed in enumerate(seeds):
        of_seed = trainings[number * num_folds : (number + 1) * num_folds]
        tables = [
            storage.read_table(storage.join(part.output, PREDICTIONS_NAME)) for part in of_seed
        ]
        table = pa.concat_tables(tables)
        folders = _folders(options.recipe, seed, None)
        storage.write_table(storage.join(options.output, *folders, PREDICTIONS_NAME), table)
        pooled.append(pooled_metrics(table, reader.manifest, options.recipe))
    return mean_and_std(pooled)


def mean_and_std(
    rows: Sequence[Mapping[str, float | None]],
) -> dict[str, dict[str, float | None]]:
    """Return mean and standard deviation (n - 1) by metric; null where a value or a second is not.

    >>> mean_and_std([{"accuracy": 0.5}, {"accuracy": 0.7}])["accuracy"]["mean"]
    0.6
    """
    result: dict[str, dict[str, float | None]] = {}
    for metric in rows[0]:
        values = [row[metric] for row in rows]
        known = [value for value in values if value is not None]
        whole = len(known) == len(values)
        result[metric] = {
            "mean": statistics.fmean(known) if whole else None,
            "std": statistics.stdev(known) if whole and len(known) > 1 else None,
        }
    return result


def _json(summary: SeriesSummary) -> dict[str, Any]:
    content: dict[str, Any] = to_json(asdict(summary))
    return content


def _flat(summary: SeriesSummary) -> dict[str, float]:
    groups = {"dev": summary.dev, "test": summary.test or {}, "pooled": summary.pooled or {}}
    return {name: value for name, value in flatten(groups).items() if isinstance(value, float)}


def _run_of(output: str) -> str:
    run_id: str = storage.read_json(storage.join(output, RUN_NAME))["run_id"]
    return run_id
