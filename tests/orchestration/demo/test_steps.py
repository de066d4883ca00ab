import json
from pathlib import Path

import pytest

from orchestration.demo.steps import Step, run_steps


class Kitchen:
    """Two steps that count how often they ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ran: list[str] = []
        self.dies_in = ""

    def work(self, name: str) -> dict[str, object]:
        self.ran.append(name)
        if name == self.dies_in:
            raise KeyboardInterrupt
        (self.folder / f"{name}.txt").write_text(name)
        return {"made": name}

    def run(self, **identity: object) -> dict[str, object]:
        steps = [
            Step(
                name=name, doing=name, output=f"{name}.txt", work=lambda name=name: self.work(name)
            )
            for name in ("dough", "bread")
        ]
        self.ran = []
        return dict(run_steps(str(self.folder), steps, {"seed": 0, **identity}))


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


def test_a_second_run_does_nothing_and_gives_the_same(kitchen: Kitchen) -> None:
    first = kitchen.run()
    assert kitchen.ran == ["dough", "bread"]
    assert kitchen.run() == first == {"dough": {"made": "dough"}, "bread": {"made": "bread"}}
    assert kitchen.ran == []


def test_it_goes_on_where_it_was_cut_short(kitchen: Kitchen) -> None:
    kitchen.dies_in = "bread"
    with pytest.raises(KeyboardInterrupt):
        kitchen.run()
    kitchen.dies_in = ""
    kitchen.run()
    assert kitchen.ran == ["bread"]


def test_other_inputs_run_everything_again(kitchen: Kitchen) -> None:
    kitchen.run()
    kitchen.run(seed=1)
    assert kitchen.ran == ["dough", "bread"]


def test_a_step_whose_output_is_gone_runs_again(kitchen: Kitchen) -> None:
    kitchen.run()
    (kitchen.folder / "bread.txt").unlink()
    kitchen.run()
    assert kitchen.ran == ["bread"]


def test_what_follows_a_step_with_another_outcome_runs_again(kitchen: Kitchen) -> None:
    kitchen.run()
    record = kitchen.folder / "steps" / "1-dough.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "outcome": {"made": "cake"}}))
    kitchen.run()
    assert kitchen.ran == ["bread"]
