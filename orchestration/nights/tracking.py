"""A night in MLflow: its run, and the links between run, model versions and reports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from orchestration import mlflow_store
from orchestration.nights.plan import NightPlan
from orchestration.nights.record import CorpusNight, Headline, Night, Scored, night_folder
from orchestration.registry import NIGHT_TAG, REGISTERED_URI, tag_version
from ser_model import storage

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUN_FILE = "mlflow.json"
"""File in a night's folder that names its run, so that a resumed night goes on with it."""

STATISTICS = "statistics.parquet"


class NightLog:
    """The MLflow run of a night.

    Attributes:
        run_id: of the run.
    """

    def __init__(self, output: str, plan: NightPlan) -> None:
        """Begin a run, or go on with the one that the night's folder names."""
        self._client: MlflowClient = mlflow_store.open_client()
        self._folder = night_folder(output, plan.name)
        uri = storage.join(self._folder, RUN_FILE)
        known = storage.read_json(uri)["run_id"] if storage.exists(uri) else None
        if known is not None and mlflow_store.resume_run(self._client, known):
            self.run_id: str = known
        else:
            self.run_id = mlflow_store.begin_run(
                self._client,
                name=f"nightly {plan.name}",
                params={"candidate": plan.candidate, "champion": plan.champion},
                tags={NIGHT_TAG: plan.name, "serval.output": self._folder},
            )
            storage.write_json(uri, {"run_id": self.run_id})

    def links(self, plan: NightPlan) -> dict[str, str]:
        """Return what a report links to: this run, and the pages of both versions.

        Addresses where a server shows them; else what to ask the store for.
        """
        links = {"MLflow run": mlflow_store.run_address(self._client, self.run_id)}
        for role, uri in (("Candidate", plan.candidate), ("Champion", plan.champion)):
            if uri is not None:
                links[role] = mlflow_store.version_address(uri)
        return links

    def finish(self, night: Night) -> None:
        """Store numbers and files with the run, point the versions to it, and end it."""
        mlflow_store.log_metrics(self._client, self.run_id, dict(_metrics(night)), step=0)
        files = {"night.json": storage.to_json_bytes(night.to_json())}
        for corpus in night.corpora:
            files |= _files(corpus)
        mlflow_store.log_files(self._client, self.run_id, files)
        for role, uri in (("candidate", night.candidate), ("champion", night.champion)):
            match = None if uri is None else REGISTERED_URI.fullmatch(uri)
            if match is not None:
                tag_version(match["name"], match["version"], NIGHT_TAG, self._about(night, role))
        tags = {"serval.outcome": night.outcome, "serval.promoted": str(night.is_promoted).lower()}
        for tag, value in tags.items():
            self._client.set_tag(self.run_id, tag, value)
        mlflow_store.end_run(self._client, self.run_id)

    def fail(self) -> None:
        """End the run as failed; the night that resumes goes on with it."""
        mlflow_store.end_run(self._client, self.run_id, failed=True)

    def _about(self, night: Night, role: str) -> str:
        reports = {corpus.name: corpus.report for corpus in night.corpora}
        about = {"night": night.name, "role": role, "run_id": self.run_id, "reports": reports}
        return json.dumps({**about, "outcome": night.outcome}, sort_keys=True)


def _files(corpus: CorpusNight) -> dict[str, bytes]:
    """Return what is kept of a corpus, by the file's path inside the run."""
    files = {f"{corpus.name}/{one.role}/{STATISTICS}": one.audit for one in corpus.models}
    found = {
        name: storage.read_bytes(storage.join(audit, STATISTICS)) for name, audit in files.items()
    }
    for uri in (corpus.report, corpus.gate):
        if uri is not None:
            found[f"{corpus.name}/{storage.name(uri)}"] = storage.read_bytes(uri)
    return found


def _metrics(night: Night) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a night, by names that MLflow takes."""
    yield "exit_code", night.exit_code
    for corpus in night.corpora:
        yield f"{corpus.name}/drift_alarms", len(corpus.alarms)
        for one in corpus.models:
            for name, value in _model_metrics(one).items():
                yield _allowed(f"{corpus.name}/{one.role}/{name}"), value


def _model_metrics(scored: Scored) -> Mapping[str, float]:
    values = {
        "rejected_share": scored.num_rejections / scored.num_segments,
        "audio_h": scored.audio_s / 3600,
        "device_h": scored.device_s / 3600,
    }
    if scored.cost is not None:
        values["cost"] = scored.cost
    if scored.scored_now_s:
        values["times_real_time"] = scored.scored_now_s / scored.device_s
    for row in scored.headlines:
        if row.value is not None:
            values[_row_name(row)] = row.value
    return values


def _row_name(row: Headline) -> str:
    return "/".join(part for part in (row.metric, row.target, row.slice) if part)


def _allowed(name: str) -> str:
    """MLflow takes letters, digits and _ - . : / and blanks, 250 of them at most."""
    return re.sub(r"[^\w\-./ :]", "_", name, flags=re.ASCII)[:250]
