"""What workers tell a Prometheus, by Ray's own metrics: each node serves those of its workers.

Ray puts `ray_` before each name, and `_total` behind a counter: `ray_serval_segments_total`. All
have the tags run, model_version and device. Where no metrics agent runs (Ray without its extra
`default`), or no Ray at all, recording does nothing. infra/ray/README.md says how to scrape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ray.util.metrics import Counter, Histogram

from ser_model.audio import SAMPLING_RATE_HZ
from ser_model.redaction import redact

if TYPE_CHECKING:
    from orchestration.shard_report import ShardReport

TAGS = ("run", "model_version", "device")

SHARD_SECONDS_BOUNDARIES = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]


class Telemetry:
    """The metrics of one worker."""

    def __init__(self, *, run: str, model_version: str, device: str) -> None:
        """Register the metrics.

        Args:
            run: folder of the run; a password in its URI is left out.
            model_version: version of the model.
            device: "cpu" or "cuda".
        """
        tags = {"run": redact(run), "model_version": model_version, "device": device}

        def counter(name: str, description: str, *further_tags: str) -> Counter:
            made = Counter(name, description, tag_keys=(*TAGS, *further_tags))
            made.set_default_tags(tags)
            return made

        self._segments = counter("serval_segments", "Segments scored or rejected.")
        self._audio = counter("serval_audio_seconds", "Seconds of audio scored.")
        self._rejections = counter("serval_rejections", "Segments rejected.", "reason")
        self._padding = counter("serval_padding_seconds", "Padding scored beside the audio.")
        self._stages = counter("serval_stage_seconds", "Seconds of a worker by stage.", "stage")
        self._shards = Histogram(
            "serval_shard_seconds",
            "Seconds of the scoring thread for a shard.",
            boundaries=SHARD_SECONDS_BOUNDARIES,
            tag_keys=TAGS,
        )
        self._shards.set_default_tags(tags)

    def record(self, report: ShardReport, attempt: str) -> None:
        """Count what came of an attempt at a shard.

        Args:
            report: of the attempt.
            attempt: its name; what is committed counts only where the commit is this attempt's, or
                a shard that two workers scored would count twice. The time spent counts always.
        """
        for commit in report.commits:
            if commit.attempt == attempt:
                _increase(self._segments, commit.num_segments)
                _increase(self._audio, commit.audio_s)
                for reason, number in commit.num_rejections_by_reason.items():
                    _increase(self._rejections, number, reason=reason)
        workload, times = report.workload, report.times
        num_padding = workload.num_padded_samples - workload.num_samples
        _increase(self._padding, num_padding / SAMPLING_RATE_HZ)
        stages = {
            "read": times.read_s,
            "augment": times.augment_s,
            "score": times.score_s,
            "starved": times.starved_s,
            "write": times.write_s,
        }
        for stage, seconds in stages.items():
            _increase(self._stages, seconds, stage=stage)
        self._shards.observe(times.score_s + times.starved_s)


def _increase(counter: Counter, amount: float, **tags: str) -> None:
    if amount > 0:  # Ray refuses to count nothing
        counter.inc(amount, tags)
