"""Exporting a model to ONNX by its URI, and scoring with the file by its own."""

import argparse
import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from orchestration.commands import models
from orchestration.committed import committed_files
from orchestration.model_actions import describe_model, export_model
from orchestration.model_uris import resolve_model
from orchestration.scoring import score
from ser_model import storage
from ser_model.manifest import write_manifest
from ser_model.schema import DIMENSIONS, ModelError

MODEL = "random:demo?seed=3"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "demo.onnx"
    parser = argparse.ArgumentParser()
    models.add_arguments(parser)
    summary = models.run(parser.parse_args(["export", MODEL, "--onnx", str(path)]))
    assert summary.data["model_uri"] == f"onnx:{path}"
    return path


def test_a_file_is_found_pinned_and_described(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(file.parent)
    resolved = resolve_model("onnx:demo.onnx")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (resolved.uri, resolved.weights_sha256) == (f"onnx:{file}", sha256)
    assert describe_model(f"onnx:{file}")["targets"] == list(DIMENSIONS)
    with pytest.raises(ModelError, match="is an ONNX file already"):
        export_model(f"onnx:{file}", str(tmp_path / "again.onnx"))


def test_a_file_that_changed_since_it_was_found_is_refused(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(file.read_bytes())
    resolved = resolve_model(f"onnx:{copy}")
    # A field that no reader knows: the graph is the same, the file is another.
    copy.write_bytes(file.read_bytes() + b"\xfa\x3f\x01x")
    with pytest.raises(ModelError, match="have changed"):
        resolved.load()


def scores_of(run: str) -> pa.Table:
    tables = [storage.read_table(uri) for uri in committed_files(run).predictions]
    table = pa.concat_tables(tables).sort_by("segment_id")
    return table.select(["segment_id", *DIMENSIONS])


def test_a_file_scores_a_corpus_as_its_model(file: Path, tmp_path: Path, write_recording) -> None:
    rows = []
    for number in range(4):
        write_recording(str(tmp_path / f"{number}.wav"), duration_s=1.0 + number / 2, seed=number)
        rows.append({"segment_id": str(number), "recording": f"{number}.wav"})
    manifest = str(tmp_path / "manifest.jsonl")
    write_manifest(manifest, pa.Table.from_pylist(rows))
    tables = {}
    for name, uri in {"torch": MODEL, "onnx": f"onnx:{file}"}.items():
        output = str(tmp_path / name)
        score(manifest, model_uri=uri, output=output, devices="cpu", local=True)
        tables[name] = scores_of(output)
    assert tables["onnx"]["segment_id"].to_pylist() == ["0", "1", "2", "3"]
    for dimension in DIMENSIONS:
        differences = pc.abs(pc.subtract(tables["torch"][dimension], tables["onnx"][dimension]))
        assert pc.max(differences).as_py() < 1e-4
