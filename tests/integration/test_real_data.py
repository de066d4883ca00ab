"""The tutorial's line on real recordings: a few actors of RAVDESS, and the turns of meetings."""

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from orchestration.cli import main
from ser_model import storage
from ser_model.manifest import read_manifest, write_manifest

SPLITS = {
    "train": ["Actor_01", "Actor_02", "Actor_03", "Actor_04"],
    "dev": ["Actor_05", "Actor_06"],
    "test": ["Actor_07", "Actor_08", "Actor_09", "Actor_10"],
}


@pytest.fixture
def serval(capsys: pytest.CaptureFixture[str]):
    """Runs a command that must end with 0; returns its summary."""

    def run(*words: str) -> dict:
        capsys.readouterr()
        assert main([*words, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


@pytest.mark.real_data
def test_ravdess_from_recordings_to_report(
    serval, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    counts = serval("manifest", str(real_data / "ravdess"), "--output", "all.parquet")
    assert counts["num_segments"] == 1440
    assert counts["num_speakers"] == 24
    write_manifest("manifest.parquet", a_few_actors(read_manifest("all.parquet")))

    few_epochs = ("--set", "num_epochs=2", "--set", "backbone.channels=[4,8,8,8]")
    words = ("train", "demo", "--manifest", "manifest.parquet", "--output", "model")
    serval(*words, "--target", "emotion", "--name", "actors", *few_epochs)
    serval("pack", "manifest.parquet", "--split", "test", "--output", "shards")
    scored = serval(
        "score", "shards", "--model", "models:/actors@candidate", *("--output", "run"), "--local"
    )
    num_test = 4 * 60
    assert scored["num_predictions"] + scored["num_rejections"] == num_test
    serval("audit", "run", "--metadata", "manifest.parquet", "--output", "audit", "--slice", "sex")
    serval("report", "audit")

    statistics = storage.read_table("audit/statistics.parquet")
    overall = statistics.filter(
        (pc.field("slice_by") == "") & (pc.field("metric") == "unweighted_average_recall")
    ).to_pylist()
    assert [row["num_segments"] for row in overall] == [num_test]
    assert 0 <= overall[0]["value"] <= 1
    by_sex = statistics.filter(
        (pc.field("slice_by") == "sex") & (pc.field("metric") == "unweighted_average_recall_gap")
    ).to_pylist()
    assert [row["slice"] for row in by_sex] == ["sex=female-sex=male"]
    confusion = storage.read_table("audit/confusion.parquet")
    assert pc.sum(confusion["num_segments"]).as_py() == num_test
    speakers = storage.read_table("audit/speakers.parquet")
    assert set(speakers["speaker_id"].to_pylist()) == set(SPLITS["test"])
    page = (tmp_path / "audit" / "report.html").read_text()
    assert "UAR" in page
    assert "surprise" in page


@pytest.mark.real_data
def test_overlapping_turns_of_meetings_are_scored_each_once(
    serval, real_data: Path, tmp_path: Path
) -> None:
    turns, shards, run = (str(tmp_path / name) for name in ("turns.parquet", "shards", "run"))
    assert serval("manifest", str(real_data / "meetings"), "--output", turns)["num_segments"] == 121
    serval("pack", turns, "--output", shards)
    words = ("score", shards, "--model", "random:demo?seed=0", "--output", run, "--local")
    scored = serval(*words, "--max-rejected", "1")
    assert scored["num_predictions"] + scored["num_rejections"] == 121
    exported = []
    for kind in ([], ["--rejections"]):
        file = str(tmp_path / f"rows{len(exported)}.parquet")
        serval("export", run, file, *kind)
        exported += storage.read_table(file)["segment_id"].to_pylist()
    planned = read_manifest(turns)["segment_id"].to_pylist()
    assert Counter(exported) == Counter(planned)


def a_few_actors(manifest: pa.Table) -> pa.Table:
    """Return ten of the actors, with a split column by actor."""
    split_of = {speaker: split for split, speakers in SPLITS.items() for speaker in speakers}
    manifest = manifest.filter(pc.is_in(manifest["speaker_id"], pa.array(list(split_of))))
    splits = [split_of[speaker] for speaker in manifest["speaker_id"].to_pylist()]
    return manifest.append_column("split", pa.array(splits))
