"""Starting actors: what is wrong with the model or the cluster shows before any shard is lost."""

import sys

import pytest
import ray

from orchestration.cluster import start_actors
from orchestration.commits import RunIdentity
from ser_model.schema import ConfigError, ModelError

# Workers cannot import this module, so its classes travel to them by value.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


class BrokenSource:
    def load(self) -> None:
        raise ModelError("the model is broken")


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


def test_a_model_that_cannot_be_loaded_is_told_before_any_shard_is_handed_out(
    ray_cluster: None, identity: RunIdentity
) -> None:
    arguments = {
        "model": BrokenSource(),
        "run_uri": "memory://unused",
        "identity": identity,
        "device": "cpu",
    }
    with (
        pytest.raises(ModelError, match=r"^the model is broken$"),
        start_actors(arguments, 1, "cpu"),
    ):
        pytest.fail("no actor is ready")


def test_a_cluster_without_the_device_is_refused(ray_cluster: None) -> None:
    with pytest.raises(ConfigError, match="cuda"), start_actors({}, 1, "cuda"):
        pytest.fail("there is no GPU")
