"""Ray: started where there is none, with one scoring actor a core or GPU, and ended again."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import ray
from ray.exceptions import RayError, RayTaskError

from orchestration.logs import current_config
from orchestration.ray_actor import RayScoringActor
from ser_model.schema import ConfigError, InputError, UnfinishedError

logger = logging.getLogger(__name__)

OBJECT_STORE_BYTES = 100_000_000
"""Only shard descriptors and counts pass through Ray, so its default (30 % of memory) is waste."""

WAIT_LINE_EVERY_S = 30.0

ActorHandle: TypeAlias = Any
"""Ray's handle of an actor, which has no useful static type."""


@contextmanager
def start_actors(
    arguments: Mapping[str, Any], num_workers: int, device: str
) -> Iterator[list[ActorHandle]]:
    """Start scoring actors; on leaving, end them, and Ray too where it was started here.

    A Ray that runs already in this process is used as it is, and RAY_ADDRESS, Ray's own variable,
    names a cluster; else Ray is started on this machine alone.

    Args:
        arguments: those of ScoringActor.
        num_workers: how many actors.
        device: "cuda" gives each actor a GPU.

    Raises:
        InputError: the model cannot be loaded.
        UnfinishedError: an actor died before it was ready.
    """
    started_here = not ray.is_initialized()
    if started_here:
        _start_ray(num_workers)
    num_workers = min(num_workers, _count_places(device))
    actors: list[ActorHandle] = []
    try:
        remote_actor = ray.remote(
            num_cpus=1,
            num_gpus=1 if device == "cuda" else 0,
            max_restarts=-1,
            # The dispatcher repeats a shard itself, under the name of a new attempt.
            max_task_retries=0,
        )(RayScoringActor)
        arguments = {**arguments, "log_config": current_config()}
        actors += [remote_actor.remote(**arguments) for _ in range(num_workers)]
        _load_models(actors)
        yield actors
    finally:
        if started_here:
            ray.shutdown()
        else:
            for actor in actors:
                ray.kill(actor)


def _start_ray(num_workers: int) -> None:
    # Under `uv run` Ray would start every worker through uv; ours run in this environment as it is.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
        return
    ray.init(
        num_cpus=num_workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=OBJECT_STORE_BYTES,
    )


def _count_places(device: str) -> int:
    """Return how many actors there is room for; one more would wait for its start forever."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's
    num_places = int(resources.get("GPU" if device == "cuda" else "CPU", 0))
    if num_places == 0:
        raise ConfigError(f"the Ray cluster has no {device} to score on")
    return num_places


def _load_models(actors: Sequence[ActorHandle]) -> None:
    waiting = [actor.load.remote() for actor in actors]
    try:
        while waiting:
            ready, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=WAIT_LINE_EVERY_S)
            ray.get(ready)
            if waiting:
                logger.info("waiting for %d of %d workers to start", len(waiting), len(actors))
    except RayError as error:
        if isinstance(error, RayTaskError) and isinstance(error.cause, InputError):
            raise error.cause from error
        raise UnfinishedError(f"a worker did not start: {error}") from error
