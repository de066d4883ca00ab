"""The scoring worker as it runs on Ray: with metrics, and log lines in the driver's format."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping

from orchestration.actors import ModelSource, ScoringActor
from orchestration.augmentation import CLEAN_ALONE, Augmentation
from orchestration.commits import RunIdentity
from orchestration.decoding import read_remotely
from orchestration.logs import LogConfig, configure_logging
from orchestration.shard_plan import Exclusion, SegmentAudio, Shard
from orchestration.shard_report import ShardReport
from orchestration.telemetry import Telemetry

logger = logging.getLogger(__name__)


class RayScoringActor(ScoringActor):
    """A ScoringActor in a process of its own."""

    def __init__(
        self,
        *,
        model: ModelSource,
        run_uri: str,
        identity: RunIdentity,
        device: str,
        log_config: LogConfig,
        augmentation: Augmentation = CLEAN_ALONE,
        num_decoders: int = 0,
    ) -> None:
        """Describe the work as to ScoringActor.

        Args:
            model: as ScoringActor takes it.
            run_uri: likewise.
            identity: likewise.
            device: likewise.
            log_config: how the driver logs.
            augmentation: as ScoringActor takes it.
            num_decoders: parts of a shard that Ray tasks read at a time; 0 to read it here.
        """
        super().__init__(
            model=model,
            run_uri=run_uri,
            identity=identity,
            device=device,
            augmentation=augmentation,
        )
        version = identity.model_version
        fields = {"run": run_uri, "model_version": version}
        configure_logging(dataclasses.replace(log_config, fields=fields))
        self._num_decoders = num_decoders
        self._telemetry = Telemetry(run=run_uri, model_version=version, device=device)

    def _audio(self, shard: Shard) -> Iterator[SegmentAudio]:
        if self._num_decoders:
            return read_remotely(shard, self._num_decoders)
        return super()._audio(shard)

    def score_shard(
        self,
        number: int,
        shard: Shard,
        conditions: tuple[str, ...],
        attempt: str,
        excluded: Mapping[str, Exclusion] | None = None,
    ) -> ShardReport:
        """Score one shard, count it, and write a line about each condition; see ScoringActor."""
        report = super().score_shard(number, shard, conditions, attempt, excluded)
        self._telemetry.record(report, attempt)
        for commit in report.commits:
            logger.info(
                "scored %d segments, rejected %d",
                commit.num_predictions,
                commit.num_rejections,
                extra={"shard": number, "condition": commit.condition, "attempt": attempt},
            )
        return report
