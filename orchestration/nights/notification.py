"""Tells a webhook of a night, in JSON as Slack takes it (Mattermost and others read its `text`).

A notification that fails changes nothing: it is logged, and the caller is told.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestration.nights.night_text import verdict
from orchestration.nights.notify_config import NotifyConfig
from orchestration.nights.record import CorpusNight, Night
from orchestration.nights.webhook import Delivery, post, webhook_url
from orchestration.report.wording import plain
from ser_model.redaction import redact
from ser_model.schema import ConfigError, ServalError

logger = logging.getLogger(__name__)

MAX_SECTION_LENGTH = 3000
"""Slack refuses a message whole where a section is longer."""

MAX_LINE_LENGTH = 400
"""Before it is escaped, which makes five characters of one at most: a line fits into a section."""

MAX_CORPORA = 40
"""Sections of corpora; Slack takes 50 blocks."""


def notify(night: Night, config: NotifyConfig, *, index_url: str | None = None) -> Delivery | None:
    """Tell of a night that ended.

    Args:
        night: what was found.
        config: whom to tell, and of which nights.
        index_url: page of all nights.

    Returns:
        What became of the notification; None where nobody is to be told.
    """
    if not config.wants(is_bad=night.exit_code != 0):
        return None
    sections = [
        _head(night.name, verdict(night)),
        *(list(_corpus_lines(corpus)) for corpus in night.corpora[:MAX_CORPORA]),
    ]
    num_more = len(night.corpora) - MAX_CORPORA
    if num_more > 0:
        sections.append([f"{num_more} more corpora are in night.json"])
    if index_url is not None:
        sections.append([_link("all nights", index_url)])
    return _deliver(_message(sections), config)


def notify_failure(
    night_name: str,
    stage: str,
    error: BaseException,
    config: NotifyConfig,
    *,
    index_url: str | None = None,
) -> Delivery | None:
    """Tell of a night that could not finish.

    Args:
        night_name: of the night.
        stage: which it was in.
        error: why.
        config: whom to tell.
        index_url: page of all nights.

    Returns:
        What became of the notification; None where nobody is to be told.
    """
    if not config.wants(is_bad=True):
        return None
    kind = "" if isinstance(error, ServalError) else f"{type(error).__name__}: "
    sections = [[*_head(night_name, f"COULD NOT FINISH: {stage}"), _line(f"{kind}{error}")]]
    if index_url is not None:
        sections.append([_link("all nights", index_url)])
    return _deliver(_message(sections), config)


def _deliver(payload: Mapping[str, Any], config: NotifyConfig) -> Delivery:
    assert config.webhook_variable is not None  # `wants` has looked
    try:
        delivery = post(payload, webhook_url(config.webhook_variable))
    except ConfigError as error:
        delivery = Delivery(ok=False, attempts=0, detail=str(error))
    if not delivery.ok:
        logger.warning("the notification was not delivered: %s", delivery.detail)
    return delivery


def _corpus_lines(corpus: CorpusNight) -> Iterator[str]:
    states = {True: "accepted", False: "refused", None: "nothing to compare"}
    yield f"*{_line(corpus.name)}*: {states[corpus.is_accepted]}"
    for reason in corpus.reasons:
        yield f"• {_sentence(reason)}"
    for alarm in corpus.alarms:
        yield f"• alarm: {_sentence(alarm.detail)}"
    for one in corpus.models:
        if one.num_rejections:
            yield f"• {one.role}: {one.num_rejections} of {one.num_segments} segments rejected"
    if corpus.report is not None:
        yield f"• {_link('report', corpus.report)}"


def _head(night_name: str, what: str) -> list[str]:
    return [f"*Serval, night {_line(night_name)}*", _line(what)]


def _message(sections: Sequence[Sequence[str]]) -> dict[str, Any]:
    return {
        "text": _fitting([line for lines in sections for line in lines]),
        "blocks": [
            # verbatim: what looks like a channel or a link in the data stays text
            {
                "type": "section",
                "text": {"type": "mrkdwn", "text": _fitting(lines), "verbatim": True},
            }
            for lines in sections
        ],
    }


def _fitting(lines: Sequence[str]) -> str:
    """Join lines to a text that fits; where some do not, the last line says how many."""
    for num_shown in range(len(lines), 0, -1):
        num_left = len(lines) - num_shown
        rest = [f"… and {num_left} more lines"] if num_left else []
        text = "\n".join([*lines[:num_shown], *rest])
        if len(text) <= MAX_SECTION_LENGTH:
            return text
    return ""


def _link(label: str, uri: str) -> str:
    """Write where something is; what a browser can open becomes a link."""
    if uri.startswith(("https://", "http://")) and len(uri) <= MAX_LINE_LENGTH:
        return f"<{_line(uri).replace('|', '%7C')}|{label}>"
    return f"{label}: {_line(uri)}"


def _line(text: str) -> str:
    """Write text that may hold anything in one line that mentions nobody and links to nothing.

    >>> _line("<!channel> a & b")
    '&lt;!channel&gt; a &amp; b'
    """
    return _sentence(plain(text))


def _sentence(text: str) -> str:
    """Do the same with a sentence whose names were written by `wording.name`."""
    line = redact(" ".join(text.split()))
    if len(line) > MAX_LINE_LENGTH:
        line = f"{line[: MAX_LINE_LENGTH - 1]}…"
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
