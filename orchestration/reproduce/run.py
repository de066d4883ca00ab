"""Runs the steps of a table: none twice, and one that cannot be done holds up no other."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from orchestration.reproduce.rows.planned import Made
from orchestration.reproduce.steps.base import Context, Step
from ser_model import storage
from ser_model.schema import InputError, TooManyRejectedError

DONE = "step.json"
"""Written last into a step's folder."""

logger = logging.getLogger(__name__)


def run_steps(steps: Sequence[Step], context: Context) -> Made:
    """Run steps that are not done yet.

    Args:
        steps: inputs first.
        context: where, and on what.

    Returns:
        What was done, and why the rest was not.

    Raises:
        UnfinishedError: a step could not finish; the same again resumes.
    """
    done: dict[Step, Step] = {}
    failed: dict[Step, str] = {}
    for number, planned in enumerate(steps, start=1):
        missing = [step for step in planned.inputs if step in failed]
        step = planned.without(missing) if missing else planned
        if step is None:
            failed[planned] = failed[missing[0]]
            continue
        logger.info("step %d of %d: %s", number, len(steps), step.title)
        try:
            _run(step, context)
        except (InputError, TooManyRejectedError) as error:
            logger.warning("cannot %s: %s", step.title, error)
            failed[planned] = str(error)
        else:
            done[planned] = step
    return Made(context.work, done, failed)


def is_done(step: Step, work: str) -> bool:
    """Tell whether a step was done before."""
    return storage.exists(storage.join(step.folder(work), DONE))


def _run(step: Step, context: Context) -> None:
    if is_done(step, context.work):
        return
    step.run(context)
    record = {
        "title": step.title,
        "key": step.key,
        "content": step.content,
        "inputs": [needed.folder(context.work) for needed in step.inputs],
    }
    storage.write_json(storage.join(step.folder(context.work), DONE), record)
