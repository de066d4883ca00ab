"""What scoring and transcribing tell at their ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.shard_report import StageTimes
from ser_model.metrics.word_errors import WordErrors
from ser_model.schema import TooManyRejectedError


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """The end of a run.

    Attributes:
        run: folder of the run.
        model_uri: the model, pinned to a version.
        num_segments: segments x conditions in the run.
        num_rejections: those of which nothing was made.
        num_rejections_by_reason: the latter by reason code.
        audio_s: seconds of audio that were scored, over all of the run's resumptions.
        content_sha256: hash of all rows.
        num_scored_now: segments that this call scored; the others were committed before.
        audio_scored_now_s: the audio of those.
        wall_s: how long this call took.
        padding_waste: the part of this call's arithmetic that went into padding, 0 to 1.
        times: what this call's workers spent their time on, added up over them.
        scoring_s: how long the workers were at work: `wall_s` without planning and starting them.
        num_workers: how many of them there were at the beginning.
    """

    run: str
    model_uri: str
    num_segments: int
    num_rejections: int
    num_rejections_by_reason: Mapping[str, int]
    audio_s: float
    content_sha256: str
    num_scored_now: int
    audio_scored_now_s: float
    wall_s: float
    padding_waste: float
    times: StageTimes
    scoring_s: float
    num_workers: int

    @property
    def times_real_time(self) -> float:
        """Seconds of audio that this call scored in a second."""
        return self.audio_scored_now_s / self.wall_s

    @property
    def limited_by(self) -> str:
        """What took the time: the model, reading audio, or writing and handing out shards."""
        return self.times.limited_by(self.scoring_s * self.num_workers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSummary(RunSummary):
    """The end of a run of predictions.

    Attributes:
        num_predictions: segments x conditions with a score.
        counts_by_condition: for each condition what RunSummary counts of all.
    """

    num_predictions: int
    counts_by_condition: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscribeSummary(RunSummary):
    """The end of a run of transcripts.

    Attributes:
        num_transcripts: segments with a transcript.
        num_by_transcriber: those by who made it.
        word_errors: by transcriber, against the transcripts of the manifest; None where those were
            used, or there are none.
    """

    num_transcripts: int
    num_by_transcriber: Mapping[str, int]
    word_errors: Mapping[str, WordErrors] | None


def tell_speed(summary: RunSummary, verb: str) -> list[str]:
    """Return lines on what this call did, how fast, and what limited it; `verb` is "score", say."""
    if not summary.num_scored_now:
        return [f"nothing was left to {verb}: the run was complete"]
    times = summary.times
    augmenting = f" and augmenting {times.augment_s:.0f}" if times.augment_s else ""
    return [
        f"{summary.num_scored_now} of them now, in {summary.wall_s:.0f} s: "
        f"{summary.times_real_time:.0f} x real time, {summary.padding_waste:.1%} padding",
        f"seconds of {summary.num_workers} workers: model {times.score_s:.0f}, reading "
        f"{times.read_s:.0f}{augmenting} (waited for: {times.starved_s:.0f}), writing "
        f"{times.write_s:.0f}; limited by {summary.limited_by}",
    ]


def refuse_rejections(summary: RunSummary, max_rejected: float) -> None:
    """Raise TooManyRejectedError where more than this part of the segments was rejected."""
    rejected = summary.num_rejections / summary.num_segments
    if rejected > max_rejected:
        reasons = ", ".join(
            f"{number} {reason}" for reason, number in summary.num_rejections_by_reason.items()
        )
        raise TooManyRejectedError(
            f"{summary.num_rejections} of {summary.num_segments} segments were rejected "
            f"({rejected:.1%}, allowed are {max_rejected:.1%}): {reasons}; the run is complete: "
            f"see `serval export {summary.run} rejections.csv --rejections`"
        )
