"""What a run would take, before it is started: audio, shards, hours, cost. Nothing is kept.

plan_shards -> measure_durations -> measure_speed -> a schedule of the shards over the workers
"""

from __future__ import annotations

import heapq
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestration.augmentation import resolve_augmentation
from orchestration.durations import measure_durations
from orchestration.hardware import choose_hardware
from orchestration.model_uris import resolve_model
from orchestration.shards import SEGMENTS_PER_SHARD, check_transcripts, plan_shards
from orchestration.speed import measure_speed
from ser_model import storage
from ser_model.models.onnx_model import ONNX_SCHEME
from ser_model.schema import MAX_SEGMENT_S, ConfigError, ManifestError, UnfinishedError

SAMPLE_S = 15.0
"""Long enough that pieces of shards differ little, short enough to wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What a run would take.

    Attributes:
        source: what would be scored.
        model_uri: the model, pinned to a version.
        conditions: that each segment would be scored under.
        num_segments: in the source.
        audio_h: hours of audio that can be scored, under each condition.
        audio_error_h: half the width of its 95 % interval; 0 where all lengths are known.
        num_headers: headers and shards that were opened to know them.
        num_unreadable: segments, of those looked at, without readable audio.
        num_too_long: segments, of those looked at, that would be rejected as too long.
        num_shards: units of work and of commit.
        segments_per_shard: the smallest, the median and the largest shard.
        device: "cpu" or "cuda".
        dtype: what the arithmetic would run in.
        num_workers: that would score; each has a device (a GPU, or a core).
        num_workers_measured: that were measured at once; further ones are taken to be as fast.
        times_real_time: seconds of audio that one worker scores in a second, beside the others;
            every condition counts as long as the clean audio.
        relative_error: half the width of its 95 % interval, as a part of it.
        limited_by: what takes the time.
        num_sampled: segments that were scored to measure it.
        num_rejections_by_reason: those of them that were rejected.
        startup_s: from the command to the first shard.
        wall_h: hours of the whole run.
        device_h: `wall_h` times `num_workers`: what is held, idle at the end or not.
        cost: `device_h` times the price; None without a price.
    """

    source: str
    model_uri: str
    conditions: tuple[str, ...]
    num_segments: int
    audio_h: float
    audio_error_h: float
    num_headers: int
    num_unreadable: int
    num_too_long: int
    num_shards: int
    segments_per_shard: tuple[int, float, int]
    device: str
    dtype: str
    num_workers: int
    num_workers_measured: int
    times_real_time: float
    relative_error: float
    limited_by: str
    num_sampled: int
    num_rejections_by_reason: Mapping[str, int]
    startup_s: float
    wall_h: float
    device_h: float
    cost: float | None


def plan_run(
    source_uri: str,
    *,
    model_uri: str,
    split: str | None = None,
    devices: str = "auto",
    num_workers: int | str | None = None,
    num_decoders: int = 0,
    dtype: str = "auto",
    local: bool = False,
    price_per_hour: float | None = None,
    sample_s: float = SAMPLE_S,
    segments_per_shard: int = SEGMENTS_PER_SHARD,
    max_segment_s: float = MAX_SEGMENT_S,
    conditions: Sequence[str] = (),
    noise_uri: str | None = None,
    seed: int = 0,
) -> RunPlan:
    """Tell what `scoring.score` with the same arguments would take.

    Args:
        source_uri: as for `score`, like all arguments that are not explained here.
        model_uri: likewise.
        split: likewise.
        devices: likewise.
        num_workers: likewise; of a range, the minimum is measured and the maximum planned for.
        num_decoders: likewise.
        dtype: likewise.
        local: likewise.
        price_per_hour: of one device: a GPU, or a core; None where no cost is wanted.
        sample_s: about how long to score, to measure the speed.
        segments_per_shard: as for `score`.
        max_segment_s: as for `score`.
        conditions: likewise.
        noise_uri: likewise.
        seed: likewise.

    Raises:
        InputError: source, model or an option cannot be used, or nothing of the sample is audio.
        UnfinishedError: the storage does not answer, or workers died.
    """
    started = time.monotonic()
    if not sample_s > 0:
        raise ConfigError(f"--sample-s {sample_s:g} is not a positive number of seconds")
    if price_per_hour is not None and not price_per_hour >= 0:
        raise ConfigError(f"--price-per-hour {price_per_hour:g} is negative")
    hardware = choose_hardware(
        devices,
        num_workers,
        dtype,
        local=local,
        num_decoders=num_decoders,
        float32_only=model_uri.startswith(ONNX_SCHEME),
    )
    source = storage.absolute(source_uri)
    try:
        augmentation = resolve_augmentation(conditions, noise_uri=noise_uri, seed=seed)
        model = resolve_model(model_uri)
        plan = plan_shards(
            source,
            split=split,
            segments_per_shard=segments_per_shard,
            max_segment_s=max_segment_s,
            transcripts=model.uses_text,
        )
        if model.needs_transcript:
            check_transcripts(source, plan)
        planned_s = time.monotonic() - started
        durations = measure_durations(plan)
        if durations.total_s == 0:
            raise ManifestError(f"{source}: no segment has audio that could be scored")
        measured = measure_speed(
            plan,
            durations,
            model=model,
            hardware=hardware,
            sample_s=sample_s,
            augmentation=augmentation,
        )
    except OSError as error:
        raise UnfinishedError(f"{error}: run the same command again") from error
    worker_speed = measured.audio_s_per_s / measured.num_workers
    workers = min(max(hardware.num_workers, 1), plan.num_shards)
    num_conditions = len(augmentation.names)
    shards_s = (
        audio_s * num_conditions / worker_speed for audio_s in durations.of_shards(plan).tolist()
    )
    wall_h = (planned_s + measured.startup_s + makespan_s(shards_s, workers)) / 3600
    sizes = [plan.num_segments_of(number) for number in range(plan.num_shards)]
    return RunPlan(
        source=source_uri,
        model_uri=model.uri,
        conditions=augmentation.names,
        num_segments=plan.num_segments,
        audio_h=durations.total_s / 3600,
        audio_error_h=durations.total_error_s / 3600,
        num_headers=durations.num_headers,
        num_unreadable=durations.num_unreadable,
        num_too_long=durations.num_too_long,
        num_shards=plan.num_shards,
        segments_per_shard=(min(sizes), statistics.median(sizes), max(sizes)),
        device=hardware.device,
        dtype=hardware.dtype,
        num_workers=workers,
        num_workers_measured=measured.num_workers,
        times_real_time=worker_speed,
        relative_error=measured.relative_error,
        limited_by=measured.limited_by,
        num_sampled=measured.num_segments,
        num_rejections_by_reason=measured.num_rejections_by_reason,
        startup_s=planned_s + measured.startup_s,
        wall_h=wall_h,
        device_h=wall_h * workers,
        cost=None if price_per_hour is None else wall_h * workers * price_per_hour,
    )


def makespan_s(shards_s: Iterable[float], num_workers: int) -> float:
    """Return when the last shard ends, if each goes to the worker that is free first.

    Args:
        shards_s: how long each shard takes, in the order in which they are handed out.
        num_workers: at least 1.

    >>> makespan_s([3.0, 1.0, 1.0, 4.0], 2)
    6.0
    """
    free_at_s = [0.0] * num_workers
    for shard_s in shards_s:
        heapq.heapreplace(free_at_s, free_at_s[0] + shard_s)
    return max(free_at_s)
