"""A small corpus with known truth, and two models' predictions of it with every flaw of a join."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from pipelines.audit_config import AuditConfig, Minimums
from ser_model.schema import DIMENSIONS

NUM_SEGMENTS = 400
NUM_SPEAKERS = 24
EMOTIONS = ("anger", "joy", "sadness")
SLICES = (("sex",), ("accent",), ("sex", "accent"))


@dataclass(frozen=True)
class Corpus:
    """The files, and the same as arrays by the number of the segment."""

    folder: Path
    ids: np.ndarray
    speaker: np.ndarray
    sex: np.ndarray
    accent: np.ndarray
    truth: dict[str, np.ndarray]
    prediction: dict[str, np.ndarray]
    config = AuditConfig(
        slices=SLICES, num_replicates=60, minimums=Minimums(segments=1, speakers=1)
    )

    @property
    def metadata(self) -> str:
        return str(self.folder / "metadata.parquet")

    @property
    def files(self) -> list[str]:
        return [str(self.folder / name) for name in ("first.parquet", "second.parquet", "svm.csv")]


def make_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    number = np.arange(NUM_SEGMENTS)
    speaker_index = random.integers(0, NUM_SPEAKERS, NUM_SEGMENTS)
    accent = np.array(["english", "scottish", "welsh"])[speaker_index % 3].astype(object)
    sex = np.array(["female", "male"])[speaker_index % 2].astype(object)
    spread = np.where(accent == "scottish", 0.4, 0.08)
    arrays = {
        "ids": np.array([f"episode {n // 25}.flac#t={n},{n + 1}" for n in number], dtype=object),
        "speaker": np.array([f"speaker {n:02}" for n in speaker_index], dtype=object),
        "sex": sex,
        "accent": accent,
    }
    sex[speaker_index == 3] = None
    arrays["speaker"][number % 50 == 7] = None
    for dimension in DIMENSIONS:
        truth = random.uniform(0, 1, NUM_SEGMENTS)
        arrays[f"truth_{dimension}"] = truth
        arrays[f"prediction_{dimension}"] = truth + random.normal(0, spread)
    emotion = random.choice(EMOTIONS, NUM_SEGMENTS).astype(object)
    said = np.where(
        random.random(NUM_SEGMENTS) < 0.7, emotion, random.choice(EMOTIONS, NUM_SEGMENTS)
    )
    arrays |= {"truth_emotion": emotion, "prediction_emotion": said.astype(object)}
    arrays["truth_valence"][:5] = np.nan
    arrays["truth_emotion"][10:13] = None
    arrays["prediction_valence"][3:9] = [np.nan, np.inf, np.nan, -np.inf, np.nan, np.nan]
    return arrays


@pytest.fixture(scope="package")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Segments 0-379 have a prediction of model "w2v"; 20 have none; 3 predictions know no segment.

    `first` and `second` are files of "w2v", shuffled; `second` repeats four rows of `first`, one of
    them with another value, and holds segments 0-49 once more under the condition "babble", with
    arousal .5 for all. `svm.csv` predicts emotions of segments 0-99.
    """
    folder = tmp_path_factory.mktemp("corpus")
    arrays = make_arrays()
    targets = (*DIMENSIONS, "emotion")
    truth = {target: arrays[f"truth_{target}"] for target in targets}
    prediction = {target: arrays[f"prediction_{target}"] for target in targets}
    names = {"speaker_id": "speaker", "sex": "sex", "accent": "accent"}
    order = np.random.default_rng(1).permutation(NUM_SEGMENTS)
    metadata = pa.table(
        {
            "segment_id": arrays["ids"],
            **{column: pa.array(arrays[name], pa.string()) for column, name in names.items()},
            **{target: pa.array(values) for target, values in truth.items()},
        }
    ).take(pa.array(order))
    pq.write_table(metadata, folder / "metadata.parquet")

    scored = {d: prediction[d][:380] for d in DIMENSIONS}
    rows = pa.table(
        {
            "segment_id": arrays["ids"][:380],
            "condition": ["clean"] * 380,
            **{d: pa.array(values, pa.float32()) for d, values in scored.items()},
            "model_version": ["w2v"] * 380,
        }
    )
    unknown = rows.slice(0, 3).set_column(0, "segment_id", pa.array(["x 1", "x 2", "x 3"]))
    changed = rows.slice(103, 1)
    changed = changed.set_column(2, "arousal", pa.array([0.123], pa.float32()))
    shuffled = np.random.default_rng(2).permutation(380)
    first, second = shuffled[shuffled < 200], shuffled[shuffled >= 200]
    pq.write_table(
        pa.concat_tables([rows.take(pa.array(first)), unknown]), folder / "first.parquet"
    )
    babble = rows.slice(0, 50).set_column(1, "condition", pa.array(["babble"] * 50))
    babble = babble.set_column(2, "arousal", pa.array([0.5] * 50, pa.float32()))
    repeated = pa.concat_tables([rows.take(pa.array(second)), rows.slice(100, 3), changed, babble])
    pq.write_table(repeated, folder / "second.parquet")
    emotions = pa.array(prediction["emotion"][:100])
    pa_csv.write_csv(
        pa.table({"segment_id": arrays["ids"][:100], "emotion": emotions}), folder / "svm.csv"
    )
    for d in DIMENSIONS:  # as a float32 column of a run holds them
        prediction[d] = prediction[d].astype(np.float32).astype(np.float64)
    shared = {name: arrays[name] for name in ("ids", "speaker", "sex", "accent")}
    return Corpus(folder=folder, truth=truth, prediction=prediction, **shared)
