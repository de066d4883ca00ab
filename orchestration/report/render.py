"""Renders the page: one HTML file with its styles and figures inside, and no script.

Beside it stands a model card that says the same in short.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import jinja2

from orchestration.report import pairs
from orchestration.report.audit_folder import read_audit
from orchestration.report.decision import with_decision
from orchestration.report.extremes import check_number
from orchestration.report.fitting import shorter
from orchestration.report.limits import LIMITS
from orchestration.report.links import link
from orchestration.report.model_card import CARD_FILE, render_model_card
from orchestration.report.page import Page, build_page
from orchestration.report.pseudonyms import pseudonymise, read_key
from orchestration.report.speakers import SUMMARY_METRICS
from orchestration.report.suite import OUTCOMES
from orchestration.report.templating import environment
from orchestration.report.verdict import WANTED, Verdict
from ser_model import storage

logger = logging.getLogger(__name__)

TEMPLATE = "report.html.j2"
MAX_FINDINGS = 12
MAX_BYTES = 2_000_000
"""Above, less is shown (see `fitting`): a page that opens at once is worth more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSummary:
    """What was written.

    Attributes:
        output: the file.
        model_card: the card beside it.
        num_bytes: its size.
        num_sections: models x conditions shown in full.
        verdicts: by title of the section its verdict.
    """

    output: str
    model_card: str
    num_bytes: int
    num_sections: int
    verdicts: dict[str, Verdict]


def render_report(
    audit_uri: str,
    output: str,
    *,
    key_uri: str | None = None,
    num_audio: int | None = None,
    decision_uri: str | None = None,
    links: Mapping[str, str] | None = None,
) -> ReportSummary:
    """Write the report of an audit, and its model card in the same folder.

    The same audit, decision, key and links give the same bytes.

    Args:
        audit_uri: folder that `serval audit` wrote.
        output: the HTML file; replaced if it is there, as the card is.
        key_uri: file with the key of pseudonyms; None shows the speakers' names.
        num_audio: of how many segments of each group and dimension, those with the largest
            residuals, the page holds the audio; None for none.
        decision_uri: file of the gate's decision about this audit; None for gate.json in the audit,
            where there is one.
        links: URLs and paths of what belongs to the audit elsewhere, by their names.

    Raises:
        RunError: there is no complete audit, or its metadata changed and audio is asked for, or the
            decision is about another audit.
        ConfigError: the key, the decision or the number of segments cannot be used.
        ManifestError: audio is asked for, and the metadata name no recordings.
    """
    if num_audio is not None:
        check_number(num_audio)
    key = None if key_uri is None else read_key(key_uri)
    folder = with_decision(read_audit(audit_uri), decision_uri)
    shown = folder if key is None else pseudonymise(folder, key)
    page = build_page(shown, [link(name, target) for name, target in (links or {}).items()])
    card_data = render_model_card(page).encode()
    data = render_page(page).encode()
    while len(data) > MAX_BYTES and (less := shorter(page)) is not None:
        page = less
        data = render_page(page).encode()
    if num_audio is not None:
        from orchestration.report.audio import audio_panel  # loads libsndfile

        room = MAX_BYTES - len(data)
        panel = audio_panel(shown, folder.audit, num=num_audio, max_bytes=room)
        data = render_page(replace(page, audio=panel)).encode()
    card = storage.join(storage.parent(output), CARD_FILE)
    storage.write_atomic(card, card_data)
    storage.write_atomic(output, data)
    logger.info("report: %s, %d bytes", output, len(data))
    return ReportSummary(
        output=output,
        model_card=card,
        num_bytes=len(data),
        num_sections=len(page.sections),
        verdicts={section.title: section.verdict for section in page.sections},
    )


def render_page(page: Page) -> str:
    """Return the report as HTML; all text from data is escaped."""
    return _environment().get_template(TEMPLATE).render(page=page)


@functools.cache
def _environment() -> jinja2.Environment:
    made = environment("orchestration.report")
    made.filters["describe_pair"] = pairs.describe
    made.globals.update(
        suite_outcomes=OUTCOMES,
        max_findings=MAX_FINDINGS,
        wanted=WANTED,
        summary_names=tuple(SUMMARY_METRICS.values()),
        limits=LIMITS,
    )
    return made
