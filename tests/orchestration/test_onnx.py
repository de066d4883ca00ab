"""Exporting a model to ONNX by its URI, and scoring with the file by its own."""

import argparse
import hashlib
from collections.abc import Callable
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
from ser_model.models.base import EmotionModel
from ser_model.models.storage import save_model
from ser_model.schema import DIMENSIONS, ModelError

MODEL = "random:demo?seed=3"
TRANSCRIPTS = ["so glad", "", "glad " * 1000, None, "so it is"]


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


def rejections_of(run: str) -> list[tuple[str, str]]:
    rows = [
        row for f in committed_files(run).rejections for row in storage.read_table(f).to_pylist()
    ]
    return sorted((row["segment_id"], row["reason"]) for row in rows)


@pytest.fixture
def manifest(tmp_path: Path, write_recording: Callable[..., str]) -> str:
    rows = []
    for number, transcript in enumerate(TRANSCRIPTS):
        write_recording(str(tmp_path / f"{number}.wav"), duration_s=1.0 + number / 2, seed=number)
        rows.append(
            {"segment_id": f"{number}", "recording": f"{number}.wav", "transcript": transcript}
        )
    path = str(tmp_path / "manifest.jsonl")
    write_manifest(path, pa.Table.from_pylist(rows))
    return path


def assert_same_scores(manifest: str, model: str, file: Path, folder: Path) -> list[str]:
    """Score with a model and with its file; return the segments that have scores."""
    tables = {}
    for name, uri in {"torch": model, "onnx": f"onnx:{file}"}.items():
        run = str(folder / name)
        score(manifest, model_uri=uri, output=run, devices="cpu", local=True, max_rejected=1.0)
        tables[name] = scores_of(run)
    assert rejections_of(str(folder / "onnx")) == rejections_of(str(folder / "torch"))
    assert tables["onnx"]["segment_id"] == tables["torch"]["segment_id"]
    for dimension in DIMENSIONS:
        differences = pc.abs(pc.subtract(tables["torch"][dimension], tables["onnx"][dimension]))
        assert pc.max(differences).as_py() < 1e-4
        assert pc.stddev(tables["onnx"][dimension]).as_py() > 1e-3
    return tables["onnx"]["segment_id"].to_pylist()


def test_a_file_scores_a_corpus_as_its_model(file: Path, tmp_path: Path, manifest: str) -> None:
    segments = assert_same_scores(manifest, MODEL, file, tmp_path)
    assert segments == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("hears", "missing"),
    [(False, "reject"), pytest.param(True, "empty", marks=pytest.mark.slow)],
)
def test_a_file_that_reads_scores_a_corpus_by_itself(
    tmp_path: Path,
    manifest: str,
    model_that_reads: Callable[..., EmotionModel],
    hears: bool,
    missing: str,
) -> None:
    model = str(tmp_path / "model")
    save_model(model_that_reads(TRANSCRIPTS, hears=hears, missing_transcript=missing), model)
    file = tmp_path / "reads.onnx"
    exported = export_model(model, str(file))
    assert (exported.uses_text, exported.needs_transcript) == (True, missing == "reject")
    segments = assert_same_scores(manifest, model, file, tmp_path)
    assert segments == (["0", "1", "2", "4"] if missing == "reject" else ["0", "1", "2", "3", "4"])
