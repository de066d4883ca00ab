"""How pages are made of templates: all text is escaped, and numbers are written one way."""

from __future__ import annotations

import jinja2

from orchestration.report import wording
from orchestration.report.figures import Axis


def environment(*packages: str) -> jinja2.Environment:
    """Return what renders the templates of packages; the first that has a template is meant."""
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package) for package in packages]),
        autoescape=True,  # for every template, whatever its name ends in
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        number=wording.number,
        interval=wording.interval,
        probability=wording.probability,
        count=wording.count,
        label=wording.metric_label,
        tick=wording.tick,
        name=wording.name,
        plain=wording.plain,
        sentence_case=wording.sentence_case,
        value_of=wording.value_of,
        zip=zip,
        percent=_percent,
    )
    return made


def _percent(value: float, axis: Axis) -> float:
    return axis.percent(value)
