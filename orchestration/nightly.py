"""Every night: score, audit, gate, report; promote who may be, and tell who has to know.

    settle -> for each corpus: score, audit, gate, report, drift -> promote, log, index, notify

Each stage either leaves nothing behind or leaves what the next call finds and goes on from. The
night is settled first (see `nights.plan`) and written down last, as night.json: a night that was
killed anywhere in between comes to the same decision when it is run again, and a night that is
complete is only told again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version

from orchestration.nights.config import NightlyConfig
from orchestration.nights.evaluation import Evaluation
from orchestration.nights.index_page import write_index
from orchestration.nights.junit import write_junit
from orchestration.nights.lock import Lock, held_lock
from orchestration.nights.night_text import INDEX_FILE
from orchestration.nights.notification import notify, notify_failure
from orchestration.nights.plan import NightPlan, now, settle, unfinished_nights
from orchestration.nights.record import (
    NIGHT_FILE,
    CorpusNight,
    Night,
    Outcome,
    find_night,
    night_folder,
)
from orchestration.nights.tracking import NightLog
from orchestration.nights.webhook import webhook_url
from orchestration.promotion import CHAMPION, promote
from orchestration.registry import find_alias
from orchestration.stopping import sigterm_as_unfinished
from ser_model import storage

logger = logging.getLogger(__name__)


def run_night(config: NightlyConfig, name: str) -> Night:
    """Run a night, go on with one that was cut short, or tell a complete one again.

    Args:
        config: what is done.
        name: of the night: a date, as 2026-11-21. Nights are told apart and ordered by it.

    Raises:
        InputError: corpus, model or an option cannot be used, or audits cannot be compared.
        TooManyRejectedError: a model rejects more segments than `config` allows.
        UnfinishedError: it was stopped, or another night holds the lock; run it again.
    """
    done = find_night(config.output, name)
    if done is not None:
        logger.info("nightly: %s is complete already", name)
        return done
    if config.notify.webhook_variable is not None:
        webhook_url(config.notify.webhook_variable)  # refused now, not after hours of scoring
    for other in unfinished_nights(config.output, name):
        logger.warning("nightly: %s is not finished: --night %s finishes it", other, other)
    with sigterm_as_unfinished(), held_lock(config.output, night=name) as lock:
        stages = _Stages(lock)
        try:
            return _run(config, name, stages)
        except BaseException as error:
            notify_failure(name, stages.current, error, config.notify)
            raise


def _run(config: NightlyConfig, name: str, stages: _Stages) -> Night:
    stages.enter("settle")
    plan = settle(config, name)
    log = NightLog(config.output, plan)
    try:
        evaluations = [
            Evaluation(
                config=config, corpus=corpus, plan=plan, enter=stages.enter, links=log.links(plan)
            )
            for corpus in config.corpora
        ]
        for evaluation in evaluations:
            evaluation.check()
        corpora = [evaluation.run() for evaluation in evaluations]
        stages.enter("promote")
        night = _decide(config, plan, corpora, log.run_id)
        stages.enter("log to MLflow")
        log.finish(night)
    except BaseException:
        log.fail()
        raise
    stages.enter("index")
    write_index(config.output, night)
    stages.enter("notify")
    folder = night_folder(config.output, name)
    write_junit(folder, night, config.notify)
    notify(night, config.notify, index_url=storage.join(config.output, INDEX_FILE))
    stages.enter("complete")
    storage.write_json(storage.join(folder, NIGHT_FILE), night.to_json())
    return night


def _decide(
    config: NightlyConfig, plan: NightPlan, corpora: Sequence[CorpusNight], run_id: str
) -> Night:
    """Say what becomes of the candidate, and make it champion where it may be."""
    outcome = _outcome(plan, corpora)
    has_alarm = any(corpus.alarms for corpus in corpora)
    # A night whose data look strange is none to replace a model in, whoever is better on them.
    may = outcome in ("first", "accepted") and config.promote and not has_alarm
    return Night(
        name=plan.name,
        started=plan.started,
        ended=now(),
        candidate=plan.candidate,
        champion=plan.champion,
        outcome=outcome,
        is_promoted=may and _promote(config, plan, corpora),
        exit_code=1 if has_alarm or outcome == "refused" else 0,
        corpora=tuple(corpora),
        mlflow_run=run_id,
        code_version=version("serval"),
    )


def _outcome(plan: NightPlan, corpora: Sequence[CorpusNight]) -> Outcome:
    if plan.candidate is None:
        return "unchanged"
    if plan.champion is None:
        return "first"
    return "accepted" if all(corpus.is_accepted for corpus in corpora) else "refused"


def _promote(config: NightlyConfig, plan: NightPlan, corpora: Sequence[CorpusNight]) -> bool:
    """Make the candidate champion; a night that is resumed may have done so already."""
    assert plan.candidate is not None
    current = find_alias(config.model, CHAMPION)
    in_use = None if current is None else current.uri
    if in_use not in (plan.champion, plan.candidate):
        logger.warning(
            "nightly: %s is not promoted: the champion was %s when the night began, and is %s now",
            plan.candidate,
            plan.champion,
            in_use,
        )
        return False
    promote(plan.candidate, CHAMPION, gates=[c.gate for c in corpora if c.gate is not None])
    return True


class _Stages:
    """Knows where a night is; none begins when the lock is lost."""

    def __init__(self, lock: Lock) -> None:
        self.current = "lock"
        self._lock = lock

    def enter(self, stage: str) -> None:
        """Begin a stage."""
        self._lock.check()
        self.current = stage
        logger.info("nightly: %s", stage)
