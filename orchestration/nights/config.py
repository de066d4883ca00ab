"""What `serval nightly` is told: one YAML file; `example.yaml` beside this file is one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Literal

from orchestration.auditing import parse_slice
from orchestration.config_file import read_config_file
from orchestration.gate_config import GateConfig
from orchestration.nights.drift_config import DriftConfig
from orchestration.nights.notify_config import NotifyConfig
from ser_model import storage
from ser_model.manifest import parse_truth_range
from ser_model.schema import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Of corpora, models and nights: they become folders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """A corpus that is scored every night.

    Attributes:
        name: of its folders; letters, digits and . _ - alone.
        source: what `serval score` takes: a manifest, shards, Parquet with audio, a tar file.
        metadata: who spoke, and the truth; None where the source is a manifest that says so.
        split: of a manifest; None for all.
        truth_range: scale of the truth, LOW:HIGH.
        prediction_range: scale of the predictions, LOW:HIGH.
        cross_corpus: whether the truth is of another corpus than the models were trained on.
        slices: columns to compare groups by, "sex,accent" for crossed ones; None for sex and
            accent where they exist.
        strata: columns to break down by without comparing.
        conditions: to score under beside clean.
        noise: folder of the conditions that need one.
        gate: what is asked on this corpus; None for the night's.
    """

    name: str
    source: str
    metadata: str | None = None
    split: Literal["train", "dev", "test"] | None = None
    truth_range: str = "0:1"
    prediction_range: str = "0:1"
    cross_corpus: bool = False
    slices: tuple[str, ...] | None = None
    strata: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    noise: str | None = None
    gate: GateConfig | None = None

    def __post_init__(self) -> None:
        """Refuse what no command would take, before the night begins."""
        if not NAME.fullmatch(self.name):
            raise ValueError(f"name is {self.name!r}; allowed are 64 letters, digits and . _ -")
        try:
            for text in (self.truth_range, self.prediction_range):
                parse_truth_range(text)
            for text in (*(self.slices or ()), *self.strata):
                parse_slice(text)
        except ConfigError as error:
            raise ValueError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringConfig:
    """How corpora are scored: the options of `serval score`.

    Attributes:
        devices: auto, cpu or cuda.
        workers: Ray actors; None for one a core or GPU.
        max_workers: up to which a Ray cluster may grow; None for `workers` alone.
        dtype: auto, float32 or bfloat16.
        local: in this process, without Ray.
        max_rejected: the part of the segments that may be rejected, 0 to 1.
        price_per_hour: of one device, in your currency; None where no cost is wanted.
    """

    devices: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int | None = None
    max_workers: int | None = None
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    local: bool = False
    max_rejected: float = 0.05
    price_per_hour: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        if not 0 <= self.max_rejected <= 1:
            raise ValueError(f"max_rejected is {self.max_rejected}; allowed are 0 to 1")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers is {self.workers}; allowed are 1 and more")
        if self.max_workers is not None and not 1 <= (self.workers or 0) <= self.max_workers:
            raise ValueError(
                f"max_workers is {self.max_workers}; allowed are workers, which it needs, and more"
            )
        if self.price_per_hour is not None and not self.price_per_hour >= 0:
            raise ValueError(f"price_per_hour is {self.price_per_hour}; allowed are 0 and more")

    @property
    def num_workers(self) -> int | str | None:
        """As `orchestration.scoring.score` takes it."""
        return self.workers if self.max_workers is None else f"{self.workers}:{self.max_workers}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditingConfig:
    """How runs are audited: the options of `serval audit` that are the same for all corpora.

    Attributes:
        replicates: of the bootstrap.
        seed: of the bootstrap.
        min_segments: groups with fewer are not shown.
        min_speakers: likewise.
    """

    replicates: int = 1000
    seed: int = 0
    min_segments: int = 20
    min_speakers: int = 3

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        for name in ("replicates", "min_segments", "min_speakers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed are 1 and more")


@dataclass(frozen=True, slots=True, kw_only=True)
class NightlyConfig:
    """All of it.

    Attributes:
        output: folder of all nights.
        model: name of a registered model; its alias champion says what is in use.
        corpora: one or more.
        candidate: an alias or a version of `model`.
        scoring: how corpora are scored.
        audit: how runs are audited.
        gate: what is asked of the candidate; None for the gate's defaults.
        drift: what is compared with the nights before, and what of it is an alarm.
        promote: whether a candidate that passes on all corpora becomes champion.
        pseudonymise: file with a key; reports then show speakers under pseudonyms.
        notify: who is told.
    """

    output: str
    model: str
    corpora: tuple[CorpusConfig, ...]
    candidate: str = "candidate"
    scoring: ScoringConfig = ScoringConfig()
    audit: AuditingConfig = AuditingConfig()
    gate: GateConfig | None = None
    drift: DriftConfig = field(default_factory=DriftConfig)
    promote: bool = True
    pseudonymise: str | None = None
    notify: NotifyConfig = field(default_factory=NotifyConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be a night."""
        if not self.corpora:
            raise ValueError("corpora is empty: nothing would be scored")
        names = [corpus.name for corpus in self.corpora]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"corpora has {twice[0]!r} twice; each needs a name of its own")
        for name in ("model", "candidate"):
            if not NAME.fullmatch(getattr(self, name)):
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; allowed are letters, digits and . _ - "
                    "(no URI: candidate is an alias or a version of model)"
                )

    def gate_of(self, corpus: CorpusConfig) -> GateConfig | None:
        """Return what is asked on a corpus; None for the gate's defaults."""
        return corpus.gate or self.gate


def read_nightly_config(uri: str) -> NightlyConfig:
    """Read a configuration; paths in it are relative to its folder, as in a manifest.

    Raises:
        ConfigError: it cannot be read or is no configuration (see `read_config_file`).
    """
    config = read_config_file(NightlyConfig, uri)
    folder = storage.parent(storage.absolute(uri))

    corpora = tuple(
        replace(
            corpus,
            source=storage.resolve(corpus.source, folder),
            metadata=corpus.metadata and storage.resolve(corpus.metadata, folder),
            noise=corpus.noise and storage.resolve(corpus.noise, folder),
        )
        for corpus in config.corpora
    )
    return replace(
        config,
        output=storage.resolve(config.output, folder),
        pseudonymise=config.pseudonymise and storage.resolve(config.pseudonymise, folder),
        corpora=corpora,
    )


def example() -> str:
    """Return a configuration with comments, which `serval nightly --init` prints."""
    return resources.files("orchestration.nights").joinpath("example.yaml").read_text("utf-8")
