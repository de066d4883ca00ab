"""Several processes that train one model: Ray starts them, torch.distributed lets them speak.

Each has a CPU core, or a GPU of its own. All read inputs from the same file, so they run on one
machine, or share a folder.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ser_model.schema import UnfinishedError
from ser_model.training.checkpoint import Checkpoints, Evaluation
from ser_model.training.examples import Example
from ser_model.training.recipe import Recipe

POLL_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What each worker is told.

    Attributes:
        recipe: how.
        targets: of the model.
        train_set: its inputs may be in a file that all workers can read.
        dev_set: likewise.
        checkpoints: where the trained weights come out.
        device: "cpu" or "cuda".
    """

    recipe: Recipe
    targets: Sequence[str]
    train_set: Sequence[Example]
    dev_set: Sequence[Example]
    checkpoints: Checkpoints
    device: str


class TrainingWorker:
    """One of the processes; an ordinary class that Ray wraps."""

    def address(self) -> str:
        """Return where the others can meet this one."""
        host = socket.gethostbyname(socket.gethostname())
        with socket.socket() as probe:
            probe.bind((host, 0))
            return f"tcp://{host}:{probe.getsockname()[1]}"

    def train(self, job: Job, rank: int, count: int, address: str) -> None:
        """Train with the others to the end."""
        import torch.distributed as dist

        from ser_model.training.loop import new_model, train
        from ser_model.training.workers import Workers

        backend = "nccl" if job.device == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=address, rank=rank, world_size=count)
        try:
            train(
                job.recipe,
                new_model(job.recipe, job.targets, job.train_set),
                job.train_set,
                job.dev_set,
                checkpoints=job.checkpoints,
                workers=Workers(rank=rank, count=count),
                device=job.device,
            )
        finally:
            dist.destroy_process_group()


def train_on_workers(
    job: Job, num_workers: int, on_evaluation: Callable[[Evaluation], None]
) -> None:
    """Train with several workers; the result is the last checkpoint of the job.

    Args:
        job: what to train.
        num_workers: at least two.
        on_evaluation: called in this process for each look at dev, once it is in a checkpoint.

    Raises:
        ValueError: as `ser_model.training.loop.train`.
        UnfinishedError: a worker died; the checkpoint stays.
    """
    import ray

    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    actor: Any = ray.remote(TrainingWorker)
    needs = {"num_gpus": 1} if job.device == "cuda" else {"num_cpus": 1}
    actors = [actor.options(**needs).remote() for _ in range(num_workers)]
    try:
        address = ray.get(actors[0].address.remote())
        shared = ray.put(job)
        running = [
            worker.train.remote(shared, rank, num_workers, address)
            for rank, worker in enumerate(actors)
        ]
        num_seen = len(job.checkpoints.history())
        while running:
            done, running = ray.wait(running, timeout=POLL_S)
            ray.get(done)
            history = job.checkpoints.history()
            for evaluation in history[num_seen:]:
                on_evaluation(evaluation)
            num_seen = len(history)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ValueError):
            raise ValueError(str(error.cause)) from error
        raise
    except ray.exceptions.RayActorError as error:
        raise UnfinishedError(
            "a training worker died; run the same command again to resume from the last checkpoint"
        ) from error
    finally:
        for worker in actors:
            ray.kill(worker)
