"""The linguistic probe: score what was said again, spoken neutrally, and compare.

Wagner et al., "Dawn of the Transformer Era in Speech Emotion Recognition", TPAMI 2023, section
IV-C: a model that predicts valence about as well on neutral synthetic speech as on the original
uses the words; of one that hears only how they are said, the CCC drops to almost zero there.

The folder holds `speech/` (FLAC), `manifest.parquet`, `run/` (what `serval score` writes),
`segments.parquet`, `probe.parquet` and `probe.json`, written last: where it is, the probe is done.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.finished import find_finished
from orchestration.found_runs import FoundRun, file_sha256, find_run
from orchestration.model_uris import ResolvedModel, resolve_model
from orchestration.text_probe.notes import notes_of
from orchestration.text_probe.segments import original_side
from orchestration.text_probe.sentiment import Sentiment, find_sentiment
from orchestration.text_probe.statistics import SIDES, probe_statistics
from orchestration.text_probe.synthesis import NeutralVoice
from orchestration.text_probe.synthetic_side import ScoringOptions, synthetic_side
from orchestration.text_probe.wording import meaning
from ser_model import storage
from ser_model.manifest import read_metadata
from ser_model.manifest_checks import TruthRange
from ser_model.schema import (
    PROBE_SEGMENTS,
    SCHEMA_VERSION,
    ConfigError,
    ManifestError,
    RunError,
    UnfinishedError,
)

PROBE_FILE = "probe.json"

logger = logging.getLogger(__name__)

SHOWN_COLUMNS = (
    "condition",
    "target",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "num_segments",
    "num_speakers",
    "reason",
)
"""Columns of probe.parquet that probe.json shows."""

Probe = Mapping[str, Any]
"""The content of probe.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeConfig:
    """What is asked of a probe.

    Attributes:
        voice: who speaks the transcripts.
        sentiment: as `find_sentiment` takes it.
        truth_range: scale of the truth.
        seed: of the bootstrap.
        num_replicates: of the bootstrap.
    """

    voice: NeutralVoice
    sentiment: str | None = None
    truth_range: TruthRange = (0.0, 1.0)
    seed: int = 0
    num_replicates: int = 1000

    def __post_init__(self) -> None:
        """Refuse what no bootstrap takes."""
        if self.num_replicates < 1:
            raise ConfigError(f"--replicates {self.num_replicates} is less than 1")


def probe_text(
    run_uri: str,
    metadata_uri: str,
    output: str,
    *,
    config: ProbeConfig,
    model_uri: str | None = None,
    devices: str = "auto",
    num_workers: int | str | None = None,
    local: bool = False,
) -> Probe:
    """Probe a model; resumes what was cut short, and does nothing for a probe that is done.

    Args:
        run_uri: run of the model on original speech, or its predictions from elsewhere.
        metadata_uri: manifest or table with `segment_id`, `transcript` and the truth.
        output: folder to write, local or any URI.
        config: what is asked.
        model_uri: the model; None for the run's own.
        devices: as in `score`.
        num_workers: as in `score`.
        local: as in `score`.

    Raises:
        RunError: the run cannot be used, is another model's, or the folder holds another probe.
        ManifestError: the metadata cannot be used, or hold no transcripts.
        ConfigError: an extra is not installed, or an option cannot be used.
        ModelError: there is no such model.
        UnfinishedError: the same call resumes.
    """
    try:
        found = find_run(run_uri)
        metadata = read_metadata(metadata_uri, truth_range=config.truth_range)
        if "transcript" not in metadata.column_names:
            raise ManifestError(
                f"{metadata_uri} has no column 'transcript' (it has "
                f"{', '.join(metadata.column_names)}): the words that were said must stand there"
            )
        sentiment = find_sentiment(config.sentiment, metadata, metadata_uri)
        model = _same_model(found, model_uri)
        about = _about(found, metadata_uri, model, config, sentiment)
        done = find_finished(
            storage.join(output, PROBE_FILE),
            about["inputs_sha256"],
            of_others="a probe of other predictions, metadata or options",
        )
        if done is not None:
            logger.info("probe: %s is complete already", output)
            return done
        segments = original_side(found, metadata)
        identity = found.about.get("identity", {})
        synthetic = synthetic_side(
            segments,
            output,
            voice=config.voice,
            scoring=ScoringOptions(
                model_uri=model.uri,
                dtype=identity.get("dtype", "auto"),
                devices=devices,
                num_workers=num_workers,
                local=local,
            ),
        )
        notes = notes_of(segments, config.voice, sentiment)
        segments = _complete(segments, synthetic.columns, sentiment)
        return _write(output, segments, {**about, "synthetic": synthetic.facts}, notes, config)
    except OSError as error:
        raise UnfinishedError(f"{error}: run the same command again to resume") from error


def _same_model(found: FoundRun, model_uri: str | None) -> ResolvedModel:
    if model_uri is None:
        if found.model is None:
            raise ConfigError(
                f"{found.uri} does not say how to load the model that made it: name it with --model"
            )
        model_uri = found.model[0]
    model = resolve_model(model_uri)
    if found.model is not None and found.model[1] != model.weights_sha256:
        raise RunError(
            f"{found.uri} was made by {found.model[0]} with weights {found.model[1][:12]}, but "
            f"{model_uri} has {model.weights_sha256[:12]}: a probe compares one model with itself"
        )
    return model


def _about(
    found: FoundRun,
    metadata_uri: str,
    model: ResolvedModel,
    config: ProbeConfig,
    sentiment: Sentiment | None,
) -> dict[str, Any]:
    """Return what probe.json says of its inputs, and their hash."""
    try:
        metadata_sha256 = file_sha256(metadata_uri)
    except RunError as error:
        raise ManifestError(str(error)) from error
    decisive: dict[str, Any] = {
        "model": {"version": model.version, "weights_sha256": model.weights_sha256},
        "run": {"sha256": found.sha256},
        "metadata": {"sha256": metadata_sha256},
        "voice": config.voice.facts(),
        "sentiment": sentiment and {"name": sentiment.name, **sentiment.facts},
        "truth_range": list(config.truth_range),
        "seed": config.seed,
        "num_replicates": config.num_replicates,
        "code_version": version("serval"),
    }
    uris = {"model": model.uri, "run": found.uri, "metadata": metadata_uri}
    return {
        **decisive,
        **{name: {**decisive[name], "uri": uri} for name, uri in uris.items()},
        "schema_version": SCHEMA_VERSION,
        "inputs_sha256": hashlib.sha256(storage.to_json_bytes(decisive)).hexdigest(),
    }


def _complete(
    segments: pa.Table,
    synthetic: Mapping[str, pa.Array | pa.ChunkedArray],
    sentiment: Sentiment | None,
) -> pa.Table:
    """Return the rows of schema.PROBE_SEGMENTS."""
    columns = {
        **{name: segments[name] for name in segments.column_names},
        **synthetic,
        "sentiment": pa.nulls(len(segments), pa.float64())
        if sentiment is None
        else sentiment.of(segments),
    }
    return pa.table({field.name: columns[field.name] for field in PROBE_SEGMENTS}).cast(
        PROBE_SEGMENTS
    )


def _write(
    output: str,
    segments: pa.Table,
    about: Mapping[str, Any],
    notes: list[str],
    config: ProbeConfig,
) -> Probe:
    statistics = probe_statistics(
        segments,
        model_version=about["model"]["version"],
        seed=config.seed,
        num_replicates=config.num_replicates,
    )
    rows = statistics.to_pylist()
    probe = {
        **about,
        "counts": {
            "segments": len(segments),
            **{side: _count(segments[f"{side}_missing"]) for side in SIDES.values()},
            "both": _count_both(segments),
        },
        "notes": notes,
        "statistics": [{name: row[name] for name in SHOWN_COLUMNS} for row in rows],
        "meaning": meaning(rows),
    }
    storage.write_table(storage.join(output, "segments.parquet"), segments)
    storage.write_table(storage.join(output, "probe.parquet"), statistics)
    storage.write_json(storage.join(output, PROBE_FILE), probe)
    return probe


def _count(missing: pa.ChunkedArray) -> dict[str, Any]:
    """Count the segments of a side; scored and missing ones add up to all."""
    reasons = Counter(reason for reason in missing.to_pylist() if reason is not None)
    return {"scored": missing.null_count, "missing": dict(reasons.most_common())}


def _count_both(segments: pa.Table) -> int:
    both = pc.and_(*(segments[f"{side}_missing"].is_null() for side in SIDES.values()))
    return int(pc.sum(both, min_count=0).as_py())
