"""Reads a run and its metadata into an observation, a part at a time.

In memory are some 20 bytes of each segment of the run, and never a row of either side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from orchestration.committed import CommittedRun, committed_files, read_in_order
from orchestration.nights.observation import MAX_SPEAKERS, Histogram, Observation
from pipelines.transforms.tables import array, floats, hash_strings
from ser_model.manifest import metadata_columns, metadata_parts
from ser_model.metrics.bins import NUM_BINS, NUM_FINE_BINS, fine_bins
from ser_model.metrics.bootstrap import UInt64s, speaker_keys
from ser_model.metrics.exchanged_nights import NUM_GROUPS, speaker_groups
from ser_model.schema import CLEAN, DIMENSIONS, RunError

COLUMNS = (
    "speaker_id",
    "sex",
    "age",
    "language",
    "accent",
    "transcript",
    "emotion",
    *DIMENSIONS,
)
"""Columns of metadata whose missing values are counted."""

_TARGETS = (*DIMENSIONS, "emotion")
_NOWHERE = -1
"""Bin of a target that a segment has no prediction of."""

Bins = NDArray[np.int16]


@dataclass(slots=True, kw_only=True)
class _Segments:
    """The segments of a run, sorted by the hash of their segment_id.

    Attributes:
        hashes: [num_segments].
        bins: target -> [num_segments].
        names: target -> the names of its bins.
        is_scored: [num_segments].
        group: [num_segments] of the speaker; the segment's own as long as none is known.
        is_matched: [num_segments] whether the metadata have it.
    """

    hashes: UInt64s
    bins: dict[str, Bins]
    names: dict[str, list[str]]
    is_scored: NDArray[np.bool_]
    group: NDArray[np.uint8] = field(init=False)
    is_matched: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.group = speaker_groups(self.hashes)
        self.is_matched = np.zeros(self.hashes.size, dtype=np.bool_)

    def find(self, hashes: UInt64s) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return where each of them stands, and whether it stands there at all."""
        at = np.minimum(np.searchsorted(self.hashes, hashes), self.hashes.size - 1)
        return at, self.hashes[at] == hashes

    def histogram(self, bins: NDArray[np.integer], names: list[str]) -> Histogram:
        """Count segments by bin and group; those that are nowhere are left out."""
        is_in = bins != _NOWHERE
        cells = bins[is_in].astype(np.intp) * NUM_GROUPS + self.group[is_in]
        counts = np.bincount(cells, minlength=len(names) * NUM_GROUPS)
        return dict(zip(names, counts.reshape(len(names), NUM_GROUPS), strict=True))


def observe(run: str, metadata: str) -> Observation:
    """Return what later nights need to know of a run.

    Args:
        run: folder of `serval score`; only its clean segments count.
        metadata: as in an audit; its rows that the run does not have do not count.

    Raises:
        RunError: the run is absent, incomplete or damaged, or was not scored clean.
        ManifestError: the metadata cannot be read.
    """
    committed = committed_files(run, condition=CLEAN)
    segments = _read_segments(run, committed)
    known = _KnownSegments(segments)
    known.read(metadata)
    histograms = {
        target: segments.histogram(bins, segments.names[target])
        for target, bins in segments.bins.items()
        if (bins != _NOWHERE).any()
    }
    return Observation(
        weights_sha256=str(committed.run["identity"]["weights_sha256"]),
        histograms=histograms,
        outcomes=segments.histogram(segments.is_scored.astype(np.intp), ["rejected", "scored"]),
        speakers=known.speakers,
        languages=dict(known.languages),
        missing=dict(known.missing),
        num_unmatched=int((~segments.is_matched).sum()),
    )


class _KnownSegments:
    """Sums up the rows of metadata that belong to segments of the run."""

    def __init__(self, segments: _Segments) -> None:
        self._segments = segments
        self.speakers: UInt64s = np.empty(0, dtype=np.uint64)
        self.languages: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()

    def read(self, uri: str) -> None:
        """Add all rows; in the groups of its speakers each segment is from then on.

        Where no speaker is named, who speaks in a recording stands for one.
        """
        unit = "speaker_id" if "speaker_id" in metadata_columns(uri) else "recording"
        for part in metadata_parts(uri, [*COLUMNS, unit], truth_range=None):
            at, is_there = self._segments.find(hash_strings(array(part, "segment_id")))
            self._segments.is_matched[at[is_there]] = True
            self._add(part.filter(pa.array(is_there)), at[is_there], unit)

    def _add(self, rows: pa.Table, at: NDArray[np.intp], unit: str) -> None:
        for column in (name for name in COLUMNS if name in rows.column_names):
            self.missing[column] += _num_missing(rows[column])
        if "language" in rows.column_names:
            for counted in pc.value_counts(rows["language"].drop_null()).to_pylist():
                self.languages[counted["values"]] += counted["counts"]
        if unit in rows.column_names:
            encoded = array(rows, unit).dictionary_encode()
            keys = speaker_keys(encoded.dictionary.to_pylist())
            is_named = encoded.indices.is_valid().to_numpy(zero_copy_only=False)
            index = encoded.indices.drop_null().to_numpy()
            self._segments.group[at[is_named]] = speaker_groups(keys)[index]
            if unit == "speaker_id":
                self.speakers = np.union1d(self.speakers, keys)[:MAX_SPEAKERS]


def _num_missing(values: pa.ChunkedArray) -> int:
    num_nan = pc.sum(pc.is_nan(values)).as_py() if pa.types.is_floating(values.type) else 0
    return int(values.null_count + (num_nan or 0))


def _read_segments(run: str, committed: CommittedRun) -> _Segments:
    """Read all that was made of the run's segments."""
    names: dict[str, list[str]] = {
        target: [str(b) for b in range(NUM_BINS)] for target in DIMENSIONS
    }
    names["emotion"] = []
    hashes: list[UInt64s] = []
    bins: dict[str, list[Bins]] = {target: [] for target in _TARGETS}
    for table in read_in_order(committed.predictions, ["segment_id", *_TARGETS]):
        hashes.append(hash_strings(array(table, "segment_id")))
        for target in DIMENSIONS:
            bins[target].append(_dimension_bins(table, target))
        bins["emotion"].append(_emotion_bins(table, names["emotion"]))
    num_scored = sum(part.size for part in hashes)
    hashes.extend(_rejected(committed))
    num_segments = sum(part.size for part in hashes)
    if not num_segments:
        raise RunError(f"{run} was not scored under the condition {CLEAN}: nothing can be observed")
    together = np.concatenate(hashes)
    order = np.argsort(together)
    nowhere = np.full(num_segments - num_scored, _NOWHERE, dtype=np.int16)
    return _Segments(
        hashes=together[order],
        bins={target: np.concatenate([*parts, nowhere])[order] for target, parts in bins.items()},
        names=names,
        is_scored=order < num_scored,
    )


def _rejected(committed: CommittedRun) -> Iterator[UInt64s]:
    for table in read_in_order(committed.rejections, ["segment_id"]):
        yield hash_strings(array(table, "segment_id"))


def _dimension_bins(table: pa.Table, dimension: str) -> Bins:
    values = floats(table, dimension)
    is_finite = np.isfinite(values)
    fine = fine_bins(np.where(is_finite, values, 0.0))
    return np.where(is_finite, fine // (NUM_FINE_BINS // NUM_BINS), _NOWHERE).astype(np.int16)


def _emotion_bins(table: pa.Table, names: list[str]) -> Bins:
    """Return the place of each emotion in `names`, to which new ones are added."""
    encoded = array(table, "emotion").dictionary_encode()
    emotions = encoded.dictionary.to_pylist()
    names.extend(emotion for emotion in emotions if emotion not in names)
    places = np.array([*(names.index(emotion) for emotion in emotions), _NOWHERE], dtype=np.int16)
    return np.asarray(places[encoded.indices.fill_null(len(emotions)).to_numpy()])
