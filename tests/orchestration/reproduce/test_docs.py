"""docs/reproduce.md has a line for each table, and it says what the plans say."""

from pathlib import Path

from orchestration.reproduce.changes import Changes
from orchestration.reproduce.corpora import Corpora
from orchestration.reproduce.estimate import DEFAULT_TFLOPS, estimate
from orchestration.reproduce.published import list_published, read_published
from orchestration.reproduce.reproducing import plan_table
from orchestration.reproduce.steps.train import TrainStep

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reproduce.md"
HEADER = "| table | needs | trainings | device hours | shows |"


def line_of(name: str) -> str:
    """Return the line of a table: hours with two digits that count, as they are estimated."""
    table, plan = read_published(name), plan_table(name, Corpora({}), Changes())
    steps = {step.key: step for step in plan.steps if isinstance(step, TrainStep)}
    num_trainings = sum(len(s.seeds) * s.corpus.about.num_folds for s in steps.values())
    hours = estimate(plan.steps, [False] * len(plan.steps))[-1].device_h
    shown = f"{hours:.2g}" if hours < 10 else f"{hours:.0f}"
    return f"| `{name}` | {', '.join(table.needs)} | {num_trainings} | {shown} | {table.shows} |"


def test_every_table_has_its_line():
    found = PAGE.read_text().splitlines()
    begin = found.index(HEADER) + 2
    expected = [line_of(name) for name in list_published()]
    written = found[begin : begin + len(expected)]
    assert written == expected, "\n".join(["should be", *expected])


def test_the_page_says_at_which_speed():
    assert f"{DEFAULT_TFLOPS:g} TFLOP/s" in PAGE.read_text()
