"""Ray: started where there is none, with one scoring actor a core or GPU, and ended again."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from orchestration.actors import SHARDS_IN_FLIGHT
from orchestration.decoding import SEGMENTS_PER_PART
from orchestration.hardware import WorkerRange
from orchestration.logs import current_config
from orchestration.ray_actor import RayScoringActor
from orchestration.stopping import sigterm_as_unfinished
from orchestration.workers import ActorHandle, raise_if_input
from ser_model.schema import ConfigError, UnfinishedError

logger = logging.getLogger(__name__)

OBJECT_STORE_BYTES = 100_000_000
"""Only shard descriptors and counts pass through Ray, so its default (30 % of memory) is waste."""

PART_BYTES = SEGMENTS_PER_PART * 10 * 16_000 * 4
"""With --decoders audio passes too: 20 MB a part, if its segments last 10 s (float32, 16 kHz)."""

WAIT_LINE_EVERY_S = 30.0


@contextmanager
def start_actors(
    arguments: Mapping[str, Any],
    workers: WorkerRange,
    device: str,
    *,
    num_decoders: int = 0,
) -> Iterator[tuple[list[ActorHandle], int]]:
    """Start scoring actors; on leaving, end them, and Ray too where it was started here.

    It waits until the minimum of them has loaded the model; the others join when they are up.
    Yields all of them, and how many it waited for.

    A Ray that runs already in this process is used as it is, and RAY_ADDRESS, Ray's own variable,
    names a cluster; else Ray is started on this machine alone.

    Args:
        arguments: those of ScoringActor.
        workers: how many actors.
        device: "cuda" gives each actor a GPU.
        num_decoders: parts of a shard that Ray tasks read for an actor at a time; 0 for none.

    Raises:
        InputError: the model cannot be loaded.
        UnfinishedError: an actor died before it was ready, or SIGTERM came.
    """
    started_here = not ray.is_initialized()
    if started_here:
        _start_ray(workers.maximum, num_decoders)
    is_ours = started_here and not os.environ.get("RAY_ADDRESS")
    actors: list[ActorHandle] = []
    try:
        # Ray has set a handler of its own.
        with sigterm_as_unfinished(), _no_ray_on_stdout():
            num_places = _count_places(device)
            if num_decoders and device == "cpu":
                num_places -= 1  # or no decoder ever gets a core
            workers = _fit(workers, num_places, is_ours=is_ours)
            remote_actor = ray.remote(RayScoringActor).options(
                num_cpus=1,
                num_gpus=1 if device == "cuda" else 0,
                max_concurrency=SHARDS_IN_FLIGHT,
                max_restarts=-1,
                # The dispatcher repeats a shard itself, under the name of a new attempt.
                max_task_retries=0,
            )
            arguments = {
                **arguments,
                "log_config": current_config(),
                "num_decoders": num_decoders,
            }
            actors += [remote_actor.remote(**arguments) for _ in range(workers.maximum)]
            _await_models(actors, workers.minimum)
            yield actors, workers.minimum
    finally:
        if started_here:
            with _no_ray_on_stdout():
                ray.shutdown()
        else:
            for actor in actors:
                ray.kill(actor)


def _no_ray_on_stdout() -> AbstractContextManager[object]:
    """Keep stdout for --json: Ray tells there who has died, and at its end the rest of it."""
    return redirect_stdout(sys.stderr)


def _start_ray(num_workers: int, num_decoders: int) -> None:
    # Under `uv run` Ray would start every worker through uv; ours run in this environment as it is.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
        return
    num_decoding = min(num_workers * num_decoders, len(os.sched_getaffinity(0)))
    ray.init(
        num_cpus=num_workers + num_decoding,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=_object_store_bytes(num_workers, num_decoders),
    )


def _object_store_bytes(num_workers: int, num_decoders: int) -> int:
    """Return the size of the object store: of each shard in flight, the parts in flight.

    What does not fit is put on disk by Ray, which is slow and right; so it need not be more than a
    quarter of the memory.

    >>> _object_store_bytes(num_workers=8, num_decoders=0)
    100000000
    """
    audio_bytes = num_workers * SHARDS_IN_FLIGHT * num_decoders * PART_BYTES
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return OBJECT_STORE_BYTES + min(audio_bytes, memory_bytes // 4)


def _count_places(device: str) -> int:
    """Return how many actors there is room for at present."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's
    return int(resources.get("GPU" if device == "cuda" else "CPU", 0))


def _fit(workers: WorkerRange, num_places: int, *, is_ours: bool) -> WorkerRange:
    """Return how many actors to ask for and to wait for.

    A Ray that we started cannot grow, so an actor without a place there would never start. Another
    cluster may grow, and does so because it is asked. Who names a minimum wants to wait for it;
    who names a mere number wants to begin with the places that there are.

    >>> _fit(WorkerRange(minimum=2, maximum=8), num_places=4, is_ours=True)
    WorkerRange(minimum=2, maximum=4)
    >>> _fit(WorkerRange(minimum=2, maximum=8), num_places=0, is_ours=False)
    WorkerRange(minimum=2, maximum=8)
    >>> _fit(WorkerRange(minimum=8, maximum=8), num_places=4, is_ours=False)
    WorkerRange(minimum=4, maximum=8)
    """
    if workers.minimum < workers.maximum and not is_ours:
        return workers
    if num_places == 0:
        raise ConfigError(
            "the Ray cluster has no place for a worker with this --devices; if it can grow, name "
            f"a range: --workers 1:{max(workers.maximum, 2)}"
        )
    if is_ours:
        return workers.at_most(num_places)
    return WorkerRange(minimum=min(workers.minimum, num_places), maximum=workers.maximum)


def _await_models(actors: Sequence[ActorHandle], minimum: int) -> None:
    """Let all actors load the model, and wait for the first ones."""
    waiting = [actor.load.remote() for actor in actors]
    num_missing = minimum
    try:
        while num_missing:
            ready, waiting = ray.wait(waiting, num_returns=num_missing, timeout=WAIT_LINE_EVERY_S)
            ray.get(ready)
            num_missing -= len(ready)
            if num_missing:
                logger.info("waiting for %d of %d workers to start", num_missing, minimum)
    except RayTaskError as error:
        raise_if_input(error)
        raise UnfinishedError(f"a worker did not start: {error.cause}") from error
    except RayError as error:
        raise UnfinishedError(f"a worker did not start: {error}") from error
