"""A webhook on this machine, and nights as `serval nightly` writes them down."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from orchestration.nights.record import CorpusNight, DriftFinding, Night, Scored

SECRET = "T0SECRET"


class Webhook:
    """Answers each request with the next of `answers`, the last one for ever.

    Attributes:
        answers: of a status and headers each; None: silence until the test ends.
        received: the JSON that came.
        url: with the secret in it.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]] | None] = [(200, {})]
        self.received: list[dict[str, Any]] = []
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"webhook": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/services/{SECRET}?key=SIGNED"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    webhook: Webhook

    def do_POST(self) -> None:
        hook = self.webhook
        assert self.headers["Content-Type"] == "application/json; charset=utf-8"
        hook.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        answer = hook.answers.pop(0) if len(hook.answers) > 1 else hook.answers[0]
        if answer is None:
            hook.closing.wait(60)
            return
        status, headers = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(f"{SECRET} is in what a server answers, too".encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    webhook = Webhook()
    monkeypatch.setenv("SERVAL_WEBHOOK", webhook.url)
    yield webhook
    webhook.close()


def a_corpus(**changes: Any) -> CorpusNight:
    """A corpus on which the candidate was refused, and which drifted."""
    scored = Scored(
        role="candidate",
        model_uri="models:/emotion/2",
        model_version="emotion/2",
        weights_sha256="ab" * 32,
        run="runs/podcast/2",
        audit="audits/podcast/2",
        num_segments=1200,
        num_rejections=3,
        audio_s=3600.0,
        scored_now_s=3600.0,
        device_s=60.0,
    )
    of_champion = {"model_uri": "models:/emotion/1", "model_version": "emotion/1"}
    fields: dict[str, Any] = {
        "name": "podcast",
        "models": (
            scored,
            replace(scored, role="champion", num_rejections=0, scored_now_s=0.0, **of_champion),
        ),
        "report": "nights/2026-11-21/podcast/report.html",
        "gate": "nights/2026-11-21/podcast/gate.json",
        "gate_outcome": "fail",
        "is_accepted": False,
        "reasons": ("CCC valence, clean: worse by .100, shown to be worse.",),
        "drift": (
            DriftFinding(
                kind="jensen_shannon_divergence",
                subject="arousal",
                value=0.3,
                threshold=0.1,
                is_alarm=True,
                detail="arousal is distributed otherwise than in 7 nights",
            ),
            DriftFinding(
                kind="rejected_share",
                subject="",
                value=0.0025,
                threshold=0.05,
                is_alarm=False,
                detail="0.25 % are rejected, 0.2 % before",
            ),
            DriftFinding(
                kind="population_stability_index",
                subject="accent",
                value=None,
                threshold=0.2,
                is_alarm=False,
                detail="there is no night before",
            ),
        ),
    }
    return CorpusNight(**(fields | changes))


def a_night(**changes: Any) -> Night:
    """A night that refused the candidate."""
    fields: dict[str, Any] = {
        "name": "2026-11-21",
        "started": "2026-11-21T02:00:00+00:00",
        "ended": "2026-11-21T02:30:00+00:00",
        "candidate": "models:/emotion/2",
        "champion": "models:/emotion/1",
        "outcome": "refused",
        "is_promoted": False,
        "exit_code": 1,
        "corpora": (a_corpus(),),
    }
    return Night(**(fields | changes))


@pytest.fixture
def make_corpus() -> Callable[..., CorpusNight]:
    return a_corpus


@pytest.fixture
def make_night() -> Callable[..., Night]:
    return a_night
