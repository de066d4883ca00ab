"""`serval reproduce TABLE`: plans a table, runs what is not done, sets ours beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.reproduce.changes import Changes
from orchestration.reproduce.corpora import Corpora
from orchestration.reproduce.plan import Planner, in_order
from orchestration.reproduce.published import PublishedTable, PublishedValue, read_published
from orchestration.reproduce.result import TableResult, result_rows, source_of, write_result
from orchestration.reproduce.result_text import as_markdown
from orchestration.reproduce.rows.planned import Made, NotMadeError, OurNumber, Planned
from orchestration.reproduce.rows.registry import plan_row
from orchestration.reproduce.run import run_steps
from orchestration.reproduce.steps.base import Context, Step
from orchestration.reproduce.steps.train import TrainStep
from ser_model import storage
from ser_model.schema import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePlan:
    """A table and what its rows need.

    Attributes:
        table: as published.
        rows: each with what is planned for it, or why nothing is.
        steps: of all rows, inputs first.
    """

    table: PublishedTable
    rows: tuple[tuple[PublishedValue, Planned | str], ...]
    steps: tuple[Step, ...]


def plan_table(name: str, corpora: Corpora, changes: Changes) -> TablePlan:
    """Plan a table.

    Args:
        name: of `list_published()`.
        corpora: that were given.
        changes: of trainings.

    Raises:
        ConfigError: there is no such table, or a recipe does not take an override.
        ManifestError: a corpus cannot be used.
    """
    table = read_published(name)
    planner = Planner(table=table, corpora=corpora, changes=changes)
    rows: list[tuple[PublishedValue, Planned | str]] = []
    for row in table.rows:
        try:
            rows.append((row, plan_row(row, planner)))
        except NotMadeError as error:
            rows.append((row, str(error)))
    planned = [planned for _, planned in rows if not isinstance(planned, str)]
    steps = in_order(step for one in planned for step in one.steps)
    return TablePlan(table=table, rows=tuple(rows), steps=tuple(steps))


def reproduce(name: str, context: Context, changes: Changes) -> TableResult:
    """Make a table, and write it to tables/NAME in the context's folder.

    Args:
        name: of `list_published()`.
        context: where, with which corpora, and on what.
        changes: of trainings.

    Raises:
        InputError: as `plan_table`; or no corpus was given that the table needs.
        UnfinishedError: a step could not finish; the same call resumes.
    """
    plan = plan_table(name, context.corpora, changes)
    _refuse_without_corpora(plan.table, context.corpora)
    made = run_steps(plan.steps, context)
    rows = [
        result for row, planned in plan.rows for result in result_rows(row, _read(planned, made))
    ]
    result = TableResult(
        table=name,
        title=plan.table.title,
        source=source_of(plan.table),
        shows=plan.table.shows,
        rows=tuple(rows),
        may_differ=_may_differ(plan, context.corpora, changes, made),
        folder=storage.join(context.work, "tables", name),
    )
    write_result(result, as_markdown(result))
    return result


def _read(planned: Planned | str, made: Made) -> Sequence[OurNumber]:
    if isinstance(planned, str):
        return (OurNumber(reason=planned),)
    try:
        return planned.read(made)
    except NotMadeError as error:
        return (OurNumber(reason=str(error)),)


def _refuse_without_corpora(table: PublishedTable, corpora: Corpora) -> None:
    if not set(table.needs) & set(corpora.given):
        wanted = " ".join(f"--corpus {name}=PATH" for name in table.needs)
        raise ConfigError(f"{table.table} needs {wanted}; --dry-run tells the rest without them")


def _may_differ(plan: TablePlan, corpora: Corpora, changes: Changes, made: Made) -> tuple[str, ...]:
    needed = [
        f"{step.system} ({', '.join(step.hub_weights)})"
        for step in plan.steps
        if isinstance(step, TrainStep) and step.hub_weights and made.reason(step)
    ]
    of_hub = [f"not trained, for want of weights of the hub: {'; '.join(dict.fromkeys(needed))}"]
    return (
        *changes.notes,
        *corpora.mismatches(),
        *dict.fromkeys(step.note for step in plan.steps if step.note),
        *(of_hub if needed else ()),
        *plan.table.notes,
    )
