"""The workers that score or transcribe: Ray actors, or one in this process; `plan` has them too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias

from orchestration.actors import ModelSource, ScoringActor
from orchestration.augmentation import CLEAN_ALONE, Augmentation
from orchestration.commits import RunIdentity
from orchestration.hardware import Hardware
from orchestration.local import score_here
from orchestration.shard_plan import ShardPlan, ShardTask
from orchestration.shard_report import ShardReport
from orchestration.tables import Product

THREADS_PER_WORKER = 1
"""Threads of a worker's arithmetic; more workers use more cores, and change no result."""

Score: TypeAlias = Callable[[ShardPlan, Sequence[ShardTask]], Iterator[ShardReport]]


class ResolvedSource(ModelSource, Protocol):
    """A model that was found: which one, and how any process loads it."""

    @property
    def uri(self) -> str:
        """Its URI, pinned to a version."""

    @property
    def version(self) -> str:
        """Short, and unlike that of other models."""

    @property
    def weights_sha256(self) -> str:
        """Of what was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringWorkers:
    """Workers that have loaded the model.

    Attributes:
        num_workers: how many; more may join while they score, where the cluster grows.
        score: scores some shards of a plan, and yields the report of each as it is committed.
    """

    num_workers: int
    score: Score


def identify(
    model: ResolvedSource,
    plan: ShardPlan,
    hardware: Hardware,
    *,
    embeddings: bool = False,
    product: Product = "predictions",
) -> RunIdentity:
    """Return all that the rows of a run depend on."""
    return RunIdentity(
        model_uri=model.uri,
        model_version=model.version,
        weights_sha256=model.weights_sha256,
        dtype=hardware.dtype,
        embeddings=embeddings,
        num_threads=THREADS_PER_WORKER,
        source_sha256=plan.sha256(),
        num_segments=plan.num_segments,
        num_shards=plan.num_shards,
        product=product,
    )


@contextmanager
def start_workers(
    model: ResolvedSource,
    run_uri: str,
    identity: RunIdentity,
    hardware: Hardware,
    *,
    num_shards: int,
    augmentation: Augmentation = CLEAN_ALONE,
) -> Iterator[ScoringWorkers]:
    """Start workers, no more than there are shards; on leaving, end them.

    Raises:
        InputError: the model cannot be loaded, or a condition not made.
        UnfinishedError: a worker died before it was ready, or SIGTERM came.
    """
    arguments: dict[str, Any] = {
        "model": model,
        "run_uri": run_uri,
        "identity": identity,
        "device": hardware.device,
        "augmentation": augmentation,
    }
    if hardware.workers is None:
        actor = ScoringActor(**arguments)
        actor.load()
        yield ScoringWorkers(num_workers=1, score=partial(score_here, actor))
        return
    # Only here, so that --local does without Ray.
    from orchestration.cluster import start_actors
    from orchestration.dispatch import Dispatcher

    with start_actors(
        arguments,
        hardware.workers.at_most(num_shards),
        hardware.device,
        num_decoders=hardware.num_decoders,
    ) as (actors, num_ready):
        yield ScoringWorkers(
            num_workers=num_ready, score=lambda plan, tasks: Dispatcher(actors, plan).run(tasks)
        )
