"""Options for Beam's runners are ones that Beam knows, and a job server runs the audit alike."""

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from apache_beam.transforms import environments

from orchestration.auditing import audit_runs
from orchestration.cli import build_parser
from pipelines.runner import pipeline_options
from ser_model.schema import DIMENSIONS

ROOT = Path(__file__).resolve().parents[2]
BEAM = ROOT / "infra" / "beam"
FILES = sorted(BEAM.glob("*.args"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_beam_knows_every_option(path: Path) -> None:
    words = path.read_text().split()
    known = pipeline_options(words).get_all_options(drop_default=True)
    assert {word.removeprefix("--").partition("=")[0] for word in words} <= known.keys()
    assert known["runner"] in words[0]
    assert "FnApiRunner" not in known["runner"]


def test_a_misspelt_option_would_be_found() -> None:
    assert "paralelism" not in pipeline_options(["--paralelism=3"]).get_all_options()


def test_the_readme_names_every_file() -> None:
    text = (BEAM / "README.md").read_text()
    assert len(FILES) == 4
    assert set(re.findall(r"`([a-z-]+\.args)`", text)) == {path.name for path in FILES}


def test_the_image_copies_what_is_there() -> None:
    sources = re.findall(r"^COPY (.+) \S+$", (BEAM / "Dockerfile").read_text(), re.MULTILINE)
    assert sources
    for source in " ".join(sources).split():
        assert (ROOT / source).exists()


def options(name: str) -> dict[str, object]:
    known: dict[str, object] = pipeline_options((BEAM / name).read_text().split()).get_all_options()
    return known


def test_flinks_options_are_those_of_its_cluster() -> None:
    cluster = yaml.safe_load((BEAM / "flink.yaml").read_text())
    spec, known = cluster["spec"], options("flink.args")
    assert known["flink_master"] == f"{cluster['metadata']['name']}-rest:8081"
    assert spec["flinkVersion"] == f"v{known['flink_version']}".replace(".", "_")
    assert spec["image"].startswith(f"flink:{known['flink_version']}-")
    slots = int(spec["flinkConfiguration"]["taskmanager.numberOfTaskSlots"])
    assert known["parallelism"] == slots * spec["taskManager"]["replicas"]
    (pool,) = spec["taskManager"]["podTemplate"]["spec"]["containers"]
    assert pool["args"] == ["--worker_pool"]
    (port,) = pool["ports"]
    assert known["environment_config"] == f"localhost:{port['containerPort']}"


def test_the_job_server_stands_before_the_same_cluster() -> None:
    deployment, service = yaml.safe_load_all((BEAM / "job-server.yaml").read_text())
    flink, known = options("flink.args"), options("job-server.args")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    words = dict(word.removeprefix("--").split("=") for word in container["args"])
    assert words["flink-master"] == flink["flink_master"]
    for name in ("parallelism", "environment_type", "environment_config"):
        assert known[name] == flink[name]
    host, ports = service["metadata"]["name"], {p["name"]: p for p in service["spec"]["ports"]}
    for name in ("job", "artifact"):
        assert known[f"{name}_endpoint"] == f"{host}:{ports[name]['port']}"
        assert int(words[f"{name}-port"]) == ports[name]["port"]
    (beam,) = re.findall(
        r"^apache-beam==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE
    )
    version = flink["flink_version"]
    assert container["image"] == f"apache/beam_flink{version}_job_server:{beam}"


def test_the_job_server_has_no_files_to_pass_on() -> None:
    """It would keep them in its own pod, where workers cannot fetch them."""
    words = (BEAM / "job-server.args").read_text().split()
    assert not environments.python_sdk_dependencies(pipeline_options(words))
    experiment = "--experiments=disable_logging_submission_environment"
    words.remove(experiment)
    assert environments.python_sdk_dependencies(pipeline_options(words))


def test_the_flex_template_asks_for_what_its_program_takes() -> None:
    spec = importlib.util.spec_from_file_location("template", BEAM / "dataflow_template.py")
    assert spec is not None and spec.loader is not None
    template = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(template)
    given = {"runs": "gs://r/a gs://r/b", "metadata": "gs://m", "audit": "gs://a"}
    given["slices"] = "sex sex,accent"
    parameters = json.loads((BEAM / "dataflow-template.json").read_text())["parameters"]
    assert [parameter["name"] for parameter in parameters] == list(given)
    for parameter in parameters:
        (pattern,) = parameter["regexes"]
        assert re.match(pattern, given[parameter["name"]])
    beam_options = ["--runner=DataflowRunner", "--region=europe-west1"]
    words = template.audit_words([*(f"--{k}={v}" for k, v in given.items()), *beam_options])
    dashes = words.index("--")
    args = build_parser().parse_args(words[:dashes])
    assert args.runs == ["gs://r/a", "gs://r/b"]
    assert args.slice == ["sex", "sex,accent"]
    assert (args.metadata, args.output) == ("gs://m", "gs://a")
    assert words[dashes + 1 :] == beam_options


def write_corpus(folder: Path) -> tuple[str, str]:
    random = np.random.default_rng(0)
    ids = [f"segment {number}" for number in range(400)]
    truth = {dimension: random.uniform(0, 1, 400) for dimension in DIMENSIONS}
    predicted = {name: np.clip(v + random.normal(0, 0.1, 400), 0, 1) for name, v in truth.items()}
    metadata = {"segment_id": ids, "speaker_id": [f"s{n % 20}" for n in range(400)], **truth}
    metadata["sex"] = [("female", "male")[n % 2] for n in range(400)]
    uris = (str(folder / "predictions.parquet"), str(folder / "metadata.parquet"))
    pq.write_table(pa.table({"segment_id": ids, **predicted}), uris[0])
    pq.write_table(pa.table(metadata), uris[1])
    return uris


def hashes(output: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in output.glob("*.parquet")
    }


@pytest.mark.slow
def test_a_job_server_runs_the_audit_to_the_same_bytes(tmp_path: Path) -> None:
    """The protocol that Flink, Spark and Dataflow are spoken to in, workers and all."""
    predictions, metadata = write_corpus(tmp_path)
    audit_runs([predictions], metadata, str(tmp_path / "here"), num_replicates=50)
    command = [sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main"]
    command += ["--port_file", str(tmp_path / "port"), "--port", "0"]
    server = subprocess.Popen(command)
    try:
        while not (tmp_path / "port").exists() and server.poll() is None:
            time.sleep(0.1)
        port = (tmp_path / "port").read_text().strip()
        options = ["--runner=PortableRunner", f"--job_endpoint=localhost:{port}"]
        options += ["--environment_type=LOOPBACK", f"--temp_location={tmp_path}/temporary"]
        audit_runs(
            [predictions],
            metadata,
            str(tmp_path / "there"),
            num_replicates=50,
            beam_options=options,
        )
    finally:
        server.terminate()
        server.wait()
    assert hashes(tmp_path / "there") == hashes(tmp_path / "here")
