"""What a webhook is told of a night, and that a failure to tell it changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from orchestration.nights.notification import (
    MAX_CORPORA,
    MAX_SECTION_LENGTH,
    notify,
    notify_failure,
)
from orchestration.nights.notify_config import NotifyConfig
from orchestration.nights.record import CorpusNight, Night
from orchestration.nights.webhook import Delivery
from orchestration.report.wording import name
from ser_model.schema import RunError

BAD = NotifyConfig(webhook_variable="SERVAL_WEBHOOK")
ALWAYS = NotifyConfig(webhook_variable="SERVAL_WEBHOOK", when="always")

MakeNight = Callable[..., Night]
MakeCorpus = Callable[..., CorpusNight]


def told(webhook: Any) -> dict[str, Any]:
    """The one message that came, with what Slack asks of it made sure."""
    (message,) = webhook.received
    assert set(message) == {"text", "blocks"}
    assert 0 < len(message["text"]) <= MAX_SECTION_LENGTH
    assert 0 < len(message["blocks"]) <= 50
    for block in message["blocks"]:
        assert block["type"] == "section"
        assert block["text"]["type"] == "mrkdwn"
        assert 0 < len(block["text"]["text"]) <= MAX_SECTION_LENGTH
    return message


def sections(webhook: Any) -> list[str]:
    return [block["text"]["text"] for block in told(webhook)["blocks"]]


def test_a_night_that_refused_the_candidate(webhook: Any, make_night: MakeNight) -> None:
    delivery = notify(make_night(), BAD, index_url="https://host/nights/index.html")
    assert delivery == Delivery(ok=True, attempts=1, detail="HTTP status 200")
    head, corpus, links = sections(webhook)
    assert head.startswith("*Serval, night 2026-11-21*\nREFUSED: models:/emotion/2")
    assert corpus.split("\n") == [
        "*podcast*: refused",
        "• CCC valence, clean: worse by .100, shown to be worse.",
        "• alarm: arousal is distributed otherwise than in 7 nights",
        "• candidate: 3 of 1200 segments rejected",
        "• report: nights/2026-11-21/podcast/report.html",
    ]
    assert links == "<https://host/nights/index.html|all nights>"
    assert told(webhook)["text"] == "\n".join([head, corpus, links])


@pytest.mark.parametrize(
    ("is_accepted", "said"), [(True, "accepted"), (None, "nothing to compare")]
)
def test_the_state_of_a_corpus(
    webhook: Any,
    make_night: MakeNight,
    make_corpus: MakeCorpus,
    is_accepted: bool | None,
    said: str,
) -> None:
    corpus = make_corpus(is_accepted=is_accepted, reasons=(), drift=(), models=(), report=None)
    notify(make_night(corpora=(corpus,), outcome="accepted", exit_code=0), ALWAYS)
    assert sections(webhook)[1:] == [f"*podcast*: {said}"]


@pytest.mark.parametrize(
    ("config", "exit_code"), [(BAD, 0), (NotifyConfig(), 1), (NotifyConfig(when="always"), 1)]
)
def test_nobody_is_told(
    webhook: Any, make_night: MakeNight, config: NotifyConfig, exit_code: int
) -> None:
    assert notify(make_night(exit_code=exit_code), config) is None
    assert webhook.received == []


def test_a_night_that_could_not_finish(webhook: Any) -> None:
    error = RunError("s3://anna:hunter2@store/audit is incomplete <here>")
    delivery = notify_failure("2026-11-21", "podcast: gate", error, BAD, index_url="/n/index.html")
    assert delivery is not None
    assert delivery.ok
    assert sections(webhook) == [
        "*Serval, night 2026-11-21*\nCOULD NOT FINISH: podcast: gate\n"
        "s3://***@store/audit is incomplete &lt;here&gt;",
        "all nights: /n/index.html",
    ]


def test_what_cannot_be_seen_is_marked(webhook: Any) -> None:
    notify_failure("2026-11-21", "score", RunError("a\u202eb\nc\x00d"), BAD)
    assert sections(webhook)[0].endswith("score\na\ufffdb c\ufffdd")


def test_a_name_that_is_written_from_the_right_stays_readable(
    webhook: Any, make_night: MakeNight, make_corpus: MakeCorpus
) -> None:
    reason = f"CCC valence, clean {name('accent=مصري')}: it cannot be told."
    notify(make_night(corpora=(make_corpus(reasons=(reason,)),)), BAD)
    assert f"• {reason}\n" in sections(webhook)[1]


def test_a_defect_is_told_with_its_kind(webhook: Any) -> None:
    notify_failure("2026-11-21", "settle", KeyError("name"), BAD)
    assert sections(webhook)[0].endswith("KeyError: 'name'")


def test_of_a_failure_nobody_is_told_without_a_webhook(webhook: Any) -> None:
    assert notify_failure("1", "settle", RunError("no"), NotifyConfig()) is None
    assert webhook.received == []


def test_names_mention_nobody_and_change_no_line(
    webhook: Any, make_night: MakeNight, make_corpus: MakeCorpus
) -> None:
    reason = "accent=<!channel>|<https://evil|here> & more\n*podcast*: accepted"
    corpus = make_corpus(reasons=(reason,), drift=(), models=(), report="https://h/a|b<c>.html")
    notify(make_night(corpora=(corpus,)), BAD)
    _, reason_line, report_line = sections(webhook)[1].split("\n")
    assert reason_line == (
        "• accent=&lt;!channel&gt;|&lt;https://evil|here&gt; &amp; more *podcast*: accepted"
    )
    assert report_line == "• <https://h/a%7Cb&lt;c&gt;.html|report>"
    assert all(block["text"]["verbatim"] for block in told(webhook)["blocks"])


def test_a_long_message_says_what_it_leaves_out(
    webhook: Any, make_night: MakeNight, make_corpus: MakeCorpus
) -> None:
    corpus = make_corpus(reasons=("&" * 10_000,) * 30, drift=(), models=(), report=None)
    notify(make_night(corpora=(corpus,) * (MAX_CORPORA + 2)), BAD, index_url="https://h/index.html")
    lines = sections(webhook)
    assert len(lines) == 1 + MAX_CORPORA + 1 + 1
    assert lines[-2] == "2 more corpora are in night.json"
    num_shown = lines[1].count("•")
    assert lines[1].endswith(f"\n… and {30 - num_shown} more lines")
    assert "&amp…" not in lines[1]
    assert lines[1].split("\n")[1] == f"• {'&amp;' * 399}…"


def test_a_webhook_that_fails_changes_nothing(
    webhook: Any, make_night: MakeNight, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    webhook.answers = [(404, {})]
    delivery = notify(make_night(), BAD)
    assert delivery == Delivery(ok=False, attempts=1, detail="HTTP status 404")
    assert "the notification was not delivered: HTTP status 404" in caplog.text
    assert "T0SECRET" not in caplog.text


def test_a_webhook_without_a_url_changes_nothing(
    make_night: MakeNight, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERVAL_WEBHOOK", raising=False)
    delivery = notify(make_night(), BAD)
    assert delivery is not None
    assert (delivery.ok, delivery.attempts) == (False, 0)
    assert "SERVAL_WEBHOOK holds no webhook's URL" in delivery.detail
    assert delivery.detail in caplog.text
