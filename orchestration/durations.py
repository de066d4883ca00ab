"""How much audio a plan holds, by its tables and by headers alone: nothing is decoded.

Where a manifest gives start and end, these decide; packed shards have a column of sample counts;
else the header of each recording is read, or, where there are many, those of a seeded sample of the
shards.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestration.parquet_shards import ROWS_PER_READ, ParquetShard
from orchestration.shard_plan import Shard, ShardPlan, TextShard
from orchestration.shards import RecordingShard
from orchestration.webdataset import MAX_MEMBER_BYTES, TarShard
from ser_model import storage
from ser_model.audio import open_recording
from ser_model.audio_file import AudioFile
from ser_model.schema import SegmentError

MAX_HEADERS = 10_000
"""Beyond this many headers a sample of them is read: seconds locally, a minute at a store."""

NUM_READERS = 8
"""Shards that are looked into at a time, and recordings of each: a header is a small request."""

Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """How long the segments of a plan are.

    Attributes:
        duration_s: [num_segments], in the order of the plan; 0 for a segment that will be rejected
            because it cannot be read or is too long, NaN for one that was not looked at.
        total_s: audio of all segments, estimated where not all were looked at.
        total_error_s: half the width of its 95 % interval; 0 where all were looked at.
        num_headers: headers and shards that were opened.
        num_unreadable: of the segments looked at, those whose audio has no readable header, no
            length in it, or does not last until the segment starts.
        num_too_long: of the segments looked at, those above the plan's limit.
    """

    duration_s: Seconds
    total_s: float
    total_error_s: float
    num_headers: int
    num_unreadable: int
    num_too_long: int

    @property
    def num_looked_at(self) -> int:
        """Segments whose duration is known."""
        return int(np.isfinite(self.duration_s).sum())

    @property
    def mean_s(self) -> float:
        """Mean over the segments looked at."""
        return float(np.nanmean(self.duration_s))

    def of_shards(self, plan: ShardPlan) -> Seconds:
        """Return the audio of each shard; a segment not looked at counts as the mean one."""
        filled = np.where(np.isfinite(self.duration_s), self.duration_s, self.mean_s)
        return np.add.reduceat(filled, np.asarray(plan.first_rows[:-1]))


def measure_durations(
    plan: ShardPlan, *, max_headers: int = MAX_HEADERS, seed: int = 0
) -> Durations:
    """Find out how long the segments of a plan are.

    Args:
        plan: what is to be scored.
        max_headers: where more would have to be read, whole shards are drawn until there are this
            many, without replacement.
        seed: of that draw.

    Raises:
        UnfinishedError: the storage does not answer.
        OSError: likewise.
    """
    duration_s = _by_times(plan.rows)
    in_table = np.isfinite(duration_s)
    shard_of_row = np.repeat(np.arange(plan.num_shards), np.diff(plan.first_rows))
    untimed = np.unique(shard_of_row[~in_table])
    drawn, num_headers = _draw(plan, untimed, max_headers, seed)
    with ThreadPoolExecutor(NUM_READERS) as readers:
        found = readers.map(lambda number: _by_headers(plan.shard(number)), drawn)
        for number, durations in zip(drawn, found, strict=True):
            inside = slice(plan.first_rows[number], plan.first_rows[number + 1])
            duration_s[inside] = np.where(in_table[inside], duration_s[inside], durations)
    looked_at = in_table | np.isin(shard_of_row, drawn)
    unreadable = looked_at & ~(duration_s > 0)  # NaN from a header too
    too_long = looked_at & (duration_s > plan.max_segment_s)
    duration_s[unreadable | too_long] = 0.0
    rest_s, rest_error_s = _extrapolate(duration_s, shard_of_row, in_table, untimed, drawn)
    return Durations(
        duration_s=duration_s,
        total_s=float(np.nansum(duration_s)) + rest_s,
        total_error_s=rest_error_s,
        num_headers=num_headers,
        num_unreadable=int(unreadable.sum()),
        num_too_long=int(too_long.sum()),
    )


def planned_audio_s(plan: ShardPlan) -> Seconds | None:
    """Return the audio of each shard by its table alone; None where the table does not tell."""
    seconds = _by_times(plan.rows)
    if not np.isfinite(seconds).all():
        return None
    return np.add.reduceat(seconds.clip(min=0), np.asarray(plan.first_rows[:-1]))


def _by_times(rows: pa.Table) -> Seconds:
    """Return end - start where the table has both, else NaN."""
    if "end_s" not in rows.column_names:
        return np.full(rows.num_rows, np.nan)
    seconds = pc.subtract(rows["end_s"], pc.fill_null(rows["start_s"], 0.0))
    return np.array(pc.fill_null(seconds, math.nan).to_numpy(), np.float64)


def _draw(
    plan: ShardPlan, untimed: npt.NDArray[np.int64], max_headers: int, seed: int
) -> tuple[list[int], int]:
    """Return the shards to look into, all or in random order up to the limit, and their headers."""
    drawn, num_headers = [], 0
    for number in np.random.default_rng(seed).permutation(untimed).tolist():
        if num_headers >= max_headers:
            break
        drawn.append(number)
        num_headers += _count_headers(plan, number)
    return drawn, num_headers


def _count_headers(plan: ShardPlan, number: int) -> int:
    if "file_number" in plan.rows.column_names:
        return 1  # a packed shard has the counts in one column
    return plan.num_segments_of(number)


def _by_headers(shard: Shard) -> Seconds:
    """Return the durations of a shard's segments, in its order; NaN where there is none."""
    if isinstance(shard, TextShard):
        return _by_headers(shard.shard)
    if isinstance(shard, RecordingShard):
        recordings = sorted({s.recording for s in shard.segments if s.end_s is None})
        with ThreadPoolExecutor(NUM_READERS) as readers:
            ends = dict(
                zip(recordings, readers.map(_recording_duration_s, recordings), strict=True)
            )
        return np.array([ends.get(s.recording, math.nan) - s.start_s for s in shard.segments])
    if isinstance(shard, TarShard):
        by_id = _tar_durations_s(shard)
    elif isinstance(shard, ParquetShard):
        by_id = _parquet_durations_s(shard)
    else:
        raise TypeError(f"a shard of another kind: {type(shard).__name__}")
    return np.array([by_id.get(segment_id, math.nan) for segment_id in shard.segment_ids])


def _recording_duration_s(recording: str) -> float:
    try:
        with open_recording(recording) as file:
            return _duration_s(file)
    except SegmentError:
        return math.nan


def _bytes_duration_s(data: bytes | None) -> float:
    try:
        with AudioFile(io.BytesIO(data or b""), "audio") as file:
            return _duration_s(file)
    except SegmentError:
        return math.nan


def _duration_s(file: AudioFile) -> float:
    return math.nan if file.duration_s is None else file.duration_s


def _tar_durations_s(shard: TarShard) -> Mapping[str, float]:
    durations = {}
    with storage.open_binary(shard.uri) as file:
        for member in shard.members:
            file.seek(int(member["offset"]))
            data = file.read(min(int(member["num_bytes"]), MAX_MEMBER_BYTES))
            durations[str(member["segment_id"])] = _bytes_duration_s(data)
    return durations


def _parquet_durations_s(shard: ParquetShard) -> Mapping[str, float]:
    counts = ["num_samples", "sampling_rate_hz"]
    durations = {}
    with storage.open_binary(shard.uri) as opened:
        file = pq.ParquetFile(opened)
        counted = set(counts) <= set(file.schema_arrow.names)
        batches = file.iter_batches(
            batch_size=65_536 if counted else ROWS_PER_READ,
            row_groups=shard.row_groups,
            columns=["segment_id", *(counts if counted else ["audio"])],
        )
        for row in (row for batch in batches for row in batch.to_pylist()):
            if counted:
                durations[row["segment_id"]] = row["num_samples"] / row["sampling_rate_hz"]
            else:
                durations[row["segment_id"]] = _bytes_duration_s((row["audio"] or {}).get("bytes"))
    return durations


def _extrapolate(
    duration_s: Seconds,
    shard_of_row: npt.NDArray[np.int64],
    in_table: npt.NDArray[np.bool_],
    untimed: npt.NDArray[np.int64],
    drawn: list[int],
) -> tuple[float, float]:
    """Estimate the audio of the shards that were not drawn, and half its 95 % interval.

    The ratio estimator of cluster sampling: the mean segment of the shards drawn, times the
    segments of the others; its error comes from how much shards differ from each other.
    Source: Cochran, Sampling Techniques (1977), section 9A.
    """
    others = np.setdiff1d(untimed, drawn)
    if len(others) == 0:
        return 0.0, 0.0
    rows = ~in_table & np.isin(shard_of_row, drawn)
    place = np.searchsorted(np.sort(drawn), shard_of_row[rows])
    num_rows = np.bincount(place, minlength=len(drawn)).astype(np.float64)
    audio_s = np.bincount(place, weights=duration_s[rows], minlength=len(drawn))
    mean_s = audio_s.sum() / num_rows.sum()
    num_others = int((~in_table & np.isin(shard_of_row, others)).sum())
    if len(drawn) == 1:
        return num_others * mean_s, math.inf
    residual_s = audio_s - mean_s * num_rows
    unseen = 1 - len(drawn) / len(untimed)
    variance = unseen * residual_s.var(ddof=1) / len(drawn) / num_rows.mean() ** 2
    error_s = 1.96 * math.sqrt(variance) * (num_rows.sum() + num_others)
    return num_others * mean_s, error_s
