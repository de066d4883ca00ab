"""The dispatcher, on a real Ray: workers die, shards fail, and all others still get done."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from orchestration import dispatch
from orchestration.dispatch import MAX_ATTEMPTS, Dispatcher, ShardTask
from orchestration.shard_plan import ShardPlan
from ser_model.schema import CLEAN, ModelError, UnfinishedError

# Workers cannot import this module, so its classes travel to them by value.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

NUM_SHARDS = 6
TASKS = [ShardTask(number=number, condition=CLEAN) for number in range(NUM_SHARDS)]


class NumberPlan(ShardPlan):
    """A plan whose shards are their numbers."""

    def shard(self, index: int) -> int:
        return index


PLAN = NumberPlan(rows=None, first_rows=list(range(NUM_SHARDS + 1)), make_shard=None)


class FakeActor:
    """Writes down every attempt, then does what `misbehave` does; reports the shard's number."""

    def __init__(self, folder: str, misbehave: Callable[[int, int, Path], None]) -> None:
        self.folder = Path(folder)
        self.misbehave = misbehave

    def load(self) -> None:
        pass

    def score_shard(self, number: int, shard: int, condition: str, attempt: str) -> int:
        (self.folder / f"{number}.{attempt}").touch()
        num_attempts = len(list(self.folder.glob(f"{number}.*")))
        self.misbehave(number, num_attempts, self.folder)
        return shard


def die(folder: Path) -> None:
    """End the worker, once what it reported before has arrived.

    A report can get lost with its worker; the dispatcher would then blame that shard first.
    """
    attempted = {path.name.partition(".")[0] for path in folder.glob("[0-9].*")} - {"2"}
    while not all((folder / f"reported.{number}").exists() for number in attempted):
        time.sleep(0.01)
    os._exit(1)


def die_at_first_attempt(number: int, num_attempts: int, folder: Path) -> None:
    if number == 2 and num_attempts == 1:
        die(folder)


def die_always(number: int, num_attempts: int, folder: Path) -> None:
    if number == 2:
        die(folder)


def fail_at_first_attempt(number: int, num_attempts: int, folder: Path) -> None:
    if number == 2 and num_attempts == 1:
        raise OSError("503 Slow Down")


def fail_always(number: int, num_attempts: int, folder: Path) -> None:
    if number == 2:
        raise OSError("503 Slow Down")


def find_the_model_broken(number: int, num_attempts: int, folder: Path) -> None:
    raise ModelError("the model is broken")


def behave(number: int, num_attempts: int, folder: Path) -> None:
    time.sleep(0.02)


@pytest.fixture
def run_tasks(ray_cluster: None, tmp_path: Path) -> Iterator[Callable[..., Iterator[int]]]:
    actors = []

    def run(
        misbehave: Callable[[int, int, Path], None],
        num_actors: int = 1,
        actor_class: type[FakeActor] = FakeActor,
    ) -> Iterator[int]:
        remote = ray.remote(num_cpus=0, max_restarts=-1)(actor_class)
        actors.extend(remote.remote(str(tmp_path), misbehave) for _ in range(num_actors))
        for number in Dispatcher(actors, PLAN).run(TASKS):
            (tmp_path / f"reported.{number}").touch()
            yield number

    yield run
    for actor in actors:
        ray.kill(actor)


def num_attempts(folder: Path) -> list[int]:
    return [len(list(folder.glob(f"{number}.*"))) for number in range(NUM_SHARDS)]


@pytest.mark.parametrize("num_actors", [1, 2])
def test_every_shard_is_scored_once(
    run_tasks: Callable[..., Iterator[int]], tmp_path: Path, num_actors: int
) -> None:
    assert sorted(run_tasks(behave, num_actors)) == list(range(NUM_SHARDS))
    assert num_attempts(tmp_path) == [1] * NUM_SHARDS


def test_a_shard_whose_worker_died_is_scored_by_the_next(
    run_tasks: Callable[..., Iterator[int]], tmp_path: Path
) -> None:
    assert sorted(run_tasks(die_at_first_attempt)) == list(range(NUM_SHARDS))
    assert num_attempts(tmp_path)[2] == 2


def test_a_shard_that_fails_once_is_tried_again(
    run_tasks: Callable[..., Iterator[int]], tmp_path: Path
) -> None:
    assert sorted(run_tasks(fail_at_first_attempt)) == list(range(NUM_SHARDS))
    assert num_attempts(tmp_path) == [1, 1, 2, 1, 1, 1]


@pytest.mark.parametrize(
    ("misbehave", "why"), [(die_always, "death of its worker"), (fail_always, "503 Slow Down")]
)
def test_a_shard_that_always_fails_holds_up_no_other(
    run_tasks: Callable[..., Iterator[int]],
    tmp_path: Path,
    misbehave: Callable[[int, int, Path], None],
    why: str,
) -> None:
    done = []
    with pytest.raises(UnfinishedError, match=f"1 shards .* shard-00002 .*{why}.* resume"):
        for number in run_tasks(misbehave):
            done.append(number)  # noqa: PERF402  keeps what came before the error
    assert sorted(done) == [0, 1, 3, 4, 5]
    assert num_attempts(tmp_path)[2] == MAX_ATTEMPTS


class MortalActor(FakeActor):
    """Cannot load its model a second time."""

    def load(self) -> None:
        raise OSError("the model's storage is gone")


def test_a_worker_that_does_not_come_back_is_given_up(
    run_tasks: Callable[..., Iterator[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "LOAD_AGAIN_AFTER_S", 0.0)
    done = []
    with pytest.raises(UnfinishedError, match=r"no worker is left.*resume"):
        for number in run_tasks(die_always, actor_class=MortalActor):
            done.append(number)  # noqa: PERF402  keeps what came before the error
    assert done == [0, 1]


def test_broken_input_ends_the_run_at_once(
    run_tasks: Callable[..., Iterator[int]], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="the model is broken"):
        list(run_tasks(find_the_model_broken))
    assert sum(num_attempts(tmp_path)) <= 2
