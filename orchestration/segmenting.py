"""Cuts long recordings into segments: windows, speech, or windows over speech.

What becomes of a row of the manifest:

- Windows of `window_s` every `hop_s` cover all of it. The last one is moved back so that it ends
  where the row ends; a row shorter than a window is one segment.
- With voice activity detection, only its stretches of speech are left; without windows, those that
  are longer than LONGEST_SPEECH_S are cut into equal parts.
- A segment's id is its row's, with the segment's time in the recording: "talk.flac#t=8,16".
- Metadata are carried over. What belongs to the row as a whole is not: truth (arousal, dominance,
  valence, emotion), transcript and duration_s. A window has no truth of its own.
- A row that cannot be cut (its recording is unreadable, its times are impossible) stays as it is:
  scoring rejects it, and says why.
"""

from __future__ import annotations

import io
import json
import logging
import math
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.parquet_shards import has_audio_column
from orchestration.recordings import RecordingFacts, Stretch, read_facts
from orchestration.shard_plan import take_rows
from orchestration.table_hash import table_sha256
from ser_model import storage
from ser_model.audio import MIN_SAMPLES, SAMPLING_RATE_HZ
from ser_model.manifest import read_manifest, select_split
from ser_model.manifest_checks import segment_id_of
from ser_model.schema import DIMENSIONS, ConfigError, ManifestError, RunError

logger = logging.getLogger(__name__)

LONGEST_SPEECH_S = 30.0
"""Speech longer than that is cut: the longest segments of the published corpora."""

SHORTEST_SEGMENT_S = MIN_SAMPLES / SAMPLING_RATE_HZ

NOT_CARRIED_OVER = (*DIMENSIONS, "emotion", "transcript", "duration_s")
SEGMENTS = "segments.parquet"
_SETTINGS = b"serval_segmenting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmenting:
    """How recordings are cut.

    Attributes:
        window_s: length of a window in seconds; None for no windows.
        hop_s: from one window's start to the next one's; None for one window after the other.
        vad: keep only speech.
    """

    window_s: float | None = None
    hop_s: float | None = None
    vad: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.window_s is None:
            if self.hop_s is not None:
                raise ConfigError("--hop needs --window: it is the step from window to window")
            if not self.vad:
                raise ConfigError("segments are cut with --window SECONDS, --vad, or both")
            return
        if not SHORTEST_SEGMENT_S <= self.window_s < math.inf:
            raise ConfigError(f"--window {self.window_s:g} is not a length of at least 0.025 s")
        if self.hop_s is not None and not 0.001 <= self.hop_s <= self.window_s:
            raise ConfigError(
                f"--hop {self.hop_s:g} is not between 0.001 and the window's {self.window_s:g} s: "
                "a longer step would pass over audio"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmented:
    """A manifest of cut segments, and what became of the recordings.

    Attributes:
        table: the manifest.
        num_uncut: rows that could not be cut, and stand in the manifest as they were.
        num_silent: rows in which nobody speaks, of which nothing is left.
        source_s: length of all rows that were cut, in seconds.
        kept_s: length of what of it the segments cover.
    """

    table: pa.Table
    num_uncut: int
    num_silent: int
    source_s: float
    kept_s: float

    @property
    def facts(self) -> dict[str, object]:
        """The counts, as they stand in a command's `--json`."""
        return {
            "num_uncut": self.num_uncut,
            "num_silent": self.num_silent,
            "source_hours": round(self.source_s / 3600, 2),
            "kept_hours": round(self.kept_s / 3600, 2),
        }

    @property
    def summary(self) -> str:
        """The counts in one line, for people."""
        text = f"kept {self.kept_s / 3600:.2f} of {self.source_s / 3600:.2f} h"
        if self.num_silent:
            text += f"; {self.num_silent} rows without speech are left out"
        if self.num_uncut:
            text += f"; {self.num_uncut} rows could not be cut: scoring will say why"
        return text


def segment_manifest(
    table: pa.Table,
    *,
    window_s: float | None = None,
    hop_s: float | None = None,
    vad: bool = False,
) -> Segmented:
    """Cut the rows of a manifest into segments; see the top of this file for the rules.

    Args:
        table: as `read_manifest` returns it.
        window_s: as in `Segmenting`; so are the others.
        hop_s: as there.
        vad: as there.

    Raises:
        ConfigError: the settings are impossible, or silero-vad is not installed.
        ManifestError: in no recording anybody speaks.
        UnfinishedError: a store does not answer.
    """
    settings = Segmenting(window_s=window_s, hop_s=hop_s, vad=vad)
    cut = _Cut()
    facts = read_facts(_needs_length(table), vad=vad)
    columns = [table[name].to_pylist() for name in ("segment_id", "recording", "start_s", "end_s")]
    for row, (segment_id, recording, start_s, end_s) in enumerate(zip(*columns, strict=True)):
        span = _span(facts[recording], start_s or 0.0, end_s)
        if span is None:
            cut.add(row, segment_id, start_s, end_s)
            cut.num_uncut += 1
            continue
        pieces = _speech(facts[recording], span)
        cut.num_silent += not pieces
        cut.source_s += span[1] - span[0]
        for start, end in pieces:
            cut.kept_s += end - start
            for first, last in _windows(start, end, settings):
                cut.add(row, segment_id_of(segment_id, first, last), first, last)
    if not cut.rows:
        raise ManifestError("nobody speaks in any of the recordings: nothing is left to score")
    return cut.segmented(table)


def segmented_source(
    source: str, run_uri: str, settings: Segmenting, *, split: str | None = None
) -> str:
    """Cut the recordings of a source once for a run, and return the manifest of the segments.

    The manifest is RUN/segments.parquet, written if absent, with the settings inside: a resumed run
    reads it and looks at no recording again.

    Args:
        source: a manifest of recordings.
        run_uri: folder of the run.
        settings: how to cut.
        split: cut only this split of the manifest.

    Raises:
        ConfigError: the source is none of recordings.
        RunError: the run's segments were cut from another source or in another way.
        InputError: as `segment_manifest`.
    """
    if (
        source.endswith(".tar")
        or storage.exists(storage.join(source, "pack-plan.json"))
        or (source.endswith(".parquet") and has_audio_column(source))
    ):
        raise ConfigError(
            f"{source} holds segments that are cut already; --window, --hop and --vad need a "
            "manifest of recordings"
        )
    table = select_split(read_manifest(source, truth_range=None), split)
    rows = table.select(["segment_id", "recording", "start_s", "end_s"])
    wanted = {**asdict(settings), "split": split, "source_sha256": table_sha256(rows)}
    uri = storage.join(run_uri, SEGMENTS)
    if not storage.exists(uri):
        segmented = segment_manifest(table, **asdict(settings))
        logger.info("cut %s into %d segments: %s", source, len(segmented.table), segmented.summary)
        metadata = {_SETTINGS: json.dumps(wanted, sort_keys=True).encode()}
        buffer = io.BytesIO()
        pq.write_table(
            segmented.table.replace_schema_metadata(metadata), buffer, compression="zstd"
        )
        storage.create_if_absent(uri, buffer.getvalue())
    with storage.open_binary(uri) as file:
        found = json.loads((pq.read_schema(file).metadata or {}).get(_SETTINGS, b"{}"))
    differing = sorted(name for name in wanted if found.get(name) != wanted[name])
    if differing:
        raise RunError(
            f"{uri} was cut otherwise (differs in {', '.join(differing)}); score into another "
            "folder, or with the settings of this one"
        )
    return uri


class _Cut:
    """Gathers the rows of the new manifest."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self._ids: list[str] = []
        self._starts: list[float | None] = []
        self._ends: list[float | None] = []
        self.num_uncut = self.num_silent = 0
        self.source_s = self.kept_s = 0.0

    def add(self, row: int, segment_id: str, start_s: float | None, end_s: float | None) -> None:
        self.rows.append(row)
        self._ids.append(segment_id)
        self._starts.append(start_s)
        self._ends.append(end_s)

    def segmented(self, table: pa.Table) -> Segmented:
        dropped = [name for name in NOT_CARRIED_OVER if name in table.column_names]
        taken = take_rows(table.drop_columns(dropped), np.array(self.rows, np.int64))
        new = {
            "segment_id": pa.array(self._ids, pa.string()),
            "start_s": pa.array(self._starts, pa.float64()),
            "end_s": pa.array(self._ends, pa.float64()),
        }
        for name, values in new.items():
            taken = taken.set_column(taken.column_names.index(name), name, values)
        return Segmented(
            table=taken,
            num_uncut=self.num_uncut,
            num_silent=self.num_silent,
            source_s=self.source_s,
            kept_s=self.kept_s,
        )


def _needs_length(table: pa.Table) -> dict[str, bool]:
    """Return the recordings in order, each with whether a row leaves its end to the recording."""
    needs: dict[str, bool] = {}
    ends = zip(table["recording"].to_pylist(), table["end_s"].to_pylist(), strict=True)
    for recording, end_s in ends:
        needs[recording] = needs.get(recording, False) or end_s is None
    return needs


def _span(facts: RecordingFacts, start_s: float, end_s: float | None) -> Stretch | None:
    """Return where a row starts and ends; None where it cannot be cut."""
    end = facts.duration_s if end_s is None else end_s
    if not facts.is_readable or end is None or not 0 <= start_s < end < math.inf:
        return None
    return start_s, end


def _speech(facts: RecordingFacts, span: Stretch) -> list[Stretch]:
    """Return what of a row is to be kept."""
    if facts.speech is None or facts.duration_s is None:
        return [span]
    last = min(span[1], facts.duration_s)
    inside = [(max(start, span[0]), min(end, last)) for start, end in facts.speech]
    return [(start, end) for start, end in inside if end - start >= SHORTEST_SEGMENT_S]


def _windows(start: float, end: float, settings: Segmenting) -> list[Stretch]:
    """Cut one piece; together the segments cover all of it."""
    length = end - start
    window = settings.window_s
    if window is None:
        num_parts = math.ceil(length / LONGEST_SPEECH_S - 1e-9)
        bounds = [start + length * part / num_parts for part in range(num_parts + 1)]
        pairs = list(pairwise(bounds))
    elif length <= window:
        pairs = [(start, end)]
    else:
        hop = settings.hop_s or window
        # As many whole hops as fit, and a last window that ends with the piece.
        num_hops = math.ceil((length - window) / hop - 1e-6)
        starts = [start + hop * number for number in range(num_hops)] + [end - window]
        pairs = [(first, first + window) for first in starts]
    return [(round(first, 6), round(last, 6)) for first, last in pairs]
