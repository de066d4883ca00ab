"""Words and tables that every part of Serval shares: dimensions, records, schemas, errors.

The error tree (each class carries the exit code of the command that it ends):

    ServalError
    |-- InputError              2  the caller's input is broken; the message says what to do
    |   |-- ManifestError          a manifest or metadata table
    |   |-- ModelError             a model URI or a stored model
    |   |-- ConfigError            an option, a recipe, a configuration file
    |   `-- RunError               a run or audit folder: absent, incomplete, or made otherwise
    |-- TooManyRejectedError    3  more segments rejected than allowed
    |-- UnfinishedError         4  could not finish; the same command again resumes
    `-- SegmentError               one bad segment; becomes a row of rejections, never ends a job
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import pyarrow as pa

SCHEMA_VERSION = 1
"""Version of the tables below; raised when a column changes its name or meaning."""

DIMENSIONS = ("arousal", "dominance", "valence")
"""The emotional dimensions, always in this order, on a scale of 0 to 1."""

CLEAN = "clean"
"""The condition of audio as it was recorded, with no augmentation."""

MANIFEST = "manifest"
"""The transcriber of transcripts that the manifest brought along."""

MAX_SEGMENT_S = 300.0
"""Longer segments are rejected unless `--max-segment` allows them: attention's memory grows with
the square of a segment's length, and emotion lasts seconds."""

SEXES = ("female", "male", "other")
SPLITS = ("train", "dev", "test")

SUPPRESSED = "suppressed"
"""Verdict on a slice that is too small to be shown."""


class Stage(StrEnum):
    """Where on its way through scoring a segment was rejected."""

    READ = "read"
    DECODE = "decode"
    SEGMENT = "segment"
    AUGMENT = "augment"
    SCORE = "score"


class Reason(StrEnum):
    """Why a segment was rejected. The codes are stable; the words beside them are in `detail`."""

    RECORDING_NOT_FOUND = "recording_not_found"
    RECORDING_UNREADABLE = "recording_unreadable"
    EMPTY_RECORDING = "empty_recording"
    NOT_AUDIO = "not_audio"
    TRUNCATED = "truncated"
    NOT_FINITE = "not_finite"
    END_BEFORE_START = "end_before_start"
    BEYOND_END = "beyond_end"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    OUT_OF_MEMORY = "out_of_memory"
    SCORE_NOT_FINITE = "score_not_finite"
    MODEL_FAILED = "model_failed"
    NO_TRANSCRIPT = "no_transcript"
    KILLED_WORKER = "killed_worker"
    SILENT_SEGMENT = "silent_segment"
    NO_USABLE_NOISE = "no_usable_noise"


NO_TRANSCRIPT = "the model reads text, and the segment has no transcript"
"""What a rejection for Reason.NO_TRANSCRIPT says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of a recording that is scored as one.

    Attributes:
        segment_id: unique in its manifest.
        recording: URI of the audio file, absolute.
        start_s: offset of the first sample in seconds; 0 for the recording's beginning.
        end_s: offset behind the last sample in seconds; None for the recording's end.
    """

    segment_id: str
    recording: str
    start_s: float = 0.0
    end_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model says of one segment.

    Attributes:
        segment_id: the segment.
        condition: "clean", or the name of the augmentation that was applied.
        duration_s: length of the scored audio in seconds.
        dimensions: arousal, dominance, valence, about 0 to 1 and not clamped; None for a
            categorical model.
        emotion_scores: a probability for each category, summing to 1; None for a dimensional model.
        embedding: the pooled representation before the head, or None where it was not asked for.
    """

    segment_id: str
    condition: str
    duration_s: float
    dimensions: tuple[float, float, float] | None = None
    emotion_scores: Mapping[str, float] | None = None
    embedding: tuple[float, ...] | None = None

    @property
    def emotion(self) -> str | None:
        """The most probable category; of equals the first in alphabetical order."""
        if self.emotion_scores is None:
            return None
        scores = self.emotion_scores
        return max(sorted(scores), key=scores.__getitem__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What was said in one segment.

    Attributes:
        segment_id: the segment.
        condition: "clean", or the name of the augmentation that was applied.
        duration_s: length of its audio in seconds.
        transcript: the words, as who made it spells them; "" where nothing was heard.
        transcriber: who made it: MANIFEST, or a model's URI, pinned to a version.
    """

    segment_id: str
    condition: str
    duration_s: float
    transcript: str
    transcriber: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why one segment under one condition has no prediction, or no transcript."""

    segment_id: str
    condition: str
    stage: Stage
    reason: Reason
    detail: str


_STRING = pa.string()
_PROVENANCE = [
    pa.field("model_uri", _STRING, nullable=False),
    pa.field("model_version", _STRING, nullable=False),
    pa.field("weights_sha256", _STRING, nullable=False),
    pa.field("code_version", _STRING, nullable=False),
    pa.field("dtype", _STRING, nullable=False),
    pa.field("schema_version", pa.int32(), nullable=False),
]

PREDICTIONS = pa.schema(
    [
        pa.field("segment_id", _STRING, nullable=False),
        pa.field("condition", _STRING, nullable=False),
        *(pa.field(dimension, pa.float32()) for dimension in DIMENSIONS),
        pa.field("emotion", _STRING),
        pa.field("emotion_scores", pa.map_(_STRING, pa.float32())),
        pa.field("duration_s", pa.float64(), nullable=False),
        *_PROVENANCE,
    ]
)
"""A row of predictions: one segment under one condition."""

EMBEDDING = pa.field("embedding", pa.list_(pa.float32()))
"""Column that `serval score --embeddings` adds behind those of PREDICTIONS."""

TRANSCRIPTS = pa.schema(
    [
        pa.field("segment_id", _STRING, nullable=False),
        pa.field("condition", _STRING, nullable=False),
        pa.field("transcript", _STRING, nullable=False),
        pa.field("transcriber", _STRING, nullable=False),
        pa.field("duration_s", pa.float64(), nullable=False),
        *_PROVENANCE,
    ]
)
"""A row of transcripts: one segment under one condition."""

REJECTIONS = pa.schema(
    [
        pa.field("segment_id", _STRING, nullable=False),
        pa.field("condition", _STRING, nullable=False),
        pa.field("stage", _STRING, nullable=False),
        pa.field("reason", _STRING, nullable=False),
        pa.field("detail", _STRING, nullable=False),
        *_PROVENANCE,
    ]
)
"""A row of rejections: one segment under one condition that could not be scored."""

SHARD = pa.schema(
    [
        pa.field("segment_id", _STRING, nullable=False),
        pa.field("audio", pa.struct([("bytes", pa.binary()), ("path", _STRING)]), nullable=False),
        pa.field("sampling_rate_hz", pa.int32(), nullable=False),
        pa.field("num_samples", pa.int64(), nullable=False),
    ]
)
"""A row of a shard: one segment's audio, in the convention of Hugging Face datasets."""

_STATISTIC = [
    pa.field("target", _STRING, nullable=False),
    pa.field("metric", _STRING, nullable=False),
    pa.field("value", pa.float64()),
    pa.field("ci_low", pa.float64()),
    pa.field("ci_high", pa.float64()),
    pa.field("num_segments", pa.int64(), nullable=False),
    pa.field("num_speakers", pa.int64()),
    pa.field("p_value", pa.float64()),
    pa.field("p_adjusted", pa.float64()),
    pa.field("margin", pa.float64()),
    pa.field("verdict", _STRING),
    pa.field("reason", _STRING),
    pa.field("standard_error", pa.float64()),
    pa.field("degrees_of_freedom", pa.float64()),
    pa.field("p_adjusted_fdr", pa.float64()),
    pa.field("minimum_detectable_effect", pa.float64()),
]

STATISTICS = pa.schema(
    [
        pa.field("model_version", _STRING, nullable=False),
        pa.field("condition", _STRING, nullable=False),
        pa.field("slice_by", _STRING, nullable=False),
        pa.field("slice", _STRING, nullable=False),
        *_STATISTIC,
    ]
)
"""A statistic of a model, condition, slice, target and metric; `slice_by` "" is all segments."""

SPEAKERS = pa.schema(
    [
        pa.field("model_version", _STRING, nullable=False),
        pa.field("condition", _STRING, nullable=False),
        pa.field("speaker_id", _STRING, nullable=False),
        *_STATISTIC,
        pa.field("shrunk_value", pa.float64()),
        pa.field("shrunk_low", pa.float64()),
        pa.field("shrunk_high", pa.float64()),
    ]
)
"""The same by speaker; `shrunk_...` is drawn towards the mean of all speakers, the more the fewer
segments there are."""

TESTS = pa.schema(
    [
        *(
            pa.field(name, _STRING, nullable=False)
            for name in ("model_version", "condition", "suite", "family", "test", "target")
        ),
        *(pa.field(name, _STRING, nullable=False) for name in ("slice_by", "slice", "metric")),
        *(pa.field(name, pa.float64()) for name in ("value", "ci_low", "ci_high")),
        pa.field("threshold", pa.float64(), nullable=False),
        pa.field("comparison", _STRING, nullable=False),
        pa.field("outcome", _STRING, nullable=False),
        pa.field("point_value", pa.float64()),
        pa.field("point_outcome", _STRING),
        pa.field("num_segments", pa.int64()),
        pa.field("num_speakers", pa.int64()),
        pa.field("reason", _STRING),
    ]
)
"""A test of a suite: a statistic and its interval against a threshold. `point_...` is the number
that the suite's authors would hold against it, and how that comes out."""

PROBE_SEGMENTS = pa.schema(
    [
        pa.field("segment_id", _STRING, nullable=False),
        pa.field("speaker_id", _STRING),
        pa.field("transcript", _STRING),
        *(pa.field(f"truth_{dimension}", pa.float64()) for dimension in DIMENSIONS),
        *(pa.field(f"original_{dimension}", pa.float64()) for dimension in DIMENSIONS),
        pa.field("original_missing", _STRING),
        *(pa.field(f"synthetic_{dimension}", pa.float64()) for dimension in DIMENSIONS),
        pa.field("synthetic_missing", _STRING),
        pa.field("sentiment", pa.float64()),
    ]
)
"""A segment of the linguistic probe: predictions on the original and on synthetic speech, and the
code of why one of them is missing (null where it is not)."""


class ServalError(Exception):
    """Whatever Serval itself reports; the message is one line and says what to do."""

    exit_code: ClassVar[int] = 2


class InputError(ServalError):
    """The caller's input is broken: nothing was done."""


class ManifestError(InputError):
    """A manifest or metadata table cannot be used; the message names the file and the row."""


class ModelError(InputError):
    """A model URI is unknown or a stored model cannot be loaded."""


class ConfigError(InputError):
    """An option, a recipe or a configuration file has a value that is not allowed."""


class RunError(InputError):
    """A run or audit folder is absent, incomplete, or was made with another configuration."""


class TooManyRejectedError(ServalError):
    """The run is complete, but more segments were rejected than `--max-rejected` allows."""

    exit_code: ClassVar[int] = 3


class UnfinishedError(ServalError):
    """The job could not finish; what is committed stays, and the same command resumes."""

    exit_code: ClassVar[int] = 4


class SegmentError(ServalError):
    """One segment cannot be scored; the caller turns it into a row of rejections."""

    def __init__(self, stage: Stage, reason: Reason, detail: str) -> None:
        """Keep stage, reason code and the words for people."""
        super().__init__(f"{stage}: {reason}: {detail}")
        self.stage = stage
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[SegmentError], tuple[Stage, Reason, str]]:
        """Travel between processes; Exception's own way knows nothing of three arguments."""
        return type(self), (self.stage, self.reason, self.detail)
