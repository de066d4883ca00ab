"""Numbers of a training itself: what its record says, and what its model takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestration.mlflow_store import TRAINING_RECORD
from orchestration.reproduce.plan import Planner
from orchestration.reproduce.published import ALL, PublishedValue
from orchestration.reproduce.rows.over_seeds import Row, by_seed, mean_of, plain_row
from orchestration.reproduce.rows.planned import Made, NotMadeError, OurNumber
from orchestration.reproduce.steps.base import Step
from orchestration.reproduce.steps.train import TrainStep
from ser_model import storage

NO_TIMES = "its record has no times: it was trained by an earlier version of Serval"
UNDEFINED = "undefined there: the truth of dev does not vary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One training that was done.

    Attributes:
        seed: of it.
        folder: of its model.
        record: its `train.json`.
    """

    seed: int
    folder: str
    record: Mapping[str, Any]

    @property
    def last(self) -> Mapping[str, Any]:
        """The look at dev that it ended with."""
        look: Mapping[str, Any] = self.record["history"][-1]
        return look


@dataclass(frozen=True, slots=True, kw_only=True)
class OfTraining:
    """A number of a training, or a curve.

    Attributes:
        row: that it is for.
        training: of all seeds.
    """

    row: PublishedValue
    training: TrainStep

    @property
    def steps(self) -> tuple[Step, ...]:
        """The training."""
        return (self.training,)

    def read(self, made: Made) -> tuple[OurNumber, ...]:
        """Read the mean over the trainings: one number, or one for each place on a curve."""
        trainings = list(_trainings(made.find(self.training), made.work))
        places: dict[str, list[tuple[int, Row]]] = {}
        for trained in trainings:
            for place, value in _points(self.row, trained).items():
                places.setdefault(place, []).append((trained.seed, plain_row(value, UNDEFINED)))
        note = _machines(trainings) if self.row.metric.startswith("training_s") else ""
        return tuple(
            replace(
                mean_of(by_seed([row for _, row in found], [seed for seed, _ in found])),
                slice=place,
                note=note or _got_there(len(found), len(trainings)),
            )
            for place, found in places.items()
        )


def plan(row: PublishedValue, planner: Planner) -> OfTraining:
    """Plan the training that a row is about.

    Raises:
        NotMadeError: the system is none that is trained.
    """
    system = planner.system(row.system)
    if system.recipe is None:
        raise NotMadeError(f"not trained here: {system.note or 'it votes'}")
    return OfTraining(row=row, training=planner.training(system, row.trained_on, row.target))


def _trainings(step: TrainStep, work: str) -> Iterator[Trained]:
    for seed in step.seeds:
        for folder in step.model_folders(work, seed):
            record = storage.read_json(storage.join(folder, TRAINING_RECORD))
            yield Trained(seed=seed, folder=folder, record=record)


def _points(row: PublishedValue, trained: Trained) -> Mapping[str, float | None]:
    """Return values by the place on a curve; what is no curve has one place, without a name."""
    if row.metric == "dev_concordance_cc":
        return _dev_curve(trained.record, row.target)
    if row.metric == "layer_importance":
        weights = trained.record["layer_importance"]
        if weights is None:
            raise NotMadeError("the recipe's model has no weights of its layers")
        return {f"layer={layer}": weight for layer, weight in enumerate(weights)}
    return {"": _SINGLE[row.metric](trained)}


def _dev_curve(record: Mapping[str, Any], target: str) -> Mapping[str, float | None]:
    """Return the CCC of a dimension, or their mean, at the last look at dev of every epoch."""
    name = "concordance_cc" if target in ("", ALL) else f"concordance_cc_{target}"
    return {f"epoch={look['epoch']}": look["dev"].get(name) for look in record["history"]}


def _elapsed_s(look: Mapping[str, Any]) -> float:
    elapsed_s = look.get("elapsed_s")
    if elapsed_s is None:
        raise NotMadeError(NO_TIMES)
    return float(elapsed_s)


def _model_size_gb(trained: Trained) -> float:
    from ser_model.models.storage import WEIGHTS_NAME

    with storage.open_binary(storage.join(trained.folder, WEIGHTS_NAME)) as file:
        return file.seek(0, os.SEEK_END) / 1e9


def _num_parameters_m(trained: Trained) -> float:
    from ser_model.models.storage import load_model

    return sum(weight.numel() for weight in load_model(trained.folder).parameters()) / 1e6


_SINGLE: dict[str, Callable[[Trained], float]] = {
    "best_epoch": lambda trained: float(trained.record["best"]["epoch"]),
    "best_step": lambda trained: float(trained.record["best"]["step"]),
    "training_s": lambda trained: _elapsed_s(trained.last),
    "training_s_per_100_steps": lambda trained: (
        100.0 * _elapsed_s(trained.last) / trained.last["step"]
    ),
    "training_s_to_best": lambda trained: _elapsed_s(trained.record["best"]),
    "model_size_gb": _model_size_gb,
    "num_parameters_m": _num_parameters_m,
}


def _machines(trainings: list[Trained]) -> str:
    """Say what the time was taken on: times of several machines add up to nothing in particular."""
    machines = dict.fromkeys(m for t in trainings for m in t.record.get("machines", ()))
    names = ", ".join(machines)
    return f"of several machines: {names}" if len(machines) > 1 else f"on {names}"


def _got_there(num_found: int, num_trainings: int) -> str:
    """Say that some ended before a place on the curve."""
    if num_found == num_trainings:
        return ""
    return f"{num_found} of {num_trainings} trainings lasted so long"
