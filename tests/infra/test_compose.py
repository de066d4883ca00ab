"""One machine's services fit together, and keep their passwords to themselves."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.demo.line import MODEL_NAME

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "infra/compose"


@pytest.fixture
def services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    return services


@pytest.fixture
def night() -> dict[str, Any]:
    night: dict[str, Any] = yaml.safe_load((FOLDER / "nightly.yaml").read_text())
    return night


def test_passwords_are_variables_that_have_to_be_set(services: dict[str, Any]) -> None:
    secret = re.compile("PASSWORD|SECRET|TOKEN$|MC_HOST")
    found = [
        str(value)
        for service in services.values()
        for name, value in service.get("environment", {}).items()
        if secret.search(name)
    ]
    assert len(found) > 5
    for value in found:
        assert re.search(r"\$\{[A-Z_]+:\?", value), value


def test_only_this_machine_reaches_the_ports(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_images_are_pinned_or_built_here(services: dict[str, Any]) -> None:
    for service in services.values():
        name, _, tag = service["image"].partition(":")
        assert tag and tag != "latest", name
        if "build" in service:
            build = service["build"]
            context = (FOLDER / build["context"]).resolve()
            assert context == ROOT
            assert (context / build["dockerfile"]).exists()


def test_buckets_are_made_for_all_that_is_read_and_written(
    services: dict[str, Any], night: dict[str, Any]
) -> None:
    (words,) = services["buckets"]["command"]
    made = set(re.findall(r"store/([a-z]+)", words))
    (corpus,) = night["corpora"]
    uris = [night["output"], corpus["source"], corpus["metadata"]]
    uris += re.findall(r"s3://\S+", " ".join(services["mlflow"]["command"]))
    assert {uri.split("/")[2] for uri in uris} == made


def test_the_night_is_that_of_the_demo(night: dict[str, Any]) -> None:
    assert night["model"] == MODEL_NAME


def test_the_night_is_a_node_of_the_ray_that_scores(services: dict[str, Any]) -> None:
    head, night = services["ray"], services["nightly"]
    assert {"--head", "--port=6379"} <= set(head["command"])
    (words,) = night["command"]
    assert words.startswith("ray start --address=ray:6379 --num-cpus=0 && exec serval nightly ")
    for service in (head, night):
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
    assert night["environment"]["RAY_ADDRESS"] == "auto"
    mount = words.split()[-1]
    assert f"./nightly.yaml:{mount}:ro" in night["volumes"]


def test_the_mlflow_is_that_of_the_constraints(services: dict[str, Any]) -> None:
    (version,) = re.findall(r"^mlflow==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert services["mlflow"]["image"].endswith(f":{version}")
