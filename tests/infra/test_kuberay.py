"""Ray's autoscaler reads the Kubernetes manifests as it would read them on a cluster."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr as read_by_the_autoscaler,
)

from orchestration.cli import build_parser

ROOT = Path(__file__).resolve().parents[2]
RAY = ROOT / "infra/ray"


@pytest.fixture
def cluster() -> dict[str, Any]:
    cluster: dict[str, Any] = yaml.safe_load((RAY / "raycluster.yaml").read_text())
    return cluster


@pytest.fixture
def job() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load((RAY / "rayjob.yaml").read_text())
    return job


def test_the_autoscaler_finds_the_groups_of_the_launcher_file(cluster: dict[str, Any]) -> None:
    """Raises where Ray cannot tell a group's CPUs, memory or GPUs."""
    for group in cluster["spec"]["workerGroupSpecs"]:
        group["replicas"] = group["minReplicas"]  # as the API server does
    cluster["metadata"]["namespace"] = "default"
    types = read_by_the_autoscaler(cluster)["available_node_types"]
    launcher = yaml.safe_load((RAY / "aws.yaml").read_text())["available_node_types"]
    assert types.keys() == {"headgroup", "scorer", "decoder"}
    assert types["headgroup"]["resources"]["CPU"] == 0
    assert types["scorer"]["resources"]["GPU"] == 1
    assert "GPU" not in types["decoder"]["resources"]
    for name in ("scorer", "decoder"):
        for bound in ("min_workers", "max_workers"):
            assert types[name][bound] == launcher[name][bound]
        # Kubernetes keeps some of a node for itself.
        assert 0 < types[name]["resources"]["CPU"] < launcher[name]["resources"]["CPU"]


def test_a_group_without_cpus_would_be_found(cluster: dict[str, Any]) -> None:
    cluster["metadata"]["namespace"] = "default"
    decoder = cluster["spec"]["workerGroupSpecs"][1]
    del decoder["template"]["spec"]["containers"][0]["resources"]
    with pytest.raises(ValueError, match="CPU"):
        read_by_the_autoscaler(cluster)


def test_the_job_brings_the_cluster_that_stays_otherwise(
    cluster: dict[str, Any], job: dict[str, Any]
) -> None:
    assert job["spec"]["rayClusterSpec"] == cluster["spec"]
    assert job["spec"]["shutdownAfterJobFinishes"] is True


def test_the_job_runs_a_command_that_the_parser_takes(
    cluster: dict[str, Any], job: dict[str, Any]
) -> None:
    name, *words = shlex.split(job["spec"]["entrypoint"])
    assert name == "serval"
    args = build_parser().parse_args(words)
    (scorer,) = [g for g in cluster["spec"]["workerGroupSpecs"] if g["groupName"] == "scorer"]
    assert str(args.workers) == f"1:{scorer['maxReplicas']}"


def test_the_ray_is_that_of_the_constraints_and_asks_for_the_token(
    cluster: dict[str, Any],
) -> None:
    (version,) = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert cluster["spec"]["rayVersion"] == version
    assert cluster["spec"]["authOptions"] == {"mode": "token"}
    assert cluster["spec"]["autoscalerOptions"]["version"] == "v2"


def test_workers_may_be_spot_and_gpus_have_the_image_for_them(cluster: dict[str, Any]) -> None:
    for group in cluster["spec"]["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        keys = {toleration["key"] for toleration in pod["tolerations"]}
        assert {"cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority"} <= keys
        (container,) = pod["containers"]
        has_gpu = "nvidia.com/gpu" in container["resources"]["limits"]
        assert container["image"].endswith("-cuda" if has_gpu else "-cpu")
        assert ("nvidia.com/gpu" in keys) == has_gpu
