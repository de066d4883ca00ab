"""Trainings of models that read: transcripts from the manifest, and encoders trained before."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from orchestration.training import train_recipe
from orchestration.training_record import TrainSummary
from ser_model import storage
from ser_model.manifest import write_manifest
from ser_model.models.storage import load_model, weights_sha256
from ser_model.schema import ManifestError, ModelError, RunError, TooManyRejectedError
from ser_model.table_files import write_table_file

TEXT = (
    *("pretrained=null", "hidden_size=16", "num_hidden_layers=1", "num_attention_heads=2"),
    *("intermediate_size=16", "vocab_size=120", "max_position_embeddings=16", "max_tokens=16"),
)
SMALL = ("batch_size=8", "num_epochs=2", "num_seeds=1", "seed=3")
READS = (*SMALL, *(f"backbone.{field}" for field in TEXT))
HEARS_AND_READS = (
    *(*SMALL, "backbone.channels=[4,8]", "backbone.num_pools=2", "head.num_hidden=8"),
    *(f"fusion.text.{field}" for field in TEXT),
)
Rows = list[dict[str, object]]


@pytest.fixture
def corpus(tmp_path: Path, write_recording: Callable[..., str]) -> Rows:
    """Four speakers, who say what they feel."""
    rows: Rows = []
    rng = np.random.default_rng(0)
    for speaker in range(4):
        write_recording(tmp_path / f"s{speaker}.wav", samples=rng.normal(0, 0.1, 64_000))
        for number in range(8):
            valence = number / 7
            rows.append(
                {
                    "segment_id": f"s{speaker}-{number}",
                    "recording": f"s{speaker}.wav",
                    "start_s": 0.5 * number,
                    "end_s": 0.5 * (number + 1),
                    "speaker_id": f"s{speaker}",
                    "split": ("train", "train", "dev", "test")[speaker],
                    "arousal": 1 - valence,
                    "dominance": valence / 2,
                    "valence": valence,
                    "transcript": "glad " * number + "sad" * (7 - number),
                }
            )
    return rows


def train(folder: Path, rows: Rows, recipe: str, *overrides: str, **options: str) -> TrainSummary:
    manifest = str(folder / "manifest.parquet")
    write_manifest(manifest, pa.Table.from_pylist(rows))
    output = str(folder / options.pop("output", "model"))
    summary = train_recipe(recipe, manifest, output, overrides=overrides, **options)
    assert isinstance(summary, TrainSummary)
    return summary


def changed(rows: Rows, at: int, **fields: object) -> Rows:
    return [{**row, **fields} if index == at else row for index, row in enumerate(rows)]


def test_a_text_model_is_trained_and_knows_the_words_of_its_training(
    tmp_path: Path, corpus: Rows
) -> None:
    summary = train(tmp_path, corpus, "triantafyllopoulos/bert", *READS)
    model = load_model(str(tmp_path / "model"))
    assert summary.weights_sha256 == weights_sha256(model)
    vocabulary = model.text.tokeniser.data.decode()
    assert '"glad"' in vocabulary
    assert '"sadsad"' in vocabulary
    record = storage.read_json(str(tmp_path / "model" / "train.json"))
    assert record["recipe"]["backbone"]["missing_transcript"] == "reject"


@pytest.mark.parametrize("name", ["bert", "mfcnn14"])
def test_a_row_without_transcript_is_rejected_or_empty_as_the_recipe_says(
    tmp_path: Path, corpus: Rows, name: str
) -> None:
    rows, overrides = changed(corpus, 0, transcript=None), READS
    if name == "mfcnn14":
        overrides = HEARS_AND_READS
    train(tmp_path, rows, f"triantafyllopoulos/{name}", *overrides)
    record = storage.read_json(str(tmp_path / "model" / "train.json"))
    (rejection,) = record["rejections"]
    assert (rejection["segment_id"], rejection["stage"]) == ("s0-0", "read")
    assert rejection["reason"] == "no_transcript"
    place = "backbone" if name == "bert" else "fusion.text"
    overrides = (*overrides, f"{place}.missing_transcript=empty")
    train(tmp_path, rows, f"triantafyllopoulos/{name}", *overrides, output="lenient")
    record = storage.read_json(str(tmp_path / "lenient" / "train.json"))
    assert record["rejections"] == []
    assert record["num_segments"]["train"] == 16


def test_a_manifest_without_transcripts_is_refused_by_a_clear_line(
    tmp_path: Path, corpus: Rows
) -> None:
    without = [{k: v for k, v in row.items() if k != "transcript"} for row in corpus]
    with pytest.raises(ManifestError, match="no transcript in a column 'transcript'"):
        train(tmp_path, without, "triantafyllopoulos/bert", *READS)
    few = [{**row, "transcript": None if index % 5 else ""} for index, row in enumerate(corpus)]
    with pytest.raises(TooManyRejectedError, match="19 times no_transcript"):
        train(tmp_path, few, "triantafyllopoulos/bert", *READS)


def test_transcripts_from_elsewhere_are_trained_with_and_known(
    tmp_path: Path, corpus: Rows
) -> None:
    expected = train(tmp_path, corpus, "triantafyllopoulos/bert", *READS, output="expected")
    wrong = [{**row, "transcript": "wrong"} for row in corpus]
    texts = {"transcripts_uri": str(tmp_path / "texts.csv")}
    columns = {name: [row[name] for row in corpus] for name in ("segment_id", "transcript")}
    write_table_file(texts["transcripts_uri"], pa.table(columns))
    found = train(tmp_path, wrong, "triantafyllopoulos/bert", *READS, **texts)
    assert found.weights_sha256 == expected.weights_sha256
    assert train(tmp_path, wrong, "triantafyllopoulos/bert", *READS, **texts).resumed
    columns["transcript"][0] = "something else"
    write_table_file(texts["transcripts_uri"], pa.table(columns))
    with pytest.raises(RunError, match="another"):
        train(tmp_path, wrong, "triantafyllopoulos/bert", *READS, **texts)
    write_table_file(texts["transcripts_uri"], pa.table(columns).slice(1))
    with pytest.raises(ManifestError, match=r"does not know 1 of 32 segments: 's0-0'"):
        train(tmp_path, wrong, "triantafyllopoulos/bert", *READS, **texts, output="other")


def test_frozen_encoders_are_those_of_models_that_were_trained_before(
    tmp_path: Path, corpus: Rows, mlflow_folder: Path
) -> None:
    train(tmp_path, corpus, "triantafyllopoulos/bert", *READS, output="tuned", name="tuned")
    begin = [o for o in HEARS_AND_READS if "pretrained" not in o and "vocab" not in o]
    begin += ["fusion.text.vocab_size=120", "fusion.text.pretrained=models:/tuned@candidate"]
    train(tmp_path, corpus, "triantafyllopoulos/sfcnn14", *begin, output="fused")
    tuned, fused = (load_model(str(tmp_path / name)) for name in ("tuned", "fused"))
    for name, weight in tuned.text.transformer.state_dict().items():
        assert torch.equal(fused.text.transformer.state_dict()[name], weight)
    assert fused.text.tokeniser.data == tuned.text.tokeniser.data
    assert fused.config.text.revision == weights_sha256(tuned)
    assert train(tmp_path, corpus, "triantafyllopoulos/sfcnn14", *begin, output="fused").resumed
    begin[-1] = "fusion.text.pretrained=models:/tuned/7"
    with pytest.raises(ModelError, match="no model models:/tuned/7"):
        train(tmp_path, corpus, "triantafyllopoulos/sfcnn14", *begin, output="other")
