"""Which seed is the best on dev, and what is read of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from orchestration.reproduce.corpora import Corpora
from orchestration.reproduce.plan import Planner
from orchestration.reproduce.steps.base import Context
from orchestration.reproduce.steps.best_seed import BestSeedStep
from ser_model import storage


def choice_of(planned: Planner, system: str) -> BestSeedStep:
    row = next(row for row in planned.table.rows if row.system == system)
    (predictions,) = planned.predictions(system, row)
    assert isinstance(predictions.source, BestSeedStep)
    return predictions.source


def write_records(folder: str, dev: Mapping[str, float | None]) -> None:
    for name, value in dev.items():
        record = {"best": {"dev": {"selection": value}}}
        storage.write_json(storage.join(folder, name, "train.json"), record)


@pytest.fixture
def context(context_of: Callable[[Corpora], Context]) -> Context:
    return context_of(Corpora({}))


def test_of_folds_their_mean_on_dev_counts_and_not_the_best_of_them(
    planner: Callable, context: Context
) -> None:
    step = choice_of(planner("triantafyllopoulos/table3", Corpora({})), "cnn14")
    for seed in step.training.seeds:
        better = 0.1 if seed == 2 else 0.0
        dev = {f"fold-{fold:02d}": 0.1 * fold + better for fold in (1, 2, 3)}
        if seed == 4:
            dev |= {"fold-01": 0.9, "fold-02": -0.5}
        write_records(step.training.seed_folder(context.work, seed), dev)
    step.run(context)
    assert step.chosen_seed(context.work) == 2
    folder = step.training.seed_folder(context.work, 2)
    assert step.predictions(context.work, None) == f"{folder}/test.parquet"


def test_without_folds_its_run_is_that_of_the_seed(planner: Callable, context: Context) -> None:
    step = choice_of(planner("triantafyllopoulos/table6", Corpora({})), "mfcnn14")
    for seed, value in zip(step.training.seeds, (0.3, 0.5, None, 0.5, 0.1), strict=True):
        write_records(step.training.folder(context.work), {f"seed-{seed}": value})
    step.run(context)
    assert step.chosen_seed(context.work) == 1, "the first of equals; one without a CCC is none"
    assert step.predictions(context.work, None) == step.sources[1].folder(context.work)
