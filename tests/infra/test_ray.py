"""The cluster file is one that this version of Ray takes, and it fits the repository."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray._private import ray_constants
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "infra" / "ray" / "aws.yaml"


@pytest.fixture
def cluster() -> dict[str, Any]:
    """The file as Ray reads it: checked by its schema, completed by its defaults."""
    config: dict[str, Any] = prepare_config(yaml.safe_load(CLUSTER.read_text()))
    validate_config(config)
    return config


def test_ray_takes_the_file(cluster: dict[str, Any]) -> None:
    assert cluster["head_node_type"] == "head"
    assert cluster["available_node_types"]["head"]["max_workers"] == 0


def test_ray_refuses_a_misspelt_word() -> None:
    config = yaml.safe_load(CLUSTER.read_text()) | {"idle_timeout_hours": 5}
    with pytest.raises(Exception, match="idle_timeout_hours"):
        validate_config(prepare_config(config))


def test_nothing_is_left_to_fill_in() -> None:
    assert not re.search(r"YOUR|CHANGE|TODO|XXX|<[a-z -]+>", CLUSTER.read_text())


def test_all_nodes_run_the_ray_of_the_constraints(cluster: dict[str, Any]) -> None:
    (version,) = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    nodes = cluster["available_node_types"].values()
    images = [cluster["docker"]["head_image"], cluster["docker"]["worker_image"]]
    images += [node["docker"]["worker_image"] for node in nodes if "docker" in node]
    assert len(images) == 3
    for image in images:
        assert image.startswith(f"rayproject/ray:{version}-py311-")


def test_the_head_scores_nothing_and_workers_may_be_none(cluster: dict[str, Any]) -> None:
    types = cluster["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    for name in ("scorer", "decoder"):
        assert types[name]["min_workers"] == 0
        assert types[name]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert types["scorer"]["resources"]["GPU"] == 1
    assert "GPU" not in types["decoder"]["resources"]
    most = sum(node["max_workers"] for node in types.values())
    assert cluster["max_workers"] == most


def test_what_is_copied_to_the_nodes_is_there(cluster: dict[str, Any]) -> None:
    mounts = cluster["file_mounts"]
    assert mounts.pop("/home/ray/.ray/auth_token") == "~/.ray/auth_token"
    assert mounts.pop("/home/ray/serval/dist") == "dist"  # `python -m build` makes it
    for source in mounts.values():
        assert (ROOT / source).exists()


def test_nobody_without_the_token_can_run_code(cluster: dict[str, Any]) -> None:
    assert "--env RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]


def test_prometheus_reads_the_list_that_ray_writes_and_the_port_is_fixed(
    cluster: dict[str, Any],
) -> None:
    config = yaml.safe_load((ROOT / "infra" / "ray" / "prometheus.yaml").read_text())
    (file,) = config["scrape_configs"][0]["file_sd_configs"][0]["files"]
    assert file == f"/tmp/ray/{ray_constants.PROMETHEUS_SERVICE_DISCOVERY_FILE}"
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert "--metrics-export-port=8080" in cluster[commands][-1]


def test_the_page_names_every_metric() -> None:
    page = (ROOT / "infra" / "ray" / "README.md").read_text()
    names = re.findall(r'"(serval_[a-z_]+)"', (ROOT / "orchestration/telemetry.py").read_text())
    assert len(names) == 6
    for name in names:
        assert f"`ray_{name}" in page
