"""How fast a model scores a source here: a short run over a sample of it, in the real way.

The same workers, readers and dispatcher as in a run score pieces of the plan's shards. Their
commits go into each worker's own memory, and end with it. The pieces come from shards of all mean
lengths, and are the beginnings of shards, so that a recording need not be decoded up to its middle;
where the device is fast they are whole shards.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from orchestration.augmentation import CLEAN_ALONE, Augmentation
from orchestration.durations import Durations
from orchestration.hardware import Hardware, WorkerRange
from orchestration.model_uris import ResolvedModel
from orchestration.scoring_workers import Score, identify, start_workers
from orchestration.shard_plan import ShardPlan, ShardTask
from orchestration.shard_report import ShardReport, StageTimes
from ser_model.schema import CLEAN, ManifestError

WARM_UP_PIECES = 3
WARM_UP_SEGMENTS = 4
"""Each worker warms up on so many pieces of so many segments, which also size the later ones."""

PIECES_PER_WORKER = 6
"""At least, in the measured round. The first and the last of each worker only frame it."""

MAX_ROUNDS = 5

GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What a sample tells of the whole.

    Attributes:
        num_workers: that were measured at once.
        startup_s: until they were ready.
        audio_s_per_s: audio seconds scored in a second, by all of them.
        relative_error: half the width of its 95 % interval, as a part of it, by how much pieces
            differ; it knows nothing of what else the machine may do later.
        num_segments: segments x conditions in the measured round.
        num_rejections_by_reason: those of them that were rejected.
        limited_by: what took the time: the model, reading audio, or writing and handing out.
    """

    num_workers: int
    startup_s: float
    audio_s_per_s: float
    relative_error: float
    num_segments: int
    num_rejections_by_reason: Mapping[str, int]
    limited_by: str


def measure_speed(
    plan: ShardPlan,
    durations: Durations,
    *,
    model: ResolvedModel,
    hardware: Hardware,
    sample_s: float,
    augmentation: Augmentation = CLEAN_ALONE,
    seed: int = 0,
) -> Speed:
    """Score pieces of a plan for some seconds, and tell how fast that was.

    Args:
        plan: what is to be scored.
        durations: of its segments.
        model: what scores it.
        hardware: on what; without `workers`, one is measured in this process, without Ray.
        sample_s: about how long to score, beside starting up and warming up, > 0.
        augmentation: the conditions; each piece is scored under all of them.
        seed: of the choice of pieces.

    Raises:
        InputError: the model cannot be loaded, or no segment of the sample can be scored.
        UnfinishedError: workers died, or the storage does not answer.
    """
    started = time.monotonic()
    if hardware.workers is not None:
        # Of a cluster that grows, what is there at the beginning is measured.
        minimum = hardware.workers.minimum
        hardware = dataclasses.replace(
            hardware, workers=WorkerRange(minimum=minimum, maximum=minimum)
        )
    with start_workers(
        model,
        f"memory://serval-plan-{uuid.uuid4().hex}",
        identify(model, plan, hardware, embeddings=False),
        hardware,
        num_shards=plan.num_shards,
        augmentation=augmentation,
    ) as workers:
        num_workers = workers.num_workers
        startup_s = time.monotonic() - started
        pieces = _Pieces(plan, durations, augmentation.names, seed)
        measured = _measure(pieces, workers.score, num_workers, sample_s)
    return Speed(
        num_workers=num_workers,
        startup_s=startup_s,
        audio_s_per_s=measured.audio_s_per_s(num_workers),
        relative_error=measured.relative_error(),
        num_segments=sum(report.num_segments for report in measured.reports),
        num_rejections_by_reason=measured.num_rejections_by_reason(),
        limited_by=measured.limited_by(num_workers),
    )


class _Pieces:
    """Beginnings of shards, as a plan that grows; each piece is scored once."""

    def __init__(
        self, plan: ShardPlan, durations: Durations, conditions: tuple[str, ...], seed: int
    ) -> None:
        self._plan = plan
        self._conditions = conditions
        num_segments = np.diff(plan.first_rows)
        mean_s = durations.of_shards(plan) / num_segments
        by_length = np.argsort(mean_s, kind="stable")
        # Multiples of the golden ratio, modulo one, lie evenly however many are taken: so do the
        # shards, over all mean lengths.
        offset = np.random.default_rng(seed).random()
        places = np.argsort((np.arange(plan.num_shards) * GOLDEN + offset) % 1.0)
        self._shards = itertools.cycle(by_length[np.argsort(places)].tolist())
        self.num_conditions = len(conditions)
        self.mean_s = durations.mean_s * self.num_conditions
        self.most_segments = int(num_segments.max())
        self._tables: list[pa.Table] = []

    def take(self, num_pieces: int, num_segments: int) -> tuple[ShardPlan, list[ShardTask]]:
        """Return a plan with this many further pieces, and the tasks for them."""
        first = len(self._tables)
        for number in itertools.islice(self._shards, num_pieces):
            length = min(num_segments, self._plan.num_segments_of(number))
            self._tables.append(self._plan.rows.slice(self._plan.first_rows[number], length))
        plan = dataclasses.replace(
            self._plan,
            rows=pa.concat_tables(self._tables),
            first_rows=np.cumsum([0, *(table.num_rows for table in self._tables)]).tolist(),
        )
        numbers = range(first, len(self._tables))
        return plan, [ShardTask(number=number, conditions=self._conditions) for number in numbers]


@dataclass(frozen=True, kw_only=True)
class _Round:
    """Reports of pieces in the order in which they came, and when each came."""

    reports: Sequence[ShardReport]
    at_s: Sequence[float]

    def audio_s_per_s(self, num_workers: int) -> float:
        """Return the speed from when each worker could have ended a piece to the last piece.

        At the beginning of that time the workers are amid pieces that count whole, at its end some
        are idle: on average the one makes up for the other.
        """
        first = num_workers - 1
        audio_s = sum(_planned_s(report) for report in self.reports[first + 1 :])
        return audio_s / max(self.at_s[-1] - self.at_s[first], 1e-6)

    def relative_error(self) -> float:
        """Return half the 95 % interval of the scoring thread's seconds for a second of audio."""
        costs = [
            (report.times.score_s + report.times.starved_s) / _planned_s(report)
            for report in self.reports
            if _planned_s(report) > 0
        ]
        if len(costs) < 2:
            return math.inf
        return 1.96 * float(np.std(costs, ddof=1) / np.mean(costs)) / math.sqrt(len(costs))

    def num_rejections_by_reason(self) -> dict[str, int]:
        """Count the rejections of the round."""
        counts: Counter[str] = Counter()
        for report in self.reports:
            counts.update(report.num_rejections_by_reason)
        return dict(counts.most_common())

    def limited_by(self, num_workers: int) -> str:
        """Tell what took the workers' time."""
        times = sum((report.times for report in self.reports), StageTimes())
        return times.limited_by(self.at_s[-1] * num_workers)


def _planned_s(report: ShardReport) -> float:
    """Return the audio of a piece as a plan counts it: as long under each condition as it is clean.

    Some conditions make it shorter.
    """
    clean_s = sum(c.audio_s for c in report.commits if c.condition == CLEAN)
    return clean_s * len(report.commits)


def _measure(pieces: _Pieces, score: Score, num_workers: int, sample_s: float) -> _Round:
    """Score rounds of longer, then more pieces until one takes about `sample_s`; return that."""
    num_pieces = WARM_UP_PIECES
    num_segments = max(1, WARM_UP_SEGMENTS // pieces.num_conditions)
    for _ in range(MAX_ROUNDS):
        plan, tasks = pieces.take(num_pieces * num_workers, num_segments)
        measured = _score_round(plan, tasks, score)
        audio_s_per_s = measured.audio_s_per_s(num_workers)
        if audio_s_per_s == 0:
            reasons = ", ".join(f"{n} {r}" for r, n in measured.num_rejections_by_reason().items())
            raise ManifestError(f"no segment of the sample could be scored: {reasons or 'silent'}")
        if num_pieces > WARM_UP_PIECES and measured.at_s[-1] >= sample_s / 2:
            break
        num_segments_wanted = audio_s_per_s / num_workers * sample_s / pieces.mean_s
        num_segments = math.ceil(num_segments_wanted / PIECES_PER_WORKER)
        num_pieces = max(PIECES_PER_WORKER, round(num_segments_wanted / pieces.most_segments))
    return measured


def _score_round(plan: ShardPlan, tasks: Sequence[ShardTask], score: Score) -> _Round:
    reports, at_s, started = [], [], time.monotonic()
    for report in score(plan, tasks):
        reports.append(report)
        at_s.append(time.monotonic() - started)
    return _Round(reports=reports, at_s=at_s)
