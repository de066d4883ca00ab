import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from orchestration.model_actions import describe_model
from orchestration.model_uris import resolve_model
from orchestration.training import SeriesSummary, train_recipe
from orchestration.training_record import TrainSummary
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
    summary = train_any(folder, rows, **options)
    assert isinstance(summary, TrainSummary)
    return summary


def train_series(folder: Path, rows: Rows, *overrides: str, **options: object) -> SeriesSummary:
    summary = train_any(folder, rows, overrides=(*SMALL, *overrides), **options)
    assert isinstance(summary, SeriesSummary)
    return summary


def train_any(folder: Path, rows: Rows, **options: object) -> TrainSummary | SeriesSummary:
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
    times = [line["elapsed_s"] for line in record["history"]]
    assert 0.0 < times[0] < times[1] < times[2]
    assert len(record["machines"]) == 1
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


def read_record(tmp_path: Path, *parts: str) -> dict[str, Any]:
    return storage.read_json(str(tmp_path.joinpath("model", *parts)))


def test_seeds_are_trained_one_after_the_other(
    tmp_path: Path, corpus: Rows, mlflow_folder: Path
) -> None:
    summary = train_series(tmp_path, corpus, "num_seeds=2", "seed=3", name="seeds")
    names = [Path(training.output).name for training in summary.trainings]
    assert names == ["seed-3", "seed-4"]
    values = [training.dev["selection"] for training in summary.trainings]
    assert len(set(values)) == 2
    assert summary.dev["selection"]["mean"] == pytest.approx(np.mean(values))
    assert summary.dev["selection"]["std"] == pytest.approx(np.std(values, ddof=1))
    best = summary.trainings[int(np.argmax(values))]
    assert summary.best == best.output
    resolved = resolve_model("models:/seeds@candidate")
    assert (resolved.uri, resolved.weights_sha256) == (summary.model_uri, best.weights_sha256)
    assert read_record(tmp_path, "series.json")["dev"] == summary.dev

    from orchestration.mlflow_store import PARENT_TAG, open_client

    client = open_client()
    parent = read_record(tmp_path, "mlflow.json")["run_id"]
    for seed in ("seed-3", "seed-4"):
        run = client.get_run(read_record(tmp_path, seed, "mlflow.json")["run_id"])
        assert run.data.tags[PARENT_TAG] == parent
        assert run.info.status == "FINISHED"
    logged = client.get_run(parent).data.metrics
    assert logged["dev.selection.std"] == pytest.approx(summary.dev["selection"]["std"])


def test_folds_test_every_segment_once(tmp_path: Path, corpus: Rows) -> None:
    rows = without(corpus, "split")
    summary = train_series(tmp_path, rows, "data.fold_by=speaker_id", target="emotion")
    assert len(summary.trainings) == NUM_SPEAKERS
    assert all(t.num_segments == {"train": 18, "dev": 6, "test": 6} for t in summary.trainings)
    predictions = storage.read_table(str(tmp_path / "model" / "test.parquet"))
    assert sorted(predictions["segment_id"].to_pylist()) == [row["segment_id"] for row in corpus]
    truth = {row["segment_id"]: row["emotion"] for row in corpus}
    right = [
        row["emotion"] == truth[row["segment_id"]]
        for row in predictions.select(["segment_id", "emotion"]).to_pylist()
    ]
    assert summary.pooled is not None
    assert summary.pooled["accuracy"]["mean"] == pytest.approx(np.mean(right))
    assert read_record(tmp_path, "fold-02", "train.json")["held_out"] == ["s1"]
    again = train_series(tmp_path, rows, "data.fold_by=speaker_id", target="emotion")
    assert all(training.resumed for training in again.trainings)
    assert again.pooled == summary.pooled


def test_a_part_of_the_data_is_a_part_of_train_alone(tmp_path: Path, corpus: Rows) -> None:
    summary = train_rows(tmp_path, corpus, overrides=(*SMALL, "data.fraction=0.5"))
    assert summary.num_segments == {"train": 9, "dev": 6}


def test_gavalis_protocol_says_that_speakers_overlap(tmp_path: Path, corpus: Rows) -> None:
    overrides = (*SMALL, "data.split=random-80-20", "data.predict_test=true")
    summary = train_rows(tmp_path, corpus, overrides=overrides)
    assert summary.num_segments == {"train": 24, "dev": 6, "test": 6}
    assert summary.test is not None
    assert summary.test["concordance_cc"] == pytest.approx(summary.dev["concordance_cc"], abs=1e-5)
    assert read_record(tmp_path, "train.json")["speakers_overlap"] is True


def test_an_overlap_is_taken_where_it_is_asked_for(tmp_path: Path, corpus: Rows) -> None:
    rows = changed(corpus, 0, split="dev")
    train_rows(tmp_path, rows, overrides=(*SMALL, "data.split=as-given"))
    assert read_record(tmp_path, "train.json")["speakers_overlap"] is True


def test_one_dimension_is_learned_alone(tmp_path: Path, corpus: Rows) -> None:
    overrides = (*SMALL, "task=arousal", "loss.one_dimension=mean_squared_error")
    summary = train_rows(tmp_path, corpus, overrides=(*overrides, "data.predict_test=true"))
    assert set(summary.dev) == {"selection", "concordance_cc_arousal", "loss"}
    predictions = storage.read_table(str(tmp_path / "model" / "test.parquet"))
    assert predictions["valence"].null_count == len(predictions) == 6
    assert predictions["arousal"].null_count == 0


def test_what_stopped_half_way_goes_on(
    tmp_path: Path, corpus: Rows, mlflow_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestration.mlflow_store import open_client
    from orchestration.training_log import TrainingLog
    from ser_model.training.checkpoint import Evaluation

    # Whoever edits the code while the tests run is refused as well, and rightly so.
    monkeypatch.setattr("orchestration.training_options.code_sha256", lambda: "this code")
    expected = train_rows(tmp_path, corpus)
    shutil.rmtree(tmp_path / "model")
    log = TrainingLog.log

    def stop_at_the_second(self: TrainingLog, line: Evaluation, *, by_step: bool) -> None:
        if line.epoch == 2:
            raise KeyboardInterrupt
        log(self, line, by_step=by_step)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingLog, "log", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            train_rows(tmp_path, corpus, name="stopped")
    client = open_client()
    run_id = read_record(tmp_path, "mlflow.json")["run_id"]
    assert [p.step for p in client.get_metric_history(run_id, "loss")] == [1], "curves are live"
    assert client.get_run(run_id).info.status == "RUNNING"
    with pytest.raises(RunError, match=r"begun otherwise \(recipe differ\)"):
        train_rows(tmp_path, corpus, overrides=(*SMALL, "seed=9"))
    with monkeypatch.context() as patch:
        patch.setattr("torch.get_num_threads", lambda: 99)
        with pytest.raises(RunError, match=r"begun otherwise \(num_threads differ\)"):
            train_rows(tmp_path, corpus)
    summary = train_rows(tmp_path, corpus, name="stopped")
    assert summary.weights_sha256 == expected.weights_sha256
    assert [p.step for p in client.get_metric_history(run_id, "loss")] == [1, 2, 3]
    assert client.get_run(run_id).info.status == "FINISHED"
    assert not (tmp_path / "model" / "checkpoint").exists()


def test_mlflow_has_all_that_the_model_was_made_of(
    tmp_path: Path, corpus: Rows, mlflow_folder: Path
) -> None:
    from orchestration.mlflow_store import open_client

    train_rows(tmp_path, corpus, name="files", target="emotion")
    client = open_client()
    run_id = client.get_model_version("files", "1").run_id
    files = {entry.path for entry in client.list_artifacts(run_id)}
    assert files == {
        "train.json",
        "recipe.yaml",
        "environment.json",
        "confusion-dev.json",
        "confusion-dev.png",
    }
    confusion = read_record(tmp_path, "train.json")["confusion"]["dev"]
    assert confusion["targets"] == ["calm", "excited"]
    assert [sum(row) for row in confusion["counts"]] == [3, 3]
    facts = describe_model("models:/files/1")
    assert facts["recipe"]["head"]["num_hidden"] == 64
    assert facts["overrides"] == [*SMALL, "task=emotion"]
    assert "unweighted_average_recall" in facts["best"]["dev"]
