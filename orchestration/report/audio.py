"""The segments with the largest residuals as short clips that the page itself holds.

A number says how far a model is off; why, somebody has to hear. The clips come from the recordings
that the audited metadata name, and are left out of a report unless they are asked for: voices are
personal data.
"""

from __future__ import annotations

import base64
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import markupsafe
import pyarrow as pa
import pyarrow.compute as pc

from orchestration.found_runs import file_sha256
from orchestration.report import wording
from orchestration.report.audit_folder import EXTREMES_FILE, AuditFolder
from orchestration.report.extremes import (
    MAX_GROUPS_NAMED,
    AudioPanel,
    Extreme,
    HeardSegment,
    choose_extremes,
)
from orchestration.report.opus import encode_opus
from orchestration.report.provenance import model_names
from ser_model import storage
from ser_model.audio import SAMPLING_RATE_HZ, read_segments
from ser_model.manifest import read_manifest, segments
from ser_model.schema import RunError, Segment, SegmentError

MAX_CLIP_S = 10.0
"""Emotion shows within seconds, and 2 MB hold some 70 clips of this length."""

_PANEL_BYTES = 8_000
"""The texts around the tables, and their heads."""

_ROW_BYTES = 900
"""A row without its names and its audio."""

_READ_AHEAD = 32
"""Segments that are read together, so that a recording is opened once for its neighbours."""

Sound = str | SegmentError
"""A data URI, or why there is none."""

logger = logging.getLogger(__name__)


def audio_panel(
    folder: AuditFolder, audit: Mapping[str, object], *, num: int, max_bytes: int
) -> AudioPanel:
    """Read and encode the segments with the largest residuals, as many as there is room for.

    Args:
        folder: the audit as it is shown, under pseudonyms or not.
        audit: audit.json as it is, for the place of the metadata.
        num: segments of each slice and dimension, 1 to MAX_PER_GROUP.
        max_bytes: what the page may grow by.

    Raises:
        RunError: the audit keeps no such segments, or its metadata changed since.
        ManifestError: the metadata name no recordings.
        UnfinishedError: the recordings' store does not answer.
    """
    if not storage.exists(storage.join(folder.uri, EXTREMES_FILE)):
        raise RunError(f"{folder.uri} holds no {EXTREMES_FILE}; run `serval audit` again")
    chosen = choose_extremes(folder.extremes, model_names(folder), num)
    wanted = {extreme.segment_id for extreme in chosen}
    places = {s.segment_id: s for s in segments(_audited_manifest(audit, wanted))}
    sounds = _sounds([places[e.segment_id] for e in chosen])
    rows = [*_rows_within(chosen, sounds, max_bytes, are_named=not folder.is_pseudonymised)]
    logger.info("report: %d of %d segments can be heard", len(rows), len(chosen))
    return AudioPanel(
        models=_by_model(rows),
        num_chosen=len(chosen),
        num_rows=len(rows),
        num_without=sum(row.reason is not None for row in rows),
        num_left_out=len(chosen) - len(rows),
    )


def _audited_manifest(audit: Mapping[str, object], segment_ids: Iterable[str]) -> pa.Table:
    """The rows of these segments in the metadata, which must be those that were audited."""
    about = audit.get("metadata")
    if not isinstance(about, Mapping) or not {"uri", "sha256"} <= about.keys():
        raise RunError("audit.json does not say which metadata were audited; audit again")
    uri = str(about["uri"])
    if file_sha256(uri) != about["sha256"]:
        raise RunError(
            f"{uri} has changed since it was audited, so its recordings may be others; run "
            "`serval audit` again, or leave out --with-audio"
        )
    manifest = read_manifest(uri, truth_range=None)
    return manifest.filter(pc.is_in(manifest["segment_id"], pa.array([*segment_ids], pa.string())))


def _sounds(wanted: Sequence[Segment]) -> Iterator[tuple[str, Sound]]:
    """Yield each segment once, in this order, encoded only as they are asked for."""
    distinct = [*{segment.segment_id: segment for segment in wanted}.values()]
    for start in range(0, len(distinct), _READ_AHEAD):
        batch = distinct[start : start + _READ_AHEAD]
        read: dict[str, Sound] = {}
        by_recording = sorted(batch, key=lambda s: s.recording)
        for recording, of_one in itertools.groupby(by_recording, lambda s: s.recording):
            for segment, result in read_segments(recording, [*map(_first_seconds, of_one)]):
                read[segment.segment_id] = (
                    result
                    if isinstance(result, SegmentError)
                    else _data_uri(encode_opus(result[: int(MAX_CLIP_S * SAMPLING_RATE_HZ)]))
                )
        for segment in batch:
            yield segment.segment_id, read[segment.segment_id]


def _first_seconds(segment: Segment) -> Segment:
    if segment.end_s is None:
        return segment
    return replace(segment, end_s=min(segment.end_s, segment.start_s + MAX_CLIP_S))


def _data_uri(clip: bytes) -> str:
    return f"data:audio/ogg;base64,{base64.b64encode(clip).decode()}"


def _rows_within(
    chosen: Sequence[Extreme],
    sounds: Iterator[tuple[str, Sound]],
    max_bytes: int,
    *,
    are_named: bool,
) -> Iterator[HeardSegment]:
    """Yield the first rows that there is room for; a clip that was heard before takes none."""
    room = max_bytes - _PANEL_BYTES
    known: dict[str, Sound] = {}
    heard_at: dict[str, HeardSegment] = {}
    for number, extreme in enumerate(chosen, start=1):
        if extreme.segment_id not in known:
            segment_id, sound = next(sounds)
            known[segment_id] = sound
        sound = known[extreme.segment_id]
        row = HeardSegment(
            number=number,
            name=wording.name(extreme.segment_id) if are_named else None,
            extreme=extreme,
            groups=tuple(map(wording.name, extreme.groups[:MAX_GROUPS_NAMED])),
        )
        if isinstance(sound, SegmentError):
            row = replace(row, reason=sound.reason.value.replace("_", " "))
        elif extreme.segment_id in heard_at:
            row = replace(row, heard_at=heard_at[extreme.segment_id])
        else:
            row = replace(row, audio=sound)
            heard_at[extreme.segment_id] = row
        room -= _num_bytes(row)
        if room < 0:
            return
        yield row


def _num_bytes(row: HeardSegment) -> int:
    names = [row.name or "", wording.name(row.extreme.speaker_id), *row.groups]
    escaped = sum(len(markupsafe.escape(name).encode()) for name in names)
    return _ROW_BYTES + escaped + len(row.audio or "")


def _by_model(
    rows: Sequence[HeardSegment],
) -> tuple[tuple[str, tuple[tuple[str, tuple[HeardSegment, ...]], ...]], ...]:
    found: dict[str, dict[str, list[HeardSegment]]] = {}
    for row in rows:
        of_model = found.setdefault(row.extreme.model, {})
        of_model.setdefault(row.extreme.target, []).append(row)
    return tuple(
        (
            model,
            tuple(
                (target, tuple(sorted(of_model[target], key=_furthest_first)))
                for target in wording.TARGETS
                if target in of_model
            ),
        )
        for model, of_model in sorted(found.items())
    )


def _furthest_first(row: HeardSegment) -> tuple[float, str]:
    return -abs(row.extreme.residual), row.extreme.segment_id
