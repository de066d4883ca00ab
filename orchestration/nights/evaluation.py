"""One corpus in one night: score and audit both models, gate the candidate, report, look for drift.

Runs and audits do not belong to a night. Their folders are named by a hash of all that they depend
on, so that a champion which was scored on this corpus yesterday is not scored again today.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

from orchestration.auditing import audit_runs, parse_slice
from orchestration.augmentation import resolve_augmentation
from orchestration.found_runs import file_sha256, find_run
from orchestration.gate import decide
from orchestration.gate_decision import DECISION_FILE
from orchestration.hardware import choose_hardware
from orchestration.model_uris import resolve_model
from orchestration.nights.config import CorpusConfig, NightlyConfig
from orchestration.nights.drift import compare
from orchestration.nights.headlines import headlines
from orchestration.nights.observation import Observation, read_observation, write_observation
from orchestration.nights.observing import observe
from orchestration.nights.plan import NightPlan
from orchestration.nights.record import CorpusNight, DriftFinding, Scored, night_folder
from orchestration.report.gate_wording import reasons_of
from orchestration.report.pseudonyms import read_key
from orchestration.report.render import render_report
from orchestration.scoring import score
from orchestration.scoring_workers import identify
from orchestration.shards import plan_shards
from pipelines.audit_config import AuditSummary, Minimums
from ser_model import storage
from ser_model.manifest import metadata_columns, parse_truth_range
from ser_model.schema import ConfigError

Role = Literal["candidate", "champion"]
ROLES: tuple[Role, ...] = ("candidate", "champion")
REPORT_FILE = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Evaluates the models of a night on one corpus.

    Attributes:
        config: of all nights.
        corpus: one of its corpora.
        plan: of this night.
        enter: is told the name of each stage before it begins.
        links: name -> address, for the report.
    """

    config: NightlyConfig
    corpus: CorpusConfig
    plan: NightPlan
    enter: Callable[[str], None]
    links: Mapping[str, str]

    @property
    def folder(self) -> str:
        """Where this night keeps what it finds on this corpus."""
        return storage.join(night_folder(self.config.output, self.plan.name), self.corpus.name)

    @property
    def metadata(self) -> str:
        """Where the truth is."""
        return self.corpus.metadata or self.corpus.source

    def check(self) -> None:
        """Look whether the metadata are what the options need: before hours of scoring, not after.

        Raises:
            ManifestError: they cannot be read.
            ConfigError: a column to slice by does not exist, or the key of pseudonyms is no key.
        """
        if self.config.pseudonymise is not None:
            read_key(self.config.pseudonymise)
        columns = metadata_columns(self.metadata)
        for text in (*(self.corpus.slices or ()), *self.corpus.strata):
            for column in parse_slice(text):
                if column not in columns:
                    raise ConfigError(
                        f"corpus {self.corpus.name}: cannot slice by {column!r}: {self.metadata} "
                        f"has the columns {', '.join(columns)}"
                    )

    def run(self) -> CorpusNight:
        """Do all of it; what is there already is not made again.

        Raises:
            InputError: corpus, models or options cannot be used, or audits cannot be compared.
            TooManyRejectedError: a model rejects more segments than the configuration allows.
            UnfinishedError: it was stopped; the same night resumes it.
        """
        uris = {"candidate": self.plan.candidate, "champion": self.plan.champion}
        scored: dict[Role, Scored] = {}
        for role in ROLES:
            uri = uris[role]
            if uri is not None:
                scored[role] = self._score(role, uri)
        for role, one in scored.items():
            self.enter(f"{self.corpus.name}: audit {role}")
            audit = self._audit(one)
            rows = headlines(audit.statistics, cross_corpus=self.corpus.cross_corpus)
            scored[role] = dataclasses.replace(one, audit=audit.output, headlines=rows)
        gated: dict[str, Any] = {}
        if len(scored) == len(ROLES):
            gated = self._gate(scored["candidate"], scored["champion"])
        first = next(iter(scored.values()))
        self.enter(f"{self.corpus.name}: report")
        report = storage.join(self.folder, REPORT_FILE)
        render_report(
            first.audit,
            report,
            key_uri=self.config.pseudonymise,
            decision_uri=gated.get("gate"),
            links=self.links,
        )
        self.enter(f"{self.corpus.name}: drift")
        return CorpusNight(
            name=self.corpus.name,
            models=tuple(scored.values()),
            report=report,
            drift=self._drift(scored),
            **gated,
        )

    def _score(self, role: Role, uri: str) -> Scored:
        """Score what is not committed yet."""
        self.enter(f"{self.corpus.name}: score {role}")
        scoring, corpus = self.config.scoring, self.corpus
        output = self.run_folder(uri)
        summary = score(
            corpus.source,
            model_uri=uri,
            output=output,
            devices=scoring.devices,
            num_workers=scoring.num_workers,
            dtype=scoring.dtype,
            local=scoring.local,
            max_rejected=scoring.max_rejected,
            split=corpus.split,
            conditions=corpus.conditions,
            noise_uri=corpus.noise,
            seed=self.config.audit.seed,
        )
        identity = find_run(output).about["identity"]
        device_s = summary.scoring_s * summary.num_workers
        price = scoring.price_per_hour
        return Scored(
            role=role,
            model_uri=identity["model_uri"],
            model_version=identity["model_version"],
            weights_sha256=identity["weights_sha256"],
            run=output,
            audit="",
            num_segments=summary.num_segments,
            num_rejections=summary.num_rejections,
            audio_s=summary.audio_s,
            scored_now_s=summary.audio_scored_now_s,
            device_s=device_s,
            cost=None if price is None else device_s / 3600 * price,
        )

    def run_folder(self, uri: str) -> str:
        """Return where the run of a model on this corpus is, or would be."""
        scoring, corpus = self.config.scoring, self.corpus
        model = resolve_model(uri)
        hardware = choose_hardware(
            scoring.devices, scoring.num_workers, scoring.dtype, local=scoring.local
        )
        plan = plan_shards(corpus.source, split=corpus.split, transcripts=model.uses_text)
        augmentation = resolve_augmentation(
            corpus.conditions, noise_uri=corpus.noise, seed=self.config.audit.seed
        )
        identity = dataclasses.asdict(identify(model, plan, hardware))
        return self._shared_folder(
            "runs", model.version, identity, augmentation.seed, augmentation.noise_sha256
        )

    def _audit(self, scored: Scored) -> AuditSummary:
        corpus, auditing = self.corpus, self.config.audit
        options: dict[str, Any] = {
            "slices": None if corpus.slices is None else [parse_slice(s) for s in corpus.slices],
            "strata": [parse_slice(text) for text in corpus.strata],
            "truth_range": parse_truth_range(corpus.truth_range),
            "prediction_range": parse_truth_range(corpus.prediction_range),
            "cross_corpus": corpus.cross_corpus,
            "seed": auditing.seed,
            "num_replicates": auditing.replicates,
        }
        minimums = Minimums(segments=auditing.min_segments, speakers=auditing.min_speakers)
        output = self._shared_folder(
            "audits",
            scored.model_version,
            options,
            dataclasses.asdict(minimums),
            find_run(scored.run).sha256,
            file_sha256(self.metadata),
            version("serval"),
        )
        return audit_runs([scored.run], self.metadata, output, minimums=minimums, **options)

    def _shared_folder(self, kind: str, model_version: str, *inputs: object) -> str:
        """Name a folder by what it depends on; the model's version stands in front, for people."""
        text = json.dumps([self.corpus.name, model_version, *inputs], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        name = f"{model_version.replace('/', '-')}-{digest}"
        return storage.join(self.config.output, kind, self.corpus.name, name)

    def _gate(self, candidate: Scored, champion: Scored) -> dict[str, Any]:
        self.enter(f"{self.corpus.name}: gate")
        decision = decide(candidate.audit, champion.audit, self.config.gate_of(self.corpus))
        uri = storage.join(self.folder, DECISION_FILE)
        storage.write_json(uri, decision.to_json())
        return {
            "gate": uri,
            "gate_outcome": decision.outcome,
            "is_accepted": decision.is_accepted,
            "reasons": reasons_of(decision),
        }

    def _drift(self, scored: Mapping[Role, Scored]) -> tuple[DriftFinding, ...]:
        """Compare what is in use with the nights before; keep what later nights compare with."""
        observed: dict[Role, Observation] = {}
        for role, one in scored.items():
            observed[role] = observe(one.run, self.metadata)
            write_observation(storage.join(self.folder, role), observed[role])
        in_use = observed.get("champion") or observed["candidate"]
        before = [
            found
            for night in self.plan.before
            for role in ROLES
            if (found := self._observation(night, role)) is not None
        ]
        return compare(in_use, before, self.config.drift)

    def _observation(self, night: str, role: Role) -> Observation | None:
        folder = storage.join(night_folder(self.config.output, night), self.corpus.name, role)
        return read_observation(folder)
