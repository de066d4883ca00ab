"""Steps, times, sizes and curves, from records that are written by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from orchestration.reproduce.rows.planned import NotMadeError
from orchestration.reproduce.rows.training import NO_TIMES
from orchestration.reproduce.steps.train import TrainStep
from ser_model.models.base import ModelConfig, build_model
from ser_model.models.cnn14 import Cnn14Config
from ser_model.models.head import HeadConfig
from ser_model.models.storage import save_model
from ser_model.schema import DIMENSIONS

SYSTEM = {"system": "hubert-base"}


def look(epoch: int, step: int, elapsed_s: float | None, **dev: float | None) -> dict[str, Any]:
    return {"epoch": epoch, "step": step, "loss": 0.5, "dev": dev, "elapsed_s": elapsed_s}


def record(*history: dict[str, Any], best: int = 0, **more: Any) -> dict[str, Any]:
    return {"history": list(history), "best": history[best], "machines": ["NVIDIA T4"], **more}


def test_the_step_that_was_kept_is_the_mean_over_seeds(hand_made: Callable[..., Any]) -> None:
    table = hand_made("gavali/table4", num_seeds=3)
    planned = table.plan(**SYSTEM, metric="best_step")
    table.write_records(planned, [record(look(1, step, 1.0)) for step in (100, 300, 500)])
    (number,) = table.read(planned)
    assert (number.value, number.num_seeds) == (300.0, 3)
    assert number.standard_deviation == pytest.approx(np.std([100, 300, 500], ddof=1))


def test_the_epoch_that_was_kept(hand_made: Callable[..., Any]) -> None:
    table = hand_made("wagner/fig9")
    planned = table.plan(metric="best_epoch")
    table.write_records(planned, [record(look(1, 9, 1.0), look(2, 18, 2.0), best=1)])
    assert [number.value for number in table.read(planned)] == [2.0]


TIMES = {"training_s": 90.0, "training_s_per_100_steps": 30.0, "training_s_to_best": 61.0}


@pytest.mark.parametrize(("metric", "seconds"), TIMES.items())
def test_times_are_told_with_the_machine(
    hand_made: Callable[..., Any], metric: str, seconds: float
) -> None:
    table = hand_made("gavali/table5")
    planned = table.plan(**SYSTEM, metric=metric)
    looks = (look(1, 100, 30.5), look(1, 200, 61.0), look(2, 300, 90.0))
    table.write_records(planned, [record(*looks, best=1)])
    (number,) = table.read(planned)
    assert (number.value, number.note) == (seconds, "on NVIDIA T4")


def test_a_time_of_several_machines_is_called_one(hand_made: Callable[..., Any]) -> None:
    table = hand_made("gavali/table5")
    planned = table.plan(**SYSTEM, metric="training_s")
    table.write_records(planned, [record(look(1, 9, 1.0), machines=["NVIDIA T4", "NVIDIA H200"])])
    (number,) = table.read(planned)
    assert number.note == "of several machines: NVIDIA T4, NVIDIA H200"


def test_a_record_without_times_gives_none(hand_made: Callable[..., Any]) -> None:
    table = hand_made("gavali/table5")
    planned = table.plan(**SYSTEM, metric="training_s")
    table.write_records(planned, [record(look(1, 9, None))])
    with pytest.raises(NotMadeError, match=NO_TIMES):
        table.read(planned)


def folder_of(table: Any, planned: Any) -> Path:
    (step,) = planned.steps
    assert isinstance(step, TrainStep)
    return Path(step.folder(table.work))


def test_the_size_is_that_of_the_weights_on_disk(hand_made: Callable[..., Any]) -> None:
    table = hand_made("gavali/table6")
    planned = table.plan(**SYSTEM)
    table.write_records(planned, [record(look(1, 9, 1.0))])
    (folder_of(table, planned) / "model.safetensors").write_bytes(b"0" * 1_234_567)
    assert [number.value for number in table.read(planned)] == [0.001234567]


def test_parameters_are_what_is_learned_head_included(hand_made: Callable[..., Any]) -> None:
    table = hand_made("deoliveira/table1")
    planned = table.plan(system="distilhubert", metric="num_parameters_m")
    table.write_records(planned, [record(look(1, 9, 1.0))])
    folder = folder_of(table, planned)
    config = ModelConfig(
        backbone=Cnn14Config(channels=(4, 8), num_pools=2),
        pooling="mean",
        targets=DIMENSIONS,
        task="dimensions",
        head=HeadConfig(num_hidden=8),
    )
    save_model(build_model(config, seed=0), str(folder))
    weights = safetensors.numpy.load_file(folder / "model.safetensors")
    learned = [
        w.size for name, w in weights.items() if not name.endswith(("mean", "var", "tracked"))
    ]
    assert 500 < sum(learned) < sum(w.size for w in weights.values())
    assert [number.value for number in table.read(planned)] == [sum(learned) / 1e6]


def test_a_curve_has_a_number_an_epoch_of_its_last_look(hand_made: Callable[..., Any]) -> None:
    table = hand_made("wagner/fig11", num_seeds=2)
    planned = table.plan(system="cnn14", target="valence")
    name = "concordance_cc_valence"
    first = [(1, 5, 0.9), (1, 9, 0.1), (2, 18, 0.4), (3, 27, 0.5)]
    second = [(1, 9, 0.3), (2, 18, 0.2)]
    table.write_records(
        planned,
        [record(*(look(e, s, 1.0, **{name: v}) for e, s, v in seed)) for seed in (first, second)],
    )
    numbers = table.read(planned)
    assert [number.slice for number in numbers] == ["epoch=1", "epoch=2", "epoch=3"]
    assert [number.value for number in numbers] == pytest.approx([0.2, 0.3, 0.5])
    assert numbers[1].standard_deviation == pytest.approx(np.std([0.4, 0.2], ddof=1))
    assert [number.num_seeds for number in numbers] == [2, 2, 1]
    assert numbers[2].note == "1 of 2 trainings lasted so long"


def test_an_undefined_place_on_a_curve_has_a_reason(hand_made: Callable[..., Any]) -> None:
    table = hand_made("wagner/fig11", num_seeds=1)
    planned = table.plan(system="cnn14", target="arousal")
    table.write_records(planned, [record(look(1, 9, 1.0, concordance_cc_arousal=None))])
    (number,) = table.read(planned)
    assert number.value is None
    assert "does not vary" in number.reason


def test_layers_are_a_curve(hand_made: Callable[..., Any]) -> None:
    table = hand_made("deoliveira/fig2")
    planned = table.plan(target="valence")
    table.write_records(planned, [record(look(1, 9, 1.0), layer_importance=[0.2, 0.5, 0.3])])
    found = {number.slice: number.value for number in table.read(planned)}
    assert found == {"layer=0": 0.2, "layer=1": 0.5, "layer=2": 0.3}


def test_a_model_without_weights_of_layers_has_none(hand_made: Callable[..., Any]) -> None:
    table = hand_made("deoliveira/fig2")
    planned = table.plan(target="valence")
    table.write_records(planned, [record(look(1, 9, 1.0), layer_importance=None)])
    with pytest.raises(NotMadeError, match="no weights of its layers"):
        table.read(planned)
