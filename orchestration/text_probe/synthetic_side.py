"""The other side of a probe: what was said, spoken neutrally and scored by the same model."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestration.found_runs import find_run
from orchestration.scoring import score
from orchestration.text_probe.segments import is_spoken, read_rejections, read_scores
from orchestration.text_probe.synthesis import (
    NeutralVoice,
    Unspoken,
    speak_all,
    spoken_text,
    why_unspoken,
)
from ser_model import storage
from ser_model.manifest import write_manifest
from ser_model.schema import DIMENSIONS, ManifestError

SPEECH_FOLDER = "speech"
MANIFEST = "manifest.parquet"
RUN_FOLDER = "run"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringOptions:
    """How the synthetic speech is scored, as `score` takes it."""

    model_uri: str
    dtype: str = "auto"
    devices: str = "auto"
    num_workers: int | str | None = None
    local: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSide:
    """What came of it.

    Attributes:
        columns: `synthetic_*` of schema.PROBE_SEGMENTS, in the order of the segments.
        facts: what probe.json says of it.
    """

    columns: Mapping[str, pa.Array | pa.ChunkedArray]
    facts: Mapping[str, Any]


def synthetic_side(
    segments: pa.Table, output: str, *, voice: NeutralVoice, scoring: ScoringOptions
) -> SyntheticSide:
    """Speak the transcripts, make a manifest of them, and score it as any other.

    Args:
        segments: as from `original_side`.
        output: folder of the probe; what is there of an interrupted one is used.
        voice: who speaks.
        scoring: with what they are scored.

    Raises:
        ManifestError: there is no transcript that can be spoken.
        RunError: the folder holds the synthetic speech of another probe.
        UnfinishedError: scoring was stopped; the same call resumes.
    """
    files, missing = _speak(segments, storage.join(output, SPEECH_FOLDER), voice)
    reasons = pa.array(missing, pa.string())
    spoken = segments.filter(reasons.is_null())
    manifest = {
        "segment_id": spoken["segment_id"],
        "recording": [f"{SPEECH_FOLDER}/{file}" for file in files if file is not None],
        "speaker_id": spoken["speaker_id"],
        "transcript": spoken["transcript"],
        **{dimension: spoken[f"truth_{dimension}"] for dimension in DIMENSIONS},
    }
    manifest_uri = storage.join(output, MANIFEST)
    write_manifest(manifest_uri, pa.table(manifest))
    summary = score(
        manifest_uri,
        model_uri=scoring.model_uri,
        output=storage.join(output, RUN_FOLDER),
        devices=scoring.devices,
        num_workers=scoring.num_workers,
        dtype=scoring.dtype,
        local=scoring.local,
        max_rejected=1.0,  # what is rejected is counted here, like what could not be spoken
    )
    found = find_run(summary.run)
    scores, rejected = read_scores(found), read_rejections(found)
    ids = segments["segment_id"]
    scored_at = pc.index_in(ids, scores["segment_id"])
    rejections = rejected["reason"].take(pc.index_in(ids, rejected["segment_id"]))
    return SyntheticSide(
        columns={
            **{f"synthetic_{d}": scores[d].take(scored_at) for d in DIMENSIONS},
            "synthetic_missing": pc.coalesce(reasons, rejections),
        },
        facts={
            "num_texts": len({file for file in files if file is not None}),
            "num_predictions": summary.num_predictions,
            "audio_s": summary.audio_s,
            "content_sha256": summary.content_sha256,
        },
    )


def _speak(
    segments: pa.Table, folder: str, voice: NeutralVoice
) -> tuple[list[str | None], list[str | None]]:
    """Return for each segment the name of its file, and why there is none."""
    missing: list[str | None] = [
        why_unspoken(transcript, voice) if is_wanted else why_not
        for transcript, is_wanted, why_not in zip(
            segments["transcript"].to_pylist(),
            is_spoken(segments).to_pylist(),
            segments["original_missing"].to_pylist(),
            strict=True,
        )
    ]
    texts = [
        spoken_text(transcript) if why is None else None
        for transcript, why in zip(segments["transcript"].to_pylist(), missing, strict=True)
    ]
    files_of = speak_all(list(dict.fromkeys(filter(None, texts))), folder, voice)
    files = [None if text is None else files_of[text] for text in texts]
    missing = [
        Unspoken.NO_SPEECH if file is None and why is None else why
        for file, why in zip(files, missing, strict=True)
    ]
    if not any(files):
        raise ManifestError(f"no segment has a transcript that can be spoken: {_counted(missing)}")
    return files, missing


def _counted(reasons: Sequence[str | None]) -> str:
    counts = Counter(reason for reason in reasons if reason is not None)
    return ", ".join(f"{number} {reason}" for reason, number in counts.most_common())
