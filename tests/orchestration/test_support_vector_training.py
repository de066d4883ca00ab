"""The baseline through the same line as any model: train, register, score, cross-validate."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from orchestration import feature_cache
from orchestration.exporting import export
from orchestration.feature_cache import FILE_NAME
from orchestration.model_uris import resolve_model
from orchestration.scoring import score
from orchestration.training import SeriesSummary, train_recipe
from orchestration.training_record import TrainSummary
from ser_model import storage
from ser_model.manifest import write_manifest
from ser_model.metrics.concordance import concordance_cc
from ser_model.metrics.recall import unweighted_average_recall
from ser_model.schema import ConfigError, ManifestError, ModelError

absent = [name for name in ("opensmile", "sklearn") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(
    bool(absent), reason=f"{', '.join(absent)} not installed (pip install 'serval[egemaps]')"
)
RECIPE = "baseline/egemaps-svm"
FOLDS = ("data.fold_by=speaker_id", "data.num_folds=3")
NUM_SPEAKERS, SEGMENTS_EACH = 6, 6
Rows = list[dict[str, object]]


@pytest.fixture
def corpus(tmp_path: Path, write_recording: Callable[..., str]) -> Rows:
    """Six speakers whose pitch rises with arousal, each from a pitch of its own."""
    rows: Rows = []
    time_s = np.arange(12_000) / 16_000
    rng = np.random.default_rng(0)
    for speaker in range(NUM_SPEAKERS):
        pieces = []
        for number in range(SEGMENTS_EACH):
            arousal = number / (SEGMENTS_EACH - 1)
            pitch_hz = (100 + 20 * speaker) * (1 + 0.5 * arousal)
            buzz = sum(np.sin(2 * np.pi * pitch_hz * n * time_s) / n for n in range(1, 6))
            pieces.append(0.1 * buzz + rng.normal(0, 0.01, 12_000))
            rows.append(
                {
                    "segment_id": f"s{speaker}-{number}",
                    "recording": f"s{speaker}.wav",
                    "start_s": 0.75 * number,
                    "end_s": 0.75 * (number + 1),
                    "speaker_id": f"s{speaker}",
                    "split": ("train", "train", "train", "dev", "dev", "test")[speaker],
                    "arousal": arousal,
                    "dominance": 1 - arousal,
                    "valence": arousal / 2,
                    "emotion": "excited" if arousal > 0.5 else "calm",
                }
            )
        write_recording(tmp_path / f"s{speaker}.wav", samples=np.concatenate(pieces))
    return rows


def train_rows(
    folder: Path, rows: Rows, *overrides: str, output: str = "model", **options: object
) -> TrainSummary | SeriesSummary:
    manifest = str(folder / "manifest.jsonl")
    write_manifest(manifest, pa.Table.from_pylist(rows))
    return train_recipe(
        RECIPE, manifest, str(folder / output), overrides=overrides, devices="cpu", **options
    )


@pytest.mark.parametrize("task", ["emotion", "dimensions"])
def test_a_machine_is_trained_registered_and_scores_through_the_registry(
    tmp_path: Path, corpus: Rows, mlflow_folder: Path, task: str
) -> None:
    name = f"machine-{task}"
    summary = train_rows(tmp_path, corpus, target=task, name=name)
    assert summary.num_segments == {"train": 18, "dev": 12}
    assert summary.model_uri == f"models:/{name}/1"
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"config.json", "model.safetensors", "train.json", FILE_NAME} <= names
    assert not [name for name in names if name.endswith((".pkl", ".joblib", ".pickle"))]

    manifest = str(tmp_path / "manifest.jsonl")
    run = str(tmp_path / "run")
    score(manifest, model_uri=f"models:/{name}@candidate", output=run, devices="cpu", local=True)
    assert resolve_model(f"models:/{name}@candidate").weights_sha256 == summary.weights_sha256
    export(run, str(tmp_path / "rows.parquet"))
    predicted = storage.read_table(str(tmp_path / "rows.parquet")).to_pylist()
    assert len(predicted) == len(corpus)
    truth_of = {row["segment_id"]: row for row in corpus if row["split"] == "dev"}
    of_dev = [row for row in predicted if row["segment_id"] in truth_of]
    truth = [truth_of[row["segment_id"]] for row in of_dev]
    column, metric = (
        ("emotion", unweighted_average_recall) if task == "emotion" else ("arousal", concordance_cc)
    )
    value = metric([row[column] for row in truth], [row[column] for row in of_dev])
    shown = "unweighted_average_recall" if task == "emotion" else "concordance_cc_arousal"
    assert value == pytest.approx(summary.dev[shown], abs=1e-6)


def test_what_is_said_of_dev_comes_from_a_machine_that_has_not_seen_it(
    tmp_path: Path, corpus: Rows
) -> None:
    summary = train_rows(tmp_path, corpus)
    assert train_rows(tmp_path, corpus).resumed
    refitted = train_rows(tmp_path, corpus, "refit_with_dev=true", output="refitted")
    assert refitted.dev == summary.dev
    assert refitted.weights_sha256 != summary.weights_sha256
    record = storage.read_json(str(tmp_path / "refitted" / "train.json"))
    assert "dev" not in record["confusion"]


def test_folds_predict_every_segment_and_normalising_speakers_helps_across_pitches(
    tmp_path: Path, corpus: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train_rows(tmp_path, corpus, *FOLDS, "refit_with_dev=true", output="plain")
    predicted = storage.read_table(str(tmp_path / "plain" / "test.parquet"))
    assert sorted(predicted["segment_id"].to_pylist()) == sorted(
        row["segment_id"] for row in corpus
    )
    # The features of another training serve as they are: nothing is computed again.
    known = tmp_path / "plain" / FILE_NAME
    (tmp_path / "normalised").mkdir()
    (tmp_path / "normalised" / FILE_NAME).write_bytes(known.read_bytes())
    monkeypatch.setattr(feature_cache, "functionals", None)
    normalised = train_rows(
        tmp_path,
        corpus,
        *FOLDS,
        "refit_with_dev=true",
        "speaker_normalisation=true",
        output="normalised",
    )
    recall = [s.pooled["unweighted_average_recall"]["mean"] for s in (plain, normalised)]
    assert recall[0] + 0.1 < recall[1], recall
    with pytest.raises(ModelError, match="cannot score a segment without the speaker's others"):
        resolve_model(str(tmp_path / "normalised" / "fold-01"))


def test_what_a_machine_cannot_do_is_refused(tmp_path: Path, corpus: Rows) -> None:
    with pytest.raises(ConfigError, match="for cross-validation alone"):
        train_rows(tmp_path, corpus, "speaker_normalisation=true")
    with pytest.raises(ConfigError, match="kernel is 'cubic'; allowed are: linear, rbf"):
        train_rows(tmp_path, corpus, "kernel=cubic")
    with pytest.raises(ConfigError, match="--workers: a support vector machine"):
        train_rows(tmp_path, corpus, num_workers=2)
    with pytest.raises(ModelError, match="only networks have weights before they are trained"):
        resolve_model(f"random:{RECIPE}")


def test_a_segment_without_a_speaker_cannot_be_normalised(tmp_path: Path, corpus: Rows) -> None:
    rows = [{**row, "speaker_id": None} if row["segment_id"] == "s0-0" else row for row in corpus]
    with pytest.raises(ManifestError, match="has no speaker_id"):
        train_rows(tmp_path, rows, *FOLDS, "speaker_normalisation=true")
