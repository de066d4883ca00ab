"""A webhook on this machine, nights as `serval nightly` writes them down, and what it runs on."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile as sf
import torch

from orchestration import mlflow_store
from orchestration.committed import committed_files
from orchestration.model_uris import resolve_model
from orchestration.nightly import run_night
from orchestration.nights.config import NightlyConfig, read_nightly_config
from orchestration.nights.record import CorpusNight, DriftFinding, Night, Scored
from orchestration.registry import find_alias, register_model
from orchestration.scoring import score
from ser_model import storage
from ser_model.audio import SAMPLING_RATE_HZ
from ser_model.manifest import read_manifest, write_manifest
from ser_model.models.storage import save_model
from ser_model.schema import DIMENSIONS

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


RIGHT, WRONG = "random:demo?seed=1", "random:demo?seed=2"
NUM_SPEAKERS, NUM_SEGMENTS = 12, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Nights:
    """A folder with a corpus, a configuration, and a registered model without versions.

    Attributes:
        folder: with nightly.yaml.
        model: the registered name.
        write_config: writes nightly.yaml with more fields, and reads it.
        right: URI of the model that the truth is made of.
        wrong: URI of one that knows nothing of it.
    """

    folder: Path
    model: str
    write_config: Callable[..., NightlyConfig]
    right: str = RIGHT
    wrong: str = WRONG

    def register(self, uri: str, *, shift: float = 0.0) -> str:
        """Register a version, of which the alias candidate is from now on; return its URI."""
        model = resolve_model(uri).load()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += shift
        path = str(self.folder / f"model {uri[-1]} {shift}")
        save_model(model, path)
        return f"models:/{self.model}/{register_model(path, name=self.model)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Four nights.

    Attributes:
        nights: their folder.
        config: of all of them.
        versions: URIs of the model that is right, one that is wrong, one as good as the first.
        ran: the nights, by name.
        champions: who was champion when each of them had ended.
        tags: `serval.night` of each version when the last one had ended.
    """

    nights: Nights
    config: NightlyConfig
    versions: tuple[str, ...]
    ran: dict[str, Night]
    champions: dict[str, str | None]
    tags: dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def night_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speakers of two sexes; the truth is what one model says of them, and some noise."""
    folder = tmp_path_factory.mktemp("night corpus")
    random = np.random.default_rng(0)
    rows = []
    for speaker in range(NUM_SPEAKERS):
        levels = np.repeat(random.uniform(0.01, 0.9, NUM_SEGMENTS), SAMPLING_RATE_HZ)
        sf.write(
            folder / f"{speaker}.flac",
            levels * random.uniform(-1, 1, len(levels)),
            SAMPLING_RATE_HZ,
        )
        rows += [
            {
                "segment_id": f"{speaker}-{second}",
                "recording": f"{speaker}.flac",
                "start_s": float(second),
                "end_s": second + 0.5,
                "speaker_id": f"speaker {speaker}",
                "sex": "female" if speaker % 2 else "male",
                "language": "en",
            }
            for second in range(NUM_SEGMENTS)
        ]
    manifest = str(folder / "manifest.parquet")
    write_manifest(manifest, pa.Table.from_pylist(rows))
    run = str(folder / "truth")
    score(manifest, model_uri=RIGHT, output=run, local=True, devices="cpu")
    said = {
        row["segment_id"]: row
        for uri in committed_files(run).predictions
        for row in storage.read_table(uri).to_pylist()
    }
    table = read_manifest(manifest)
    ids = table["segment_id"].to_pylist()
    for dimension in DIMENSIONS:
        values = np.array([said[i][dimension] for i in ids])
        values += random.normal(0.0, 0.2 * values.std(), len(ids))
        table = table.append_column(dimension, pa.array(values.clip(0, 1)))
    write_manifest(manifest, table)
    return folder


@pytest.fixture
def nights(
    night_corpus: Path, mlflow_folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Nights:
    """A configuration and a model's name for each test."""
    return make_nights(night_corpus, tmp_path, request.node.name)


@pytest.fixture(scope="session")
def story(
    night_corpus: Path, mlflow_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Story:
    """Nights as they follow each other: tests may add others, and leave these as they are."""
    nights = make_nights(night_corpus, tmp_path_factory.mktemp("story"), "story")
    config = nights.write_config()
    versions, ran, champions = [], {}, {}

    def run(name: str) -> None:
        ran[name] = run_night(config, name)
        champions[name] = champion_of(nights.model)

    versions.append(nights.register(RIGHT))
    run("1-first")
    run("2-unchanged")
    versions.append(nights.register(WRONG))
    run("3-refused")
    versions.append(nights.register(RIGHT, shift=1e-6))
    run("4-accepted")
    return Story(
        nights=nights,
        config=config,
        versions=tuple(versions),
        ran=ran,
        champions=champions,
        tags={uri: night_tag(uri) for uri in versions},
    )


def night_tag(uri: str) -> dict[str, Any]:
    """Return what a version of a model says of the last night that it was in."""
    _, name, version = uri.split("/")
    tags = mlflow_store.open_client().get_model_version(name, version).tags
    return json.loads(tags["serval.night"])


def make_nights(corpus: Path, folder: Path, name: str) -> Nights:
    """Make a folder for nights on a corpus."""
    model = re.sub(r"\W+", "-", name)[-60:].strip("-_")

    def write_config(extra: str = "") -> NightlyConfig:
        path = folder / "nightly.yaml"
        path.write_text(
            f"""
output: nights
model: {model}
corpora:
  - name: tones
    source: {json.dumps(str(corpus / "manifest.parquet"))}
scoring: {{devices: cpu, local: true, price_per_hour: 2.0}}
audit: {{replicates: 200}}
{extra}
"""
        )
        return read_nightly_config(str(path))

    return Nights(folder=folder, model=model, write_config=write_config)


def champion_of(model: str) -> str | None:
    """Return the URI of what is in use."""
    found = find_alias(model, "champion")
    return None if found is None else found.uri
