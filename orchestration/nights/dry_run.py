"""What a night would do, told without doing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestration.commits import read_run
from orchestration.gate_config import default_config
from orchestration.nights.config import CorpusConfig, NightlyConfig
from orchestration.nights.evaluation import ROLES, Evaluation
from orchestration.nights.plan import propose
from orchestration.nights.record import find_night
from orchestration.shards import plan_shards
from ser_model.schema import RunError


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What would happen.

    Attributes:
        text: lines for people.
        data: the same for machines.
    """

    text: str
    data: Mapping[str, object]


def forecast(config: NightlyConfig, name: str) -> Forecast:
    """Look at models, corpora and what is scored already; nothing is written, nobody is told.

    Raises:
        InputError: as the night itself would.
    """
    if find_night(config.output, name) is not None:
        text = f"night {name} is complete: it would only be told again"
        return Forecast(text=text, data={"night": name, "is_complete": True})
    plan = propose(config, name)
    lines = [
        f"night {name}, in {config.output}",
        f"  candidate  {plan.candidate or 'none: the champion alone is evaluated'}",
        f"  champion   {plan.champion or 'none yet: the candidate becomes it without a gate'}",
    ]
    corpora = []
    for corpus in config.corpora:
        evaluation = Evaluation(
            config=config, corpus=corpus, plan=plan, enter=lambda _stage: None, links={}
        )
        evaluation.check()
        num_segments = plan_shards(corpus.source, split=corpus.split).num_segments
        under = f", under {', '.join(corpus.conditions)} too" if corpus.conditions else ""
        lines.append(f"corpus {corpus.name}: {num_segments} segments{under}")
        runs = {}
        for role, uri in zip(ROLES, (plan.candidate, plan.champion), strict=True):
            if uri is not None:
                run = evaluation.run_folder(uri)
                is_scored = _is_complete(run)
                runs[role] = {"model_uri": uri, "run": run, "is_scored": is_scored}
                what = "is scored already" if is_scored else "would be scored"
                lines.append(f"  {role:<9}  {what}: {run}")
        lines += _gate_lines(config, corpus) if plan.candidate and plan.champion else []
        corpora.append({"name": corpus.name, "num_segments": num_segments, "runs": runs})
    lines += _end_lines(config, can_promote=plan.candidate is not None)
    data = {"night": name, "is_complete": False, "corpora": corpora}
    return Forecast(
        text="\n".join(lines),
        data={**data, "candidate": plan.candidate, "champion": plan.champion},
    )


def _gate_lines(config: NightlyConfig, corpus: CorpusConfig) -> list[str]:
    asked = config.gate_of(corpus) or default_config(cross_corpus=corpus.cross_corpus)
    rules = [f"{rule.metric} may be worse by {rule.margin}" for rule in asked.statistics]
    rules += [f"gaps in {rule.metric} may be wider by {rule.margin}" for rule in asked.gaps]
    return [f"  gate       {'; '.join(rules)}"]


def _end_lines(config: NightlyConfig, *, can_promote: bool) -> list[str]:
    lines = []
    if can_promote:
        what = "would become champion" if config.promote else "would stay what it is (promote)"
        lines.append(f"a candidate that passes everywhere {what}")
    variable = config.notify.webhook_variable
    if variable is not None:
        lines.append(f"told: the webhook in {variable}, when {config.notify.when}")
    return lines


def _is_complete(run_uri: str) -> bool:
    try:
        return bool(read_run(run_uri)["status"] == "complete")
    except (RunError, FileNotFoundError):
        return False
