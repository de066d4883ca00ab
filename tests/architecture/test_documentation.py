"""Every command is documented, and every example on a help page is one that the parser takes."""

import importlib
import re
import shlex
from pathlib import Path
from string import Template

import pytest

from orchestration.cli import COMMANDS, build_parser
from orchestration.training import all_overrides
from pipelines.transforms.metric_values import metric_values
from ser_model.metrics.dimension_sums import DimensionSums
from ser_model.metrics.recall import Confusion
from ser_model.training.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_readme_names_the_command(name: str) -> None:
    assert f"serval {name}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_page_ends_with_an_example_that_parses(name: str) -> None:
    module = importlib.import_module(f"orchestration.commands.{name}")
    words = shlex.split(module.EXAMPLE)
    assert words[:2] == ["serval", name]
    before_beam_options = words[1 : words.index("--")] if "--" in words else words[1:]
    args = build_parser().parse_args(before_beam_options)
    assert args.command == name


def test_every_training_on_the_pages_is_one_that_the_recipes_take() -> None:
    num_trainings = 0
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text().replace("\\\n", " ")
        variables = dict(re.findall(r'^    (\w+)="(.*)"$', text, re.MULTILINE))
        for line in re.findall("^    (serval train .*)$", text, re.MULTILINE):
            words = shlex.split(Template(line).safe_substitute(variables))[1:]
            if words[1].isupper() or words[1].startswith("-"):
                continue  # RECIPE stands for any
            args = build_parser().parse_args(words)
            load_recipe(args.recipe, all_overrides(args.target, args.overrides))
            num_trainings += 1
    assert num_trainings > 5


@pytest.mark.parametrize("name", ["runbook", "operations"])
def test_every_command_for_operators_is_one_that_the_parser_takes(name: str) -> None:
    """Whoever was paged types what stands there, and has no time to correct it."""
    text = (ROOT / "docs" / f"{name}.md").read_text().replace("\\\n", " ")
    lines = re.findall(r"^ +(serval .*)$", text, re.MULTILINE)
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        try:
            build_parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"docs/{name}.md: {line}")
    assert len(lines) >= 5
    for mentioned in re.findall(r"`serval (\w+)", text):
        assert mentioned in COMMANDS, mentioned


def test_every_command_module_is_listed() -> None:
    modules = {path.stem for path in (ROOT / "orchestration" / "commands").glob("*.py")}
    assert modules - {"__init__", "scoring_options", "summary"} == set(COMMANDS)


def test_every_metric_of_an_audit_is_explained() -> None:
    """A metric of classes or bins is explained once for all of them."""
    page = (ROOT / "docs" / "statistics.md").read_text()
    sums = DimensionSums.zeros((1,))
    for state in (sums, Confusion.from_values(["joy"], ["joy"])):
        for metric in metric_values(state):
            name = metric.name.partition("[")[0] + ("[" if metric.is_of_class else "`")
            assert f"`{name}" in page, metric.name


def test_no_sentence_speaks_of_another_name_for_a_segment() -> None:
    """One word for one thing: docs/glossary.md says segment, truth, prediction."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert pages[1:], "docs/ holds no pages"
    for page in pages:
        if page.name == "glossary.md":
            continue
        words = set(page.read_text().lower().replace(",", " ").replace(".", " ").split())
        assert not words & {"utterance", "utterances"}, page
