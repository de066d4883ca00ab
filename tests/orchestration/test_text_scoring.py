"""Scoring with models that read: from every kind of source, with and without transcripts."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from orchestration.committed import committed_files
from orchestration.model_actions import describe_model
from orchestration.planning import plan_run
from orchestration.registry import register_model
from orchestration.score_summary import ScoreSummary
from orchestration.scoring import score
from orchestration.segmenting import Segmenting
from orchestration.transcribing import transcribe
from pipelines.pack import pack
from ser_model import storage
from ser_model.manifest import read_manifest, write_manifest
from ser_model.models.base import EmotionModel
from ser_model.models.storage import load_model, save_model
from ser_model.schema import DIMENSIONS, ConfigError, ManifestError, RunError
from ser_model.table_files import write_table_file

WriteModel = Callable[..., str]
"""Writes a model into a folder and returns its URI."""

TRANSCRIPTS = ["so glad", "so sad", "", None, "glad " * 1000, "quite"]


@pytest.fixture
def write_model(model_that_reads: Callable[..., EmotionModel]) -> WriteModel:
    def write(folder: Path, *, hears: bool = True, missing: str = "reject") -> str:
        model = model_that_reads(TRANSCRIPTS, hears=hears, missing_transcript=missing)
        save_model(model, str(folder))
        return str(folder)

    return write


@pytest.fixture
def manifest(tmp_path: Path, write_recording: Callable[..., str]) -> str:
    rows = []
    for number, transcript in enumerate(TRANSCRIPTS):
        write_recording(tmp_path / f"{number}.wav", duration_s=0.6 + number / 10, seed=number)
        rows.append(
            {"segment_id": f"s{number}", "recording": f"{number}.wav", "transcript": transcript}
        )
    path = str(tmp_path / "manifest.parquet")
    write_manifest(path, pa.Table.from_pylist(rows))
    return path


def score_here(source: str, run: Path, model: str, **options: object) -> ScoreSummary:
    defaults = {"devices": "cpu", "local": True, "max_rejected": 1.0, "segments_per_shard": 4}
    return score(source, output=str(run), model_uri=model, **{**defaults, **options})


def rows_of(run: Path) -> tuple[dict[str, tuple[float, ...]], dict[str, tuple[str, str]]]:
    """Return the dimensions by segment, and stage and reason of each rejection."""
    files = committed_files(str(run))
    predictions = [row for f in files.predictions for row in storage.read_table(f).to_pylist()]
    rejections = [row for f in files.rejections for row in storage.read_table(f).to_pylist()]
    return (
        {row["segment_id"]: tuple(row[d] for d in DIMENSIONS) for row in predictions},
        {row["segment_id"]: (row["stage"], row["reason"]) for row in rejections},
    )


def without_transcripts(manifest: str, path: Path) -> str:
    table = read_manifest(manifest).drop_columns("transcript")
    write_manifest(str(path), table)
    return str(path)


@pytest.mark.parametrize("hears", [True, False])
def test_every_source_with_transcripts_gives_the_same_scores(
    tmp_path: Path, manifest: str, hears: bool, write_model: WriteModel
) -> None:
    model = write_model(tmp_path / "model", hears=hears)
    shards = str(tmp_path / "shards")
    pack(read_manifest(manifest), shards, segments_per_shard=2)
    audio = pa.concat_tables(
        storage.read_table(f"{shards}/{name}").select(["segment_id", "audio"])
        for name in sorted(storage.list_names(shards))
        if name.startswith("shard-")
    )
    texts = dict(
        zip(
            *(read_manifest(manifest)[c].to_pylist() for c in ("segment_id", "transcript")),
            strict=True,
        )
    )
    column = pa.array([texts[segment_id] for segment_id in audio["segment_id"].to_pylist()])
    pq.write_table(audio.append_column("transcript", column), tmp_path / "audio.parquet")
    expected, rejected = {}, {"s3": ("read", "no_transcript")}
    for number, source in enumerate((manifest, shards, str(tmp_path / "audio.parquet"))):
        summary = score_here(source, tmp_path / f"run-{number}", model)
        predictions, rejections = rows_of(tmp_path / f"run-{number}")
        assert rejections == rejected
        assert summary.num_rejections == 1
        expected = expected or predictions
        assert predictions.keys() == expected.keys() == {"s0", "s1", "s2", "s4", "s5"}
        for segment_id, values in expected.items():
            assert predictions[segment_id] == pytest.approx(values, abs=1e-5)
    assert len(set(expected.values())) == 5


def test_a_missing_transcript_can_be_an_empty_one(
    tmp_path: Path, manifest: str, write_model: WriteModel
) -> None:
    model = write_model(tmp_path / "model", missing="empty")
    score_here(manifest, tmp_path / "run", model)
    predictions, rejections = rows_of(tmp_path / "run")
    assert len(predictions) == len(TRANSCRIPTS)
    assert not rejections
    silent = without_transcripts(manifest, tmp_path / "silent.parquet")
    score_here(silent, tmp_path / "silent", model)
    assert rows_of(tmp_path / "silent")[0]["s3"] == pytest.approx(predictions["s3"], abs=1e-5)
    assert rows_of(tmp_path / "silent")[0]["s1"] != pytest.approx(predictions["s1"], abs=1e-5)


def test_a_source_without_any_transcript_is_refused_before_it_is_read(
    tmp_path: Path, manifest: str, write_model: WriteModel
) -> None:
    model = write_model(tmp_path / "model")
    silent = without_transcripts(manifest, tmp_path / "silent.parquet")
    with tarfile.open(tmp_path / "archive.tar", "w") as archive:
        archive.add(tmp_path / "0.wav", "0.wav")
    for source in (silent, str(tmp_path / "archive.tar")):
        with pytest.raises(ManifestError, match="has no transcript, and the model reads text"):
            score_here(source, tmp_path / "run", model)
        with pytest.raises(ManifestError, match="has no transcript, and the model reads text"):
            plan_run(source, model_uri=model, devices="cpu", local=True)
    with pytest.raises(ConfigError, match="leave --window and --vad out"):
        score_here(manifest, tmp_path / "run", model, segmenting=Segmenting(window_s=1.0))


def test_a_plan_is_made_for_models_that_read(
    tmp_path: Path, manifest: str, write_model: WriteModel
) -> None:
    model = write_model(tmp_path / "model")
    planned = plan_run(manifest, model_uri=model, devices="cpu", local=True, sample_s=0.1)
    assert planned.num_segments == len(TRANSCRIPTS)


def test_transcripts_decide_what_a_run_is(
    tmp_path: Path, manifest: str, write_model: WriteModel
) -> None:
    model = write_model(tmp_path / "model")
    first = score_here(manifest, tmp_path / "run", model)
    table = read_manifest(manifest)
    other = table.set_column(
        table.column_names.index("transcript"), "transcript", pa.array(["new"] * len(TRANSCRIPTS))
    )
    write_manifest(str(tmp_path / "other.parquet"), other)
    second = score_here(str(tmp_path / "other.parquet"), tmp_path / "other", model)
    assert first.content_sha256 != second.content_sha256


@pytest.mark.parametrize("packed", [False, True])
def test_transcripts_from_elsewhere_stand_in_for_those_of_the_source(
    tmp_path: Path, manifest: str, packed: bool, write_model: WriteModel
) -> None:
    model = write_model(tmp_path / "model")
    expected = score_here(manifest, tmp_path / "expected", model)
    wrong = read_manifest(manifest).drop_columns("transcript")
    wrong = wrong.append_column("transcript", pa.array(["wrong"] * len(TRANSCRIPTS)))
    source = str(tmp_path / "wrong.parquet")
    write_manifest(source, wrong)
    if packed:
        source = str(tmp_path / "shards")
        pack(wrong, source, segments_per_shard=4)
    table = read_manifest(manifest).select(["segment_id", "transcript"])
    write_table_file(str(tmp_path / "texts.parquet"), table.sort_by([("segment_id", "descending")]))
    texts = {"transcripts_uri": str(tmp_path / "texts.parquet")}
    score_here(source, tmp_path / "run", model, **texts)
    found, rejections = rows_of(tmp_path / "run")
    for segment_id, values in rows_of(tmp_path / "expected")[0].items():
        assert found[segment_id] == pytest.approx(values, abs=1e-5)
    assert rejections == {"s3": ("read", "no_transcript")}
    assert score_here(source, tmp_path / "run", model, **texts).num_scored_now == 0
    with pytest.raises(RunError, match="another source_sha256"):
        score_here(source, tmp_path / "run", model)
    if not packed:
        assert storage.read_json(str(tmp_path / "run/run.json"))["transcripts"] == str(
            tmp_path / "texts.parquet"
        )
        again = score_here(manifest, tmp_path / "again", model, **texts)
        assert again.content_sha256 == expected.content_sha256


def test_transcripts_of_a_run_are_read(
    tmp_path: Path, manifest: str, ctc_folder: Path, write_model: WriteModel
) -> None:
    silent = without_transcripts(manifest, tmp_path / "silent.parquet")
    options = {"devices": "cpu", "local": True}
    said = transcribe(silent, model_uri=str(ctc_folder), output=str(tmp_path / "said"), **options)
    assert said.num_transcripts == len(TRANSCRIPTS)
    model = write_model(tmp_path / "model", hears=False)
    score_here(silent, tmp_path / "run", model, transcripts_uri=str(tmp_path / "said"))
    predictions, rejections = rows_of(tmp_path / "run")
    assert (len(predictions), rejections) == (len(TRANSCRIPTS), {})
    assert len(set(predictions.values())) > 1, "it read different texts"


def test_transcripts_that_do_not_fit_are_refused(
    tmp_path: Path, manifest: str, write_model: WriteModel
) -> None:
    texts = {"transcripts_uri": str(tmp_path / "texts.csv")}
    write_table_file(
        texts["transcripts_uri"], pa.table({"segment_id": ["s0", "new"], "transcript": ["a", "b"]})
    )
    model = write_model(tmp_path / "model")
    with pytest.raises(ManifestError, match=r"texts.csv does not know 5 of 6 segments: 's1'"):
        score_here(manifest, tmp_path / "run", model, **texts)
    with pytest.raises(ConfigError, match="reads no text: leave --transcripts out"):
        score_here(manifest, tmp_path / "run", "random:demo", **texts)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.jsonl"])
def test_transcripts_in_another_encoding_are_refused_by_the_name_of_their_file(
    tmp_path: Path, manifest: str, name: str, write_model: WriteModel
) -> None:
    model, path = write_model(tmp_path / "model"), tmp_path / name
    lines = {
        "manifest.csv": "segment_id,recording,transcript\ns0,0.wav,s\u00e4d\n",
        "manifest.jsonl": '{"segment_id": "s0", "recording": "0.wav", "transcript": "s\u00e4d"}\n',
    }
    path.write_bytes(lines[name].encode("latin-1"))
    with pytest.raises(ManifestError, match=rf"{name}.*UTF-?8"):
        score_here(str(path), tmp_path / "run", model)


def test_a_registered_model_scores_is_described_and_is_an_mlflow_model_of_two_inputs(
    tmp_path: Path, manifest: str, mlflow_folder: Path, write_model: WriteModel
) -> None:
    import mlflow.pyfunc
    from mlflow.models import Model

    folder = write_model(tmp_path / "model")
    register_model(folder, name="reads")
    score_here(manifest, tmp_path / "run", "models:/reads/1")
    score_here(manifest, tmp_path / "from-folder", folder)
    assert rows_of(tmp_path / "run") == rows_of(tmp_path / "from-folder")
    shown = describe_model("models:/reads/1")
    assert (shown["missing_transcript"], shown["max_tokens"]) == ("reject", 32)
    stored = shown["folder"]
    assert storage.exists(f"{stored}/tokenizer.json")
    description = Model.load(stored)
    assert description.signature.inputs.input_names() == ["signal", "transcript"]
    example = description.load_input_example(stored)
    assert mlflow.pyfunc.load_model(stored).predict(example).shape == (1, 3)
    samples = np.full((2, 8_000), 0.1, dtype=np.float32)
    texts = np.array(["so glad", "so sad"], dtype=object)
    found = mlflow.pyfunc.load_model(stored).predict({"signal": samples, "transcript": texts})
    expected = load_model(folder)(
        torch.from_numpy(samples), torch.tensor([8_000, 8_000]), ["so glad", "so sad"]
    )
    assert found == pytest.approx(expected.scores.detach().numpy(), abs=1e-6)
