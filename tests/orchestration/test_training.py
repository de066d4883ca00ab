from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from orchestration.registry import resolve_model
from orchestration.training import train_recipe
from orchestration.training_run import TrainSummary
from ser_model import storage
from ser_model.manifest import write_manifest
from ser_model.models.storage import load_model
from ser_model.schema import (
    ConfigError,
    ManifestError,
    ModelError,
    RunError,
    TooManyRejectedError,
)

SMALL = ("backbone.channels=[4,8]", "backbone.num_pools=2", "batch_size=8", "num_epochs=3")
NUM_SPEAKERS, SEGMENTS_EACH = 5, 6
Rows = list[dict[str, object]]


@pytest.fixture
def corpus(tmp_path: Path, write_recording: Callable[..., str]) -> Rows:
    """Five speakers, a recording each, whose loud second halves are the aroused ones."""
    rows: Rows = []
    rng = np.random.default_rng(0)
    for speaker in range(NUM_SPEAKERS):
        pieces = []
        for number in range(SEGMENTS_EACH):
            arousal = number / (SEGMENTS_EACH - 1)
            pieces.append(rng.normal(0, 0.01 + 0.1 * arousal, 12_000))
            rows.append(
                {
                    "segment_id": f"s{speaker}-{number}",
                    "recording": f"s{speaker}.wav",
                    "start_s": 0.75 * number,
                    "end_s": 0.75 * (number + 1),
                    "speaker_id": f"s{speaker}",
                    "split": ("train", "train", "train", "dev", "test")[speaker],
                    "arousal": arousal,
                    "dominance": 1 - arousal,
                    "valence": arousal / 2,
                    "emotion": "excited" if arousal > 0.5 else "calm",
                }
            )
        write_recording(tmp_path / f"s{speaker}.wav", samples=np.concatenate(pieces))
    return rows


def train_rows(folder: Path, rows: Rows, **options: object) -> TrainSummary:
    manifest = str(folder / "manifest.jsonl")
    write_manifest(manifest, pa.Table.from_pylist(rows))
    options = {"overrides": SMALL, **options}
    return train_recipe("demo", manifest, str(folder / "model"), **options)


def without(rows: Rows, *columns: str) -> Rows:
    return [{key: row[key] for key in row if key not in columns} for row in rows]


def changed(rows: Rows, at: int, **fields: object) -> Rows:
    return [{**row, **fields} if index == at else row for index, row in enumerate(rows)]


def test_a_model_is_trained_stored_and_registered(
    tmp_path: Path, corpus: Rows, mlflow_folder: Path
) -> None:
    summary = train_rows(tmp_path, corpus, name="trained")
    record = storage.read_json(str(tmp_path / "model" / "train.json"))
    assert summary.num_segments == {"train": 18, "dev": 6}
    assert not summary.resumed
    assert summary.model_uri == "models:/trained/1"
    assert resolve_model("models:/trained@candidate").weights_sha256 == summary.weights_sha256
    assert record["weights_sha256"] == summary.weights_sha256
    assert record["recipe"]["backbone"]["channels"] == [4, 8]
    assert len(record["history"]) == summary.num_epochs == 3
    assert record["history"][summary.best_epoch - 1]["dev"] == summary.dev
    assert record["num_without_truth"] == 0
    assert record["rejections"] == []


def test_parameters_and_curves_are_in_mlflow(
    tmp_path: Path, corpus: Rows, mlflow_folder: Path
) -> None:
    from orchestration.mlflow_store import open_client

    train_rows(tmp_path, corpus, name="logged")
    client = open_client()
    run_id = client.get_model_version("logged", "1").run_id
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["backbone.channels"] == "[4, 8]"
    assert run.data.params["num_segments.train"] == "18"
    assert len(run.data.tags["audio_sha256"]) == 64
    curve = client.get_metric_history(run_id, "dev.concordance_cc_arousal")
    assert [point.step for point in curve] == [1, 2, 3]


def test_the_second_time_nothing_is_trained_and_nothing_registered_twice(
    tmp_path: Path, corpus: Rows, mlflow_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train_rows(tmp_path, corpus, name="twice")
    monkeypatch.setattr("orchestration.training_run.train", None)
    again = train_rows(tmp_path, corpus, name="twice")
    assert again.resumed
    assert (again.weights_sha256, again.version) == (first.weights_sha256, "1")


def test_the_same_inputs_give_the_same_weights(tmp_path: Path, corpus: Rows) -> None:
    first = train_rows(tmp_path, corpus)
    (tmp_path / "model" / "train.json").unlink()
    again = train_rows(tmp_path, corpus)
    assert not again.resumed
    assert again.weights_sha256 == first.weights_sha256


@pytest.mark.parametrize("change", ["recipe", "manifest"])
def test_a_folder_with_another_model_is_left_alone(
    tmp_path: Path, corpus: Rows, change: str
) -> None:
    first = train_rows(tmp_path, corpus)
    rows = changed(corpus, 0, arousal=0.1) if change == "manifest" else corpus
    overrides = (*SMALL, "seed=1") if change == "recipe" else SMALL
    with pytest.raises(RunError, match=rf"trained otherwise \({change}"):
        train_rows(tmp_path, rows, overrides=overrides)
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"not those that train.json speaks of"):
        train_rows(tmp_path, corpus)
    assert first.version is None


def test_emotions_are_learned_from_the_column_emotion(tmp_path: Path, corpus: Rows) -> None:
    rows = without(corpus, "arousal", "dominance", "valence")
    summary = train_rows(tmp_path, rows, target="emotion")
    model = load_model(str(tmp_path / "model"))
    assert (model.task, model.targets) == ("emotion", ("calm", "excited"))
    assert set(summary.dev) == {"selection", "unweighted_average_recall", "accuracy", "loss"}


def test_every_row_is_used_or_counted(tmp_path: Path, corpus: Rows) -> None:
    rows = changed(corpus, 1, valence=None)
    rows = changed(rows, 2, end_s=99.0)
    summary = train_rows(tmp_path, rows)
    record = storage.read_json(str(tmp_path / "model" / "train.json"))
    assert summary.num_segments == {"train": 16, "dev": 6}
    assert (summary.num_without_truth, summary.num_rejected) == (1, 1)
    assert [(r["segment_id"], r["reason"]) for r in record["rejections"]] == [
        ("s0-2", "beyond_end")
    ]


def test_a_corpus_that_cannot_be_read_is_refused(tmp_path: Path, corpus: Rows) -> None:
    (tmp_path / "s1.wav").unlink()
    with pytest.raises(TooManyRejectedError, match=r"6 of 24 segments .* recording_not_found"):
        train_rows(tmp_path, corpus)
    assert not (tmp_path / "model").exists()


def test_segments_too_short_for_the_model_are_rejected(tmp_path: Path, corpus: Rows) -> None:
    rows = changed(corpus, 0, end_s=0.03)
    train_rows(tmp_path, rows)
    (rejection,) = storage.read_json(str(tmp_path / "model" / "train.json"))["rejections"]
    assert rejection["reason"] == "too_short"


def test_without_splits_speakers_are_kept_apart(tmp_path: Path, corpus: Rows) -> None:
    summary = train_rows(tmp_path, without(corpus, "split"))
    numbers = set(summary.num_segments.values())
    assert all(number % SEGMENTS_EACH == 0 and number > 0 for number in numbers)
    assert sum(summary.num_segments.values()) < len(corpus), "test is not trained on"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: changed(rows, 0, split="dev"), "speaker 's0' is in the splits dev and train"),
        (lambda rows: without(rows, "valence"), "no column valence, .* is --target emotion meant"),
        (
            lambda rows: [row for row in rows if row["split"] != "dev"],
            "split dev has 0 segments with truth",
        ),
        (lambda rows: without(rows, "split", "speaker_id"), "needs a column 'speaker_id'"),
    ],
)
def test_a_manifest_that_cannot_be_trained_on_is_named(
    tmp_path: Path, corpus: Rows, spoil: Callable[[Rows], Rows], message: str
) -> None:
    with pytest.raises(ManifestError, match=message):
        train_rows(tmp_path, spoil(corpus))


def test_an_emotion_that_training_never_sees_is_named(tmp_path: Path, corpus: Rows) -> None:
    rows = changed(corpus, 3 * SEGMENTS_EACH, emotion="bored")
    with pytest.raises(ManifestError, match="dev has emotions that train has not: bored"):
        train_rows(tmp_path, rows, target="emotion")


def test_a_crop_that_is_too_short_for_the_model_is_named(tmp_path: Path, corpus: Rows) -> None:
    with pytest.raises(ConfigError, match=r"recipe demo: crop_s 0.01 is shorter"):
        train_rows(tmp_path, corpus, overrides=(*SMALL, "crop_s=0.01"))
