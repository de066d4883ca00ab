"""The audit as a model card in the format of the Hugging Face hub: YAML, then Markdown.

One card for one audit: `model-index` lists every model of it. Who publishes one model audits it
alone, and adds what no audit knows: licence, language, training data, intended use.
https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import jinja2
import yaml
from markupsafe import Markup, escape

from orchestration.report import wording
from orchestration.report.audit_folder import Statistic
from orchestration.report.limits import LIMITS
from orchestration.report.page import Page, Section
from orchestration.report.verdict import WANTED

CARD_FILE = "model_card.md"
TEMPLATE = "model_card.md.j2"
MAX_LIGHTS = 60

_DIMENSION_METRICS = (
    "concordance_cc",
    "pearson_cc",
    "mean_squared_error",
    "mean_absolute_error",
    "bias",
)
_TASK = {"type": "audio-classification", "name": "Speech emotion recognition"}
_TAGS = ["speech-emotion-recognition", "audio", "serval"]


def render_model_card(page: Page) -> str:
    """Return the card; all text from data is escaped, in YAML and in Markdown."""
    matter = yaml.safe_dump(_front_matter(page), sort_keys=False, allow_unicode=True, width=1000)
    card = (
        _environment()
        .get_template(TEMPLATE)
        .render(
            page=page,
            front_matter=Markup(matter),  # noqa: S704  YAML, which is quoted by other rules
            models=tuple(dict.fromkeys(section.model for section in page.sections)),
            results=[(section, tuple(_shown(section))) for section in page.sections],
        )
    )
    return str(card)


def markdown(text: str) -> Markup:
    r"""Escape names and sentences: they stay text in Markdown, and in the HTML made of it.

    >>> str(markdown("[a](b) <script> *x* a|b"))
    '\\[a\\](b) &lt;script&gt; \\*x\\* a\\|b'
    """
    escaped = str(escape(" ".join(text.split())))
    marked = re.sub(r"([\\`*_\[\]{}|~!$@])|(?<!&)(#)", r"\\\1\2", escaped)
    # What could begin a link by itself does not.
    return Markup(re.sub(r"(?i)://|(?<=\bwww)\.", r"\\\g<0>", marked))  # noqa: S704  escaped above


def _front_matter(page: Page) -> dict[str, Any]:
    models: dict[str, list[dict[str, Any]]] = {}
    for section in page.sections:
        metrics = [_metric(row) for row in _shown(section)]
        if metrics:
            # A dict of its own, or YAML would write a reference.
            result = {"task": dict(_TASK), "dataset": _dataset(page, section), "metrics": metrics}
            models.setdefault(section.model, []).append(result)
    return {
        "pipeline_tag": _TASK["type"],
        "tags": _TAGS,
        "model-index": [
            {"name": wording.name(name), "results": results} for name, results in models.items()
        ],
    }


def _dataset(page: Page, section: Section) -> dict[str, str]:
    name = wording.name(page.provenance.metadata_name)
    slug = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.") or "corpus"
    found = {"type": slug, "name": name, "config": wording.name(section.condition)}
    sha256 = page.provenance.metadata_sha256
    return found if sha256 is None else {**found, "revision": wording.name(str(sha256))}


def _metric(row: Statistic) -> dict[str, Any]:
    found = {
        "type": row.metric,
        "name": f"{wording.metric_label(row.metric)} of {row.target}",
        "value": row.value,
    }
    counts = {"num_segments": row.num_segments, "num_speakers": row.num_speakers}
    ends = {"ci_low": row.ci_low, "ci_high": row.ci_high}
    has_interval = None not in ends.values()
    return {**found, "args": {**(ends if has_interval else {}), **counts}}


def _shown(section: Section) -> Iterator[Statistic]:
    for _, by_metric in section.dimensions:
        rows = (by_metric.get(metric) for metric in _DIMENSION_METRICS)
        yield from (row for row in rows if row is not None and row.value is not None)
    if section.emotion is not None:
        yield from (row for row in section.emotion.overall if row.value is not None)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("orchestration.report"),
        autoescape=True,  # what is not marked as Markdown is escaped as HTML at least
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        md=markdown,
        number=wording.number,
        interval=wording.interval,
        count=wording.count,
        label=wording.metric_label,
        name=wording.name,
        tick=wording.tick,
        sentence_case=wording.sentence_case,
    )
    environment.globals.update(limits=LIMITS, wanted=WANTED, max_lights=MAX_LIGHTS)
    return environment
