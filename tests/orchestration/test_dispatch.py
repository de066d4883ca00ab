"""The dispatcher, on a real Ray: workers die or dawdle, shards fail, and all others get done."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray

from orchestration import dispatch, stragglers, workers
from orchestration.actors import SHARDS_IN_FLIGHT
from orchestration.dispatch import MAX_ATTEMPTS, Dispatcher
from orchestration.quarantine import MAX_TRIES
from orchestration.shard_plan import Exclusion, ShardPlan, ShardTask
from ser_model.retrying import StorageError
from ser_model.schema import CLEAN, ModelError, UnfinishedError

# Workers cannot import this module, so its classes travel to them by value.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

NUM_SHARDS = 6
TASKS = [ShardTask(number=number, conditions=(CLEAN,)) for number in range(NUM_SHARDS)]
ALL = list(range(NUM_SHARDS))


@dataclass(frozen=True)
class FakeShard:
    number: int

    @property
    def segment_ids(self) -> list[str]:
        return [f"{self.number}-{name}" for name in "abc"]


class FakePlan(ShardPlan):
    """A plan of shards with three segments each."""

    def shard(self, index: int) -> FakeShard:
        return FakeShard(index)


PLAN = FakePlan(rows=None, first_rows=[3 * n for n in range(NUM_SHARDS + 1)], make_shard=None)

Misbehave = Callable[[str, int, Path], None]
"""Does harm or not, given a segment, how often it was begun, and a folder for marks."""


class FakeActor:
    """Writes down every segment that it begins, then does to it what `misbehave` does.

    It reports the shard's number.
    """

    def __init__(self, folder: str, misbehave: Misbehave) -> None:
        self.folder = Path(folder)
        self.misbehave = misbehave

    def load(self) -> None:
        pass

    def score_shard(
        self,
        number: int,
        shard: FakeShard,
        conditions: tuple[str, ...],
        attempt: str,
        excluded: Mapping[str, Exclusion],
    ) -> int:
        with (self.folder / f"{number}.log").open("a") as log:
            told = ",".join(f"{k}:{v.reason}" for k, v in excluded.items())
            log.write(f"{attempt} {told}{_shown(conditions)}\n")
        for segment_id in shard.segment_ids:
            if segment_id not in excluded:
                self.begin(segment_id, conditions)
        return number

    def try_segment(self, shard: FakeShard, segment_id: str, conditions: tuple[str, ...]) -> None:
        with (self.folder / f"{shard.number}.log").open("a") as log:
            log.write(f"alone {segment_id}{_shown(conditions)}\n")
        self.begin(segment_id, conditions)

    def begin(self, segment_id: str, conditions: tuple[str, ...]) -> None:
        (self.folder / f"{segment_id}.{time.monotonic_ns()}").touch()
        num_times = len(list(self.folder.glob(f"{segment_id}.*")))
        self.misbehave(segment_id, num_times, self.folder)
        if "deadly" in conditions and segment_id == "2-b":
            os._exit(1)


def _shown(conditions: tuple[str, ...]) -> str:
    return "" if conditions == (CLEAN,) else f" under {'+'.join(conditions)}"


def behave(segment_id: str, num_times: int, folder: Path) -> None:
    time.sleep(0.01)


def die_once(segment_id: str, num_times: int, folder: Path) -> None:
    if segment_id == "2-b" and num_times == 1:
        os._exit(1)


def die(segment_id: str, num_times: int, folder: Path) -> None:
    if segment_id == "2-b":
        os._exit(1)


def die_in_company(segment_id: str, num_times: int, folder: Path) -> None:
    """Kill by the shard as a whole only: no segment is guilty when it is alone."""
    if segment_id == "2-c" and num_times <= len(list(folder.glob("2-a.*"))):
        alone = (folder / "2.log").read_text().splitlines()[-1].startswith("alone")
        if not alone:
            os._exit(1)


def raise_once(segment_id: str, num_times: int, folder: Path) -> None:
    if segment_id == "2-b" and num_times == 1:
        raise RuntimeError("device-side assert")


def poison_the_device(segment_id: str, num_times: int, folder: Path) -> None:
    """Fail at one segment, and from then on at every other in the same process."""
    if segment_id == "2-b":
        os.environ["POISONED"] = "1"
    if "POISONED" in os.environ:
        raise RuntimeError("illegal memory access\nand a long trace")


def lose_the_store(segment_id: str, num_times: int, folder: Path) -> None:
    if segment_id == "2-b":
        raise StorageError("503 Slow Down; run the same command again to resume")
    time.sleep(0.01)


def fill_the_disk(segment_id: str, num_times: int, folder: Path) -> None:
    if segment_id == "2-b":
        raise OSError("No space left on device")
    time.sleep(0.01)


def find_the_model_broken(segment_id: str, num_times: int, folder: Path) -> None:
    raise ModelError("the model is broken")


RunTasks = Callable[..., Iterator[int]]


@pytest.fixture
def run_tasks(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunTasks]:
    monkeypatch.setattr(dispatch, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(workers, "LOAD_AGAIN_AFTER_S", 0.1)
    actors = []

    def run(
        misbehave: Misbehave,
        num_actors: int = 1,
        actor_class: type[FakeActor] = FakeActor,
        tasks: Sequence[ShardTask] = TASKS,
    ) -> Iterator[int]:
        remote = ray.remote(num_cpus=0, max_restarts=-1, max_concurrency=SHARDS_IN_FLIGHT)(
            actor_class
        )
        actors.extend(remote.remote(str(tmp_path), misbehave) for _ in range(num_actors))
        yield from Dispatcher(actors, PLAN).run(tasks)

    yield run
    for actor in actors:
        ray.kill(actor)


def log(folder: Path, number: int) -> list[str]:
    """What was done to a shard: an attempt (with what it excluded), or a segment alone."""
    lines = (folder / f"{number}.log").read_text().splitlines()
    return [line if line.startswith("alone") else line.partition(" ")[2] for line in lines]


def drain(reports: Iterator[int], match: str) -> list[int]:
    """Return what came before the UnfinishedError."""
    done = []
    with pytest.raises(UnfinishedError, match=match):
        for number in reports:
            done.append(number)  # noqa: PERF402  keeps what came before the error
    return sorted(done)


@pytest.mark.parametrize("num_actors", [1, 2])
def test_every_shard_is_scored_once(run_tasks: RunTasks, tmp_path: Path, num_actors: int) -> None:
    assert sorted(run_tasks(behave, num_actors)) == ALL
    assert [log(tmp_path, number) for number in ALL] == [[""]] * NUM_SHARDS


def test_a_shard_whose_worker_died_is_scored_by_the_next(
    run_tasks: RunTasks, tmp_path: Path
) -> None:
    assert sorted(run_tasks(die_once)) == ALL
    assert log(tmp_path, 2) == ["", ""]


def test_a_segment_that_kills_its_worker_is_excluded_and_its_neighbours_are_blamed_once(
    run_tasks: RunTasks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert sorted(run_tasks(die)) == ALL
    attempts, alone = [""] * MAX_ATTEMPTS, "alone 2-b"
    assert log(tmp_path, 2) == [
        *attempts,
        "alone 2-a",
        *[alone] * MAX_TRIES,
        "alone 2-c",
        "2-b:killed_worker",
    ]
    for number in ALL:
        assert number == 2 or log(tmp_path, number) in ([""], ["", ""])
    assert "shard-00002 failed 3 times (at last: its worker died); trying its 3" in caplog.text
    assert "segment '2-b' failed alone: its worker died; 1 segments left to try" in caplog.text
    assert "shard-00002: all segments tried, 1 of 3 excluded (2-b)" in caplog.text


def test_of_a_shard_that_kills_under_one_condition_the_others_are_scored_whole(
    run_tasks: RunTasks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    conditions = (CLEAN, "deadly", "fade")
    tasks = [ShardTask(number=number, conditions=conditions) for number in (1, 2)]
    assert sorted(run_tasks(behave, tasks=tasks)) == [1, 2, 2, 2]
    assert "shard-00002 failed 3 times (at last: its worker died); trying its 3 cond" in caplog.text
    under = " under deadly"
    assert log(tmp_path, 2) == [
        *[" under clean+deadly+fade"] * MAX_ATTEMPTS,
        "",
        under,
        " under fade",
        *[under] * (MAX_ATTEMPTS - 1),
        f"alone 2-a{under}",
        *[f"alone 2-b{under}"] * MAX_TRIES,
        f"alone 2-c{under}",
        f"2-b:killed_worker{under}",
    ]


def test_a_shard_of_innocent_segments_is_tried_once_more_and_given_up(
    run_tasks: RunTasks, tmp_path: Path
) -> None:
    done = drain(run_tasks(die_in_company), r"1 shards .* shard-00002: its worker died.*resume")
    assert done == [0, 1, 3, 4, 5]
    alone = [f"alone 2-{name}" for name in "abc"]
    assert log(tmp_path, 2) == [*[""] * MAX_ATTEMPTS, *alone, ""]


def test_a_shard_that_fails_once_is_tried_again(run_tasks: RunTasks, tmp_path: Path) -> None:
    assert sorted(run_tasks(raise_once)) == ALL
    assert log(tmp_path, 2) == ["", ""]


def test_a_segment_that_always_fails_is_excluded_and_no_other_that_its_device_fails_after_it(
    run_tasks: RunTasks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert sorted(run_tasks(poison_the_device, num_actors=2)) == ALL
    assert log(tmp_path, 2)[-1] == "2-b:model_failed"
    assert "'2-b' failed alone: RuntimeError: illegal memory access; 1 segments" in caplog.text
    for number in ALL:
        assert number == 2 or set(log(tmp_path, number)) == {""}


@pytest.mark.parametrize(
    ("misbehave", "message"),
    [(lose_the_store, r"503 Slow Down.*resume"), (fill_the_disk, r"No space left.*resume")],
)
def test_a_store_that_is_gone_ends_the_run_at_once(
    run_tasks: RunTasks, tmp_path: Path, misbehave: Misbehave, message: str
) -> None:
    done = drain(run_tasks(misbehave), message)
    assert 2 not in done
    assert log(tmp_path, 2) == [""]


def test_broken_input_ends_the_run_at_once(run_tasks: RunTasks, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the model is broken"):
        list(run_tasks(find_the_model_broken))
    assert len(list(tmp_path.glob("*.log"))) <= SHARDS_IN_FLIGHT


class MortalActor(FakeActor):
    """Cannot load its model a second time."""

    def load(self) -> None:
        if (self.folder / "loaded").exists():
            raise OSError("the model's storage is gone")
        (self.folder / "loaded").touch()


def test_a_worker_that_does_not_come_back_is_given_up(run_tasks: RunTasks) -> None:
    done = drain(run_tasks(die, actor_class=MortalActor), r"no worker is left.*resume")
    assert 2 not in done


class LateActor(FakeActor):
    """The second of two loads its model only when the first has ended three shards."""

    def load(self) -> None:
        try:
            (self.folder / "first").touch(exist_ok=False)
        except FileExistsError:
            while not (self.folder / "2-c.begun").exists():
                time.sleep(0.01)
            (self.folder / "joined").touch()


def wait_for_the_other(segment_id: str, num_times: int, folder: Path) -> None:
    """Let the last shard end only when the other worker has joined."""
    if segment_id == "2-c":
        (folder / "2-c.begun").touch()
    while segment_id == "5-a" and not (folder / "joined").exists():
        time.sleep(0.01)


def test_workers_join_when_they_are_up(run_tasks: RunTasks, tmp_path: Path) -> None:
    reports = run_tasks(wait_for_the_other, num_actors=2, actor_class=LateActor)
    assert sorted(reports) == ALL
    assert (tmp_path / "joined").exists()


def dawdle(segment_id: str, num_times: int, folder: Path) -> None:
    """Make the first attempt at a shard last until the run has ended."""
    while segment_id == "0-a" and num_times == 1 and not (folder / "ended").exists():
        time.sleep(0.01)
    if segment_id == "0-c":
        (folder / f"0-c.ended.{num_times}").touch()


def test_a_straggler_is_given_to_an_idle_worker_too_and_not_waited_for(
    run_tasks: RunTasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stragglers, "MIN_HEDGE_S", 0.2)
    assert sorted(run_tasks(dawdle, num_actors=2)) == ALL
    # Both attempts began the shard, and one of them alone has reached its end.
    assert log(tmp_path, 0) == ["", ""]
    assert len(list(tmp_path.glob("0-a.*"))) == 2
    assert len(list(tmp_path.glob("0-c.ended.*"))) == 1
    (tmp_path / "ended").touch()


def test_a_run_without_any_worker_ends_when_its_patience_does(
    run_tasks: RunTasks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatch, "TELL_ABSENCE_AFTER_S", 0.0)
    monkeypatch.setattr(dispatch, "PATIENCE_S", 0.3)
    assert drain(run_tasks(behave, actor_class=AbsentActor), r"no worker is left.*resume") == []
    assert "no worker is up; waiting" in caplog.text


class AbsentActor(FakeActor):
    """Does not come up."""

    def load(self) -> None:
        time.sleep(3600)
