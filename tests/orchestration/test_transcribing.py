"""Transcribing a corpus: who transcribes what, exactly once, and how right it is."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from huggingface_hub import constants

from orchestration.cli import main
from orchestration.committed import committed_files, content_hash
from orchestration.found_runs import find_run
from orchestration.score_summary import TranscribeSummary
from orchestration.transcriber_uris import resolve_transcriber
from orchestration.transcribing import transcribe
from ser_model import storage
from ser_model.manifest import write_manifest
from ser_model.models.transcriber import load_transcriber
from ser_model.schema import MANIFEST, ConfigError, ModelError, RunError, TooManyRejectedError

TEXTS = ("as it was", None, "", None)


@pytest.fixture
def manifest(tmp_path: Path, write_recording: Callable[..., str]) -> str:
    """Four segments, of which two have transcripts, and one without audio."""
    rows = []
    for number, text in enumerate(TEXTS):
        write_recording(tmp_path / f"{number}.wav", duration_s=0.5 + number / 4, seed=number)
        rows.append({"segment_id": f"s{number}", "recording": f"{number}.wav", "transcript": text})
    rows.append({"segment_id": "gone", "recording": "gone.wav", "transcript": "who knows"})
    write_manifest(str(tmp_path / "manifest.parquet"), pa.Table.from_pylist(rows))
    return str(tmp_path / "manifest.parquet")


def run(manifest: str, folder: Path, output: object, **options: object) -> TranscribeSummary:
    return transcribe(
        manifest,
        **{
            "model_uri": str(folder),
            "output": str(output),
            "devices": "cpu",
            "local": True,
            "max_rejected": 0.5,
            **options,
        },
    )


def rows_of(output: object) -> dict[str, dict[str, object]]:
    uris = committed_files(str(output), product="transcripts").predictions
    rows = [row for uri in uris for row in storage.read_table(uri).to_pylist()]
    assert len({row["segment_id"] for row in rows}) == len(rows)
    return {row["segment_id"]: row for row in rows}


def test_only_what_has_no_transcript_is_transcribed(
    manifest: str, ctc_folder: Path, tmp_path: Path
) -> None:
    summary = run(manifest, ctc_folder, tmp_path / "run")
    assert (summary.num_transcripts, summary.num_rejections) == (4, 1)
    assert summary.num_by_transcriber == {str(ctc_folder): 2, MANIFEST: 2}
    assert summary.num_rejections_by_reason == {"recording_not_found": 1}
    assert summary.word_errors is None
    rows = rows_of(tmp_path / "run")
    for number, text in enumerate(TEXTS):
        row = rows[f"s{number}"]
        assert row["transcriber"] == (str(ctc_folder) if text is None else MANIFEST)
        assert row["duration_s"] == pytest.approx(0.5 + number / 4)
        assert row["model_uri"] == str(ctc_folder)
        assert row["weights_sha256"] == load_transcriber(str(ctc_folder)).weights_sha256
        if text is not None:
            assert row["transcript"] == text
    about = storage.read_json(str(tmp_path / "run" / "run.json"))
    assert about["counts"]["num_by_transcriber"] == {str(ctc_folder): 2, MANIFEST: 2}
    assert about["identity"]["product"] == "transcripts"
    again = run(manifest, ctc_folder, tmp_path / "run")
    assert (again.num_scored_now, again.content_sha256) == (0, summary.content_sha256)
    assert content_hash(str(tmp_path / "run")) == summary.content_sha256


@pytest.mark.parametrize("kind", ["ctc", "whisper"])
def test_replacing_transcribes_all_and_tells_how_right_it_is(
    request: pytest.FixtureRequest, manifest: str, tmp_path: Path, kind: str
) -> None:
    folder = request.getfixturevalue(f"{kind}_folder")
    summary = run(manifest, folder, tmp_path / "run", replace=True)
    assert summary.num_by_transcriber == {str(folder): 4}
    rows = rows_of(tmp_path / "run")
    words = {name: str(rows[name]["transcript"]).split() for name in ("s0", "s2")}
    (errors,) = summary.word_errors.values()
    assert (errors.num_texts, errors.num_words) == (2, 3), "one has no words, one was rejected"
    num_surplus = sum(map(len, words.values())) - 3
    assert errors.num_insertions - errors.num_deletions == num_surplus
    assert errors.word_error_rate > 0, "random weights know no English"
    with pytest.raises(RunError, match="another source_sha256"):
        run(manifest, folder, tmp_path / "run")


def test_one_and_two_workers_write_the_same(
    manifest: str, ctc_folder: Path, tmp_path: Path
) -> None:
    local = run(manifest, ctc_folder, tmp_path / "local", segments_per_shard=1)
    ray = run(
        manifest,
        ctc_folder,
        tmp_path / "ray",
        segments_per_shard=1,
        local=False,
        num_workers=2,
        num_decoders=0,
    )
    assert ray.num_workers == 2
    assert content_hash(str(tmp_path / "ray")) == content_hash(str(tmp_path / "local"))
    assert ray.content_sha256 == local.content_sha256


def test_a_model_of_the_hub_is_pinned_to_its_commit(
    ctc_writer: Callable[..., Path],
    ctc_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--org--hears"
    norms = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
    ctc_writer(repository / "snapshots" / commit, **norms)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    model = resolve_transcriber("hf:org/hears")
    assert (model.uri, model.version) == (f"hf:org/hears@{commit}", f"org/hears@{commit[:12]}")
    assert model.load().weights_sha256 == model.weights_sha256
    assert model.weights_sha256 == resolve_transcriber(str(ctc_folder)).weights_sha256
    vocabulary = repository / "snapshots" / commit / "vocab.json"
    vocabulary.write_text(vocabulary.read_text().replace("'", "Z"))
    with pytest.raises(ModelError, match="have changed since they were resolved"):
        model.load()


def test_audio_that_cannot_be_transcribed_is_rejected(
    ctc_folder: Path, tmp_path: Path, write_recording: Callable[..., str]
) -> None:
    silence = np.zeros(16_000)
    write_recording(tmp_path / "silent.wav", samples=silence)
    write_recording(tmp_path / "short.wav", samples=silence[:399])
    write_recording(tmp_path / "long.wav", duration_s=3.0)
    (tmp_path / "text.wav").write_text("no audio")
    names = ("silent", "short", "long", "text")
    rows = [{"segment_id": name, "recording": f"{name}.wav"} for name in names]
    write_manifest(str(tmp_path / "m.csv"), pa.Table.from_pylist(rows))
    options = {"max_segment_s": 2.0, "max_rejected": 0.75}
    summary = run(str(tmp_path / "m.csv"), ctc_folder, tmp_path / "run", **options)
    assert list(rows_of(tmp_path / "run")) == ["silent"]
    assert summary.num_rejections_by_reason == {"not_audio": 1, "too_long": 1, "too_short": 1}
    with pytest.raises(TooManyRejectedError, match="3 of 4 segments were rejected"):
        run(str(tmp_path / "m.csv"), ctc_folder, tmp_path / "run", max_segment_s=2.0)


def test_what_cannot_be_used_is_refused(
    manifest: str,
    hub_folder: Callable[..., Path],
    ctc_folder: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(ModelError, match="is no model that transcribes"):
        run(manifest, hub_folder(tmp_path / "emotion"), tmp_path / "run")
    for uri in ("models:/demo@champion", "random:demo", "nowhere"):
        with pytest.raises(ModelError, match=r"no model that transcribes at .*hf:ORG/NAME"):
            run(manifest, Path(uri), tmp_path / "run", model_uri=uri)
    with pytest.raises(ConfigError, match="--max-rejected"):
        run(manifest, ctc_folder, tmp_path / "run", max_rejected=2.0)
    assert not (tmp_path / "run").exists()


def test_a_run_of_transcripts_is_no_run_of_predictions(
    manifest: str, ctc_folder: Path, tmp_path: Path
) -> None:
    run(manifest, ctc_folder, tmp_path / "run")
    with pytest.raises(RunError, match=r"holds transcripts .*, not predictions"):
        find_run(str(tmp_path / "run"))


def test_the_command_tells_who_transcribed_and_the_run_is_exported(
    manifest: str, ctc_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "run")
    words = ["transcribe", manifest, "--model", str(ctc_folder), "--output", output, "--local"]
    assert main(words) == 3, "a fifth of the segments has no audio"
    words += ["--max-rejected", "0.2"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "4 transcripts" in text and "2 by manifest" in text and "nothing was left" in text
    replaced = [*words, "--replace", "--json"]
    replaced[replaced.index(output)] = str(tmp_path / "replaced")
    assert main(replaced) == 0
    data = json.loads(capsys.readouterr().out)
    (errors,) = data["word_errors"].values()
    assert errors["num_words"] == 3 and errors["word_error_rate"] > 0
    assert errors["normalisation"] == "lower case, punctuation removed"
    assert main([*replaced[:-1], "--log-level", "error"]) == 0
    assert "word error rate of" in capsys.readouterr().out
    file = str(tmp_path / "out.csv")
    assert main(["export", output, file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "transcripts"
    assert Path(file).read_text().startswith('"segment_id","condition","transcript","transcriber"')
    assert main(["export", output, str(tmp_path / "no.csv"), "--rejections"]) == 0
    assert "recording_not_found" in (tmp_path / "no.csv").read_text()
