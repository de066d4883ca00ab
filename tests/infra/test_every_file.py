"""Every file under infra/ is read by what would read it, or by a schema of it."""

import ast
import configparser
import json
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from orchestration.cli import build_parser
from orchestration.nights.config import read_nightly_config
from pipelines.runner import pipeline_options
from ser_model.schema import ConfigError

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
SCRIPTS = Path(sysconfig.get_path("scripts"))
KUBERNETES = "1.33.0"

# Fields of the operators' resources, KubeRay 1.6 and Flink operator 1.12: no package holds their
# schemas. What is inside of a pod template is held to the schema of Kubernetes.
RAY_CLUSTER = {
    "": "rayVersion authOptions enableInTreeAutoscaling autoscalerOptions headGroupSpec"
    " workerGroupSpecs gcsFaultToleranceOptions",
    "authOptions": "mode",
    "autoscalerOptions": "version idleTimeoutSeconds upscalingMode resources",
    "gcsFaultToleranceOptions": "redisAddress redisUsername redisPassword externalStorageNamespace",
    "headGroupSpec": "serviceType rayStartParams template",
    "workerGroupSpecs": "groupName replicas minReplicas maxReplicas numOfHosts rayStartParams"
    " template",
}
RAY_JOB = {
    "": "entrypoint submissionMode shutdownAfterJobFinishes ttlSecondsAfterFinished"
    " activeDeadlineSeconds backoffLimit submitterPodTemplate rayClusterSpec"
}
FLINK = {
    "": "image flinkVersion serviceAccount flinkConfiguration jobManager taskManager podTemplate",
    "jobManager": "replicas resource podTemplate",
    "taskManager": "replicas resource podTemplate",
}


def check_kubernetes(path: Path) -> None:
    documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
    assert documents
    for document in documents:
        match document["kind"]:
            case "RayCluster":
                assert document["apiVersion"] == "ray.io/v1"
                check_fields(document["spec"], RAY_CLUSTER)
            case "RayJob":
                assert document["apiVersion"] == "ray.io/v1"
                check_fields(document["spec"], RAY_JOB)
                check_fields(document["spec"]["rayClusterSpec"], RAY_CLUSTER)
            case "FlinkDeployment":
                assert document["apiVersion"] == "flink.apache.org/v1beta1"
                check_fields(document["spec"], FLINK)
            case _:
                kubernetes_validate.validate(document, KUBERNETES, strict=True)
        for template in pod_templates(document):
            check_pod_template(template)


def check_fields(spec: dict[str, Any], fields: dict[str, str]) -> None:
    assert spec.keys() <= set(fields[""].split())
    for name, allowed in fields.items():
        values = spec.get(name, {}) if name else {}
        for value in values if isinstance(values, list) else [values]:
            assert value.keys() <= set(allowed.split()), name


def pod_templates(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name in ("template", "podTemplate", "submitterPodTemplate"):
                yield value
            yield from pod_templates(value)
    elif isinstance(node, list):
        for value in node:
            yield from pod_templates(value)


def check_pod_template(template: dict[str, Any]) -> None:
    """Hold it to the schema, and to what is asked of every pod here."""
    resource = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "a"}}
    # An operator adds the image of a container that it starts itself.
    kubernetes_validate.validate(resource | {"template": template}, KUBERNETES, strict=True)
    for container in template["spec"]["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
        assert not container["image"].endswith(":latest")
        for variable in container.get("env", []):
            is_secret = re.search("SECRET|PASSWORD|TOKEN|WEBHOOK|KEY", variable["name"])
            assert not is_secret or "valueFrom" in variable, "secrets come by reference"


def check_merge_patch(path: Path) -> None:
    patch = yaml.safe_load(path.read_text())
    assert patch.keys() == {"spec"}
    check_fields(patch["spec"], RAY_CLUSTER)
    secret = patch["spec"]["gcsFaultToleranceOptions"]["redisPassword"]
    assert secret["valueFrom"]["secretKeyRef"]["name"], "secrets come by reference"


def check_with_schema(schema: str) -> Callable[[Path], None]:
    def check(path: Path) -> None:
        run(SCRIPTS / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", path)

    return check


def check_dockerfile(path: Path) -> None:
    run(SCRIPTS / "hadolint", path)


def check_ray_launcher(path: Path) -> None:
    validate_config(prepare_config(yaml.safe_load(path.read_text())))


def check_prometheus(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    assert config.keys() == {"global", "scrape_configs"}
    assert all(job.keys() == {"job_name", "file_sd_configs"} for job in config["scrape_configs"])


def check_beam_options(path: Path) -> None:
    words = path.read_text().split()
    known = pipeline_options(words).get_all_options(drop_default=True)
    assert {word.removeprefix("--").partition("=")[0] for word in words} <= known.keys()


def check_night(path: Path) -> None:
    assert read_nightly_config(str(path)).corpora


def check_python(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def check_ini(path: Path) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(path.read_text())
    assert parser.sections()


def check_flex_template(path: Path) -> None:
    content = json.loads(path.read_text())
    assert content.keys() == {"name", "description", "parameters"}
    for parameter in content["parameters"]:
        assert {"name", "label", "helpText"} <= parameter.keys()
        for pattern in parameter["regexes"]:
            re.compile(pattern)


def check_policy(path: Path) -> None:
    policy = json.loads(path.read_text())
    assert policy.keys() == {"Version", "Statement"}
    for statement in policy["Statement"]:
        assert {"Effect", "Action", "Resource"} <= statement.keys()


def check_systemd(path: Path) -> None:
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(path.read_text())
    sections = {".service": {"Unit", "Service"}, ".timer": {"Unit", "Timer", "Install"}}
    assert set(unit.sections()) == sections[path.suffix]


def check_page(path: Path) -> None:
    """Links lead somewhere, and every `serval` line on the page is one that the parser takes."""
    text = path.read_text()
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        assert target.startswith("https://") or (path.parent / target).exists(), target
    lines = re.sub(r" \\\n\s+", " ", text)
    for command in re.findall(r"^    (?:docker compose run --rm )?(serval [a-z].*)$", lines, re.M):
        words = command.partition(" -- ")[0].partition(" #")[0].split()[1:]
        if "..." not in words:
            build_parser().parse_args(words)


def run(*words: str | Path) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


VALIDATORS: dict[str, Callable[[Path], None]] = {
    "**/README.md": check_page,
    "**/*Dockerfile": check_dockerfile,
    "beam/*.args": check_beam_options,
    "beam/*.json": check_flex_template,
    "beam/*.yaml": check_kubernetes,
    "**/*.py": check_python,
    "compose/compose.yaml": check_with_schema("compose-spec"),
    "compose/nightly.yaml": check_night,
    "mlflow/*.ini": check_ini,
    "mlflow/*.yaml": check_kubernetes,
    "nightly/cronjob.yaml": check_kubernetes,
    "nightly/github-workflow.yaml": check_with_schema("github-workflows"),
    "nightly/systemd/serval-nightly.*": check_systemd,
    "ray/aws.yaml": check_ray_launcher,
    "ray/gcs-fault-tolerance.yaml": check_merge_patch,
    "ray/prometheus.yaml": check_prometheus,
    "ray/ray*.yaml": check_kubernetes,
    "storage/*.json": check_policy,
}
FILES = sorted(
    path for path in INFRA.rglob("*") if path.is_file() and "__pycache__" not in path.parts
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(INFRA)))
def test_it_is_valid(path: Path) -> None:
    patterns = [pattern for pattern in VALIDATORS if path in INFRA.glob(pattern)]
    assert len(patterns) == 1, f"{path} is claimed by {patterns or 'no validator'}"
    VALIDATORS[patterns[0]](path)


def test_no_validator_is_left_over() -> None:
    assert all(list(INFRA.glob(pattern)) for pattern in VALIDATORS)


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("nightly/cronjob.yaml", "concurrencyPolicy:", "concurencyPolicy:"),
        ("nightly/cronjob.yaml", "values: [1, 2, 3]", "values: all"),
        ("ray/raycluster.yaml", "groupName: scorer", "group: scorer"),
        ("ray/raycluster.yaml", "httpGet: {path", "httpPut: {path"),
        ("ray/rayjob.yaml", "shutdownAfterJobFinishes", "shutdownAfterJobFinish"),
        ("ray/rayjob.yaml", "drop: [ALL]", "drop: []"),
        ("beam/flink.yaml", "flinkVersion", "version"),
        ("beam/job-server.yaml", "targetPort: job", "target: job"),
        ("compose/compose.yaml", "healthcheck:", "healthcheque:"),
        ("compose/nightly.yaml", "corpora:", "corpus:"),
        ("nightly/github-workflow.yaml", "runs-on:", "run-on:"),
        ("docker/Dockerfile", "WORKDIR /build", "WORKDIR build"),
    ],
)
def test_a_broken_file_would_be_found(tmp_path: Path, file: str, right: str, wrong: str) -> None:
    text = (INFRA / file).read_text()
    assert right in text
    broken = tmp_path / Path(file).name
    broken.write_text(text.replace(right, wrong))
    (pattern,) = [pattern for pattern in VALIDATORS if INFRA / file in INFRA.glob(pattern)]
    with pytest.raises((AssertionError, kubernetes_validate.ValidationError, ConfigError)):
        VALIDATORS[pattern](broken)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for path in (INFRA / "nightly/systemd").iterdir():
        # What it starts has to be there, or systemd complains of that alone.
        text = path.read_text().replace("/opt/serval/bin/serval", "/bin/true")
        (tmp_path / path.name).write_text(text)
    units = sorted(tmp_path.iterdir())
    words = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "serval-nightly" not in done.stderr
