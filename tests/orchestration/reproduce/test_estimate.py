"""Hours before anything is run: arithmetic of the papers' architectures, and sums of steps."""

from __future__ import annotations

import pytest

from orchestration.reproduce.changes import Changes, parse_overrides
from orchestration.reproduce.corpora import Corpora
from orchestration.reproduce.estimate import estimate, estimate_text
from orchestration.reproduce.reproducing import plan_table
from orchestration.reproduce.steps.arithmetic import forward_gflop, training_gflop
from ser_model.schema import ConfigError
from ser_model.training.recipe import load_recipe


@pytest.mark.parametrize(
    ("recipe", "forward", "training"),
    [
        ("wagner/w2v2-b", 14.81, 34.6),
        ("wagner/w2v2-L-robust", 38.39, 105.3),
        ("wagner/w2v2-L-robust-12", 22.09, 56.5),
        ("wagner/w2v2-L-wo-pretrain", 38.39, 115.2),
        ("deoliveira/distilhubert", 6.98, 11.1),
        ("wagner/cnn14", 4.01, 12.0),
        ("baseline/egemaps-svm", 0.0, 0.0),
    ],
)
def test_operations_of_a_second_of_audio(recipe: str, forward: float, training: float) -> None:
    assert forward_gflop(load_recipe(recipe)) == pytest.approx(forward, rel=0.01)
    assert training_gflop(load_recipe(recipe)) == pytest.approx(training, rel=0.01)


def test_an_estimate_adds_up() -> None:
    plan = plan_table("wagner/fig2", Corpora({}), Changes())
    works = estimate(plan.steps, [False] * len(plan.steps), tflops=100.0, price_per_hour=2.0)
    *parts, whole = works
    assert whole.title == "all"
    assert whole.petaflop == pytest.approx(sum(work.petaflop for work in parts))
    assert whole.num_steps == sum(work.num_steps for work in parts)
    assert whole.device_h == pytest.approx(whole.petaflop * 1e15 / 100e12 / 3600)
    assert whole.cost == pytest.approx(2.0 * whole.device_h)
    large = next(work for work in parts if "w2v2-L-robust" in work.title)
    # 62 h by 105 GFLOP and 12 h by 38, five times
    assert large.petaflop == pytest.approx(125.9, rel=0.01)
    assert "w2v2-L-robust" in estimate_text(works)


def test_what_was_done_before_takes_nothing() -> None:
    plan = plan_table("wagner/table3", Corpora({}), Changes())
    whole = estimate(plan.steps, [True] * len(plan.steps))[-1]
    assert (whole.num_done, whole.petaflop) == (whole.num_steps, 0.0)
    assert f"{whole.num_done} done" in estimate_text([whole])


def test_changes_reach_the_trainings_that_they_name() -> None:
    changes = Changes(overrides=parse_overrides(["wagner/w2v2-*:num_epochs=1"]), num_seeds=2)
    full, less = (
        {step.name: step.petaflop for step in plan_table("wagner/fig2", Corpora({}), c).steps}
        for c in (Changes(), changes)
    )
    of_base, of_cnn = (
        f"wagner/{name} dimensions on msp-podcast/train" for name in ("w2v2-b", "cnn14")
    )
    assert less[of_base] == pytest.approx(2 / 5 * full[of_base])
    assert less[of_cnn] == pytest.approx(2 * full[of_cnn])
    assert changes.notes == (
        "trainings of wagner/w2v2-* with --set num_epochs=1",
        "2 seeds of each network (--seeds)",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_epochs", "is not KEY=VALUE or RECIPES:KEY=VALUE"),
        ("wagner/*:=1", "is not KEY=VALUE"),
        ("wagnr/*:seed=1", "no recipe is called 'wagnr/"),
    ],
)
def test_overrides_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_overrides([text])
