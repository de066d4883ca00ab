from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from orchestration.demo.held_out import COLUMN, KNOWN, NEW
from orchestration.demo.paired_gain import NUM_REPLICATES, paired_gains
from ser_model import storage
from ser_model.manifest import write_manifest
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.schema import DIMENSIONS

NUM_SPEAKERS, NUM_EACH = 6, 10


class Corpus:
    """Truth in a manifest, and predictions that are the truth with noise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rng = np.random.default_rng(0)
        size = NUM_SPEAKERS * NUM_EACH
        self.truth = self.rng.uniform(size=size)
        self.speaker = np.repeat([f"s{number}" for number in range(NUM_SPEAKERS)], NUM_EACH)
        self.kind = np.where(np.arange(size) % 3 == 0, NEW, KNOWN)
        self.manifest = str(folder / "manifest.parquet")
        columns = {
            "segment_id": [str(number) for number in range(size)],
            "recording": ["a.wav"] * size,
            "speaker_id": self.speaker,
            COLUMN: self.kind,
            **dict.fromkeys(DIMENSIONS, self.truth),
        }
        write_manifest(self.manifest, pa.table(columns))

    def predict(self, name: str, noise: float) -> tuple[str, np.ndarray]:
        values = self.truth + noise * self.rng.standard_normal(len(self.truth))
        uri = str(self.folder / f"{name}.parquet")
        ids = [str(number) for number in range(len(values))]
        storage.write_table(uri, pa.table({"segment_id": ids, "valence": values}))
        return uri, values


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


def ccc(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Lin's coefficient, with population variances."""
    covariance = np.cov(truth, prediction, bias=True)
    distance = (truth.mean() - prediction.mean()) ** 2
    return float(2 * covariance[0, 1] / (covariance[0, 0] + covariance[1, 1] + distance))


@pytest.mark.parametrize("kind", ["", KNOWN, NEW])
def test_a_gain_is_that_of_rows_repeated_as_the_replicates_draw_their_speakers(
    corpus: Corpus, kind: str
) -> None:
    better, good = corpus.predict("better", 0.1)
    worse, bad = corpus.predict("worse", 0.3)
    gain = paired_gains(better, worse, corpus.manifest, seed=3)[kind]
    mask = (corpus.kind == kind) if kind else np.ones(len(corpus.truth), dtype=bool)
    truth, good, bad, speaker = (x[mask] for x in (corpus.truth, good, bad, corpus.speaker))
    assert gain["value"] == pytest.approx(ccc(truth, good) - ccc(truth, bad))
    assert (gain["num_segments"], gain["num_speakers"]) == (mask.sum(), NUM_SPEAKERS)
    names = sorted(set(corpus.speaker))
    weights = poisson_weights(speaker_keys(names), seed=3, num_replicates=NUM_REPLICATES)
    replicates = []
    for replicate in weights:
        drawn = np.repeat(np.arange(len(truth)), replicate[np.searchsorted(names, speaker)])
        if len(drawn):
            t, g, b = truth[drawn], good[drawn], bad[drawn]
            replicates.append(ccc(t, g) - ccc(t, b))
    # Student's t with the spread of the replicates, which is too small by (S - 1) / S.
    error = np.std(replicates) * np.sqrt(NUM_SPEAKERS / (NUM_SPEAKERS - 1))
    reach = stats.t.ppf(0.975, NUM_SPEAKERS - 1) * error
    assert gain["ci_high"] - gain["value"] == pytest.approx(reach, rel=0.05)
    assert gain["value"] - gain["ci_low"] == pytest.approx(reach, rel=0.05)


def test_a_run_gains_nothing_over_itself_and_there_is_nothing_to_be_unsure_of(
    corpus: Corpus,
) -> None:
    run, _ = corpus.predict("run", 0.2)
    for gain in paired_gains(run, run, corpus.manifest, seed=0).values():
        assert (gain["value"], gain["ci_low"], gain["ci_high"]) == (0, None, None)


def test_only_segments_of_both_runs_count(corpus: Corpus) -> None:
    whole, _ = corpus.predict("whole", 0.2)
    part = str(corpus.folder / "part.parquet")
    storage.write_table(part, storage.read_table(whole).slice(0, 25))
    assert paired_gains(whole, part, corpus.manifest, seed=0)[""]["num_segments"] == 25
