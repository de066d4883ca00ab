"""Starting actors: what is wrong with the model or the cluster shows before any shard is lost."""

import os
import signal
import sys

import pytest
import ray
import torch

from orchestration import cluster
from orchestration.cluster import start_actors
from orchestration.commits import RunIdentity
from orchestration.hardware import WorkerRange
from ser_model.schema import DIMENSIONS, ConfigError, ModelError, UnfinishedError

# Workers cannot import this module, so its classes travel to them by value.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


ONE = WorkerRange(minimum=1, maximum=1)


class BrokenSource:
    def load(self) -> None:
        raise ModelError("the model is broken")


class EmptyModel(torch.nn.Identity):
    task, targets, min_samples, padding_free = "dimensions", DIMENSIONS, 400, True
    uses_text = needs_transcript = False


class EmptySource:
    def load(self) -> EmptyModel:
        return EmptyModel()


class LostSource:
    def load(self) -> None:
        raise OSError("503 Slow Down")


@pytest.fixture
def identity() -> RunIdentity:
    return RunIdentity(
        model_uri="models:/broken/1",
        model_version="1",
        weights_sha256="abc",
        dtype="float32",
        embeddings=False,
        num_threads=1,
        source_sha256="def",
        num_segments=1,
        num_shards=1,
    )


@pytest.fixture
def arguments(identity: RunIdentity) -> dict[str, object]:
    return {
        "model": EmptySource(),
        "run_uri": "memory://unused",
        "identity": identity,
        "device": "cpu",
    }


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (BrokenSource(), ModelError, r"^the model is broken$"),
        (LostSource(), UnfinishedError, r"^a worker did not start: 503 Slow Down$"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_told_before_any_shard_is_handed_out(
    ray_cluster: None,
    arguments: dict[str, object],
    source: object,
    error: type[Exception],
    message: str,
) -> None:
    with (
        pytest.raises(error, match=message),
        start_actors({**arguments, "model": source}, ONE, "cpu"),
    ):
        pytest.fail("no actor is ready")


def test_a_cluster_without_the_device_is_refused(ray_cluster: None) -> None:
    with (
        pytest.raises(ConfigError, match=r"no place.*--workers 1:2"),
        start_actors({}, ONE, "cuda"),
    ):
        pytest.fail("there is no GPU")


def test_the_minimum_suffices_to_begin_and_more_are_asked_for_than_there_are_places(
    ray_cluster: None, arguments: dict[str, object]
) -> None:
    with start_actors(arguments, WorkerRange(minimum=1, maximum=4), "cpu") as (actors, num_ready):
        assert (len(actors), num_ready) == (4, 1)
        ready, absent = ray.wait([actor.load.remote() for actor in actors], num_returns=2)
        assert (len(ready), len(absent)) == (2, 2)  # of two places


def test_sigterm_while_workers_start_ends_the_run_tidily(
    ray_cluster: None, arguments: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(
        cluster, "_await_models", lambda actors, minimum: os.kill(os.getpid(), signal.SIGTERM)
    )
    with (
        pytest.raises(UnfinishedError, match=r"SIGTERM.*resume"),
        start_actors(arguments, ONE, "cpu"),
    ):
        pytest.fail("SIGTERM came")
    assert signal.getsignal(signal.SIGTERM) is handler
