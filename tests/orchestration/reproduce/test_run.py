"""Steps: none twice, what cannot be done holds up no other, and what was killed goes on."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from orchestration.reproduce.corpora import Corpora
from orchestration.reproduce.plan import in_order
from orchestration.reproduce.rows.planned import NotMadeError
from orchestration.reproduce.run import is_done, run_steps
from orchestration.reproduce.steps.base import Context, Step
from ser_model import storage
from ser_model.schema import ModelError, UnfinishedError

RAN: list[str] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter(Step):
    """Writes its letter; in lower case it is one that does with whatever inputs there are."""

    kind = "letters"
    verb = "write"
    letter: str
    needs: tuple[Letter, ...] = ()
    error: type[Exception] | None = None

    @property
    def name(self) -> str:
        return self.letter

    @property
    def content(self) -> Mapping[str, object]:
        return {"letter": self.letter}

    @property
    def inputs(self) -> tuple[Step, ...]:
        return self.needs

    def without(self, failed: Container[Step]) -> Letter | None:
        left = tuple(step for step in self.needs if step not in failed)
        return replace(self, needs=left) if self.letter.islower() and left else None

    def run(self, context: Context) -> None:
        RAN.append(self.letter)
        if self.error is not None:
            raise self.error(f"no {self.letter}")
        storage.write_atomic(storage.join(self.folder(context.work), "letter"), b"")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    RAN.clear()
    return Context(work=str(tmp_path), corpora=Corpora({}))


def test_inputs_come_first_and_each_step_once() -> None:
    shared = Letter(letter="A")
    two = [Letter(letter=letter, needs=(shared,)) for letter in "BC"]
    assert [step.name for step in in_order([*two, shared])] == ["A", "B", "C"]


def test_what_is_done_is_not_done_again(context: Context) -> None:
    step = Letter(letter="A")
    assert not is_done(step, context.work)
    run_steps([step], context)
    assert is_done(step, context.work)
    made = run_steps([Letter(letter="A")], context)
    assert RAN == ["A"]
    assert made.find(step) == step


def test_a_key_depends_on_content_and_inputs() -> None:
    plain = Letter(letter="A")
    assert plain.key == Letter(letter="A").key
    other_input = Letter(letter="A", needs=(Letter(letter="B"),))
    assert len({plain.key, other_input.key, Letter(letter="B").key}) == 3
    assert other_input.folder("w").startswith("w/letters/A-")


def test_a_step_that_cannot_be_done_holds_up_no_other(context: Context) -> None:
    bad = Letter(letter="B", error=ModelError)
    after, good = Letter(letter="C", needs=(bad,)), Letter(letter="D")
    made = run_steps([bad, after, good], context)
    assert RAN == ["B", "D"]
    assert made.find(good) == good
    for step in (bad, after):
        with pytest.raises(NotMadeError, match="no B"):
            made.find(step)
    assert made.reason(after) == "no B"
    assert made.reason(good) == ""


def test_a_step_that_can_do_without_is_done_without(context: Context) -> None:
    bad, good = Letter(letter="B", error=ModelError), Letter(letter="D")
    both = Letter(letter="c", needs=(bad, good))
    made = run_steps([bad, good, both], context)
    found = made.find(both)
    assert found.needs == (good,)
    assert is_done(found, context.work)
    assert not is_done(both, context.work), "with all inputs it is still to be done"


def test_what_is_unfinished_stops_all(context: Context) -> None:
    steps = [Letter(letter="A", error=UnfinishedError), Letter(letter="B")]
    with pytest.raises(UnfinishedError):
        run_steps(steps, context)
    assert RAN == ["A"]
    assert not is_done(steps[0], context.work)
