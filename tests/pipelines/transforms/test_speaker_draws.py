"""The papers' figure on speakers, draw by draw."""

import audmetric
import numpy as np
import pyarrow as pa
import pytest

from pipelines.transforms.speaker_draws import (
    METRIC,
    NUM_DRAWS,
    SEGMENTS_PER_DRAW,
    draw_speakers,
    draws,
    spread_speakers,
)
from ser_model.schema import DIMENSIONS

COUNTS = {"ann": 250, "bob": 199, "eve": 400, "(missing)": 300}


@pytest.fixture(scope="module")
def joined():
    """Two models; the second is the first with its values moved; some values are missing."""
    random = np.random.default_rng(0)
    speaker = np.repeat(list(COUNTS), list(COUNTS.values()))
    columns = {
        "model_version": np.repeat(["a", "b"], speaker.size),
        "condition": ["clean"] * 2 * speaker.size,
        "speaker_id": np.tile(speaker, 2),
        "segment_id": np.tile([f"segment {n:04}" for n in range(speaker.size)], 2),
    }
    for dimension in DIMENSIONS:
        truth = random.uniform(0, 1, speaker.size)
        said = truth + random.normal(0, 0.2, speaker.size)
        if dimension == "valence":
            said[:60] = np.nan  # ann has 190 left
        columns[f"truth_{dimension}"] = np.tile(truth, 2)
        columns[f"prediction_{dimension}"] = np.concatenate([said, said + 0.2])
    return pa.table(columns)


def drawn(joined, seed=0):
    batches = [batch for _, batch in spread_speakers((0, joined), 1)]
    (batch,) = draw_speakers((0, batches), seed)
    return {
        (row["model_version"], row["speaker_id"], row["target"]): row for row in batch.to_pylist()
    }


def test_speakers_with_200_scored_segments_and_a_name_have_the_figure(joined):
    found = drawn(joined)
    dimensions = {"ann": ("arousal", "dominance"), "eve": DIMENSIONS}
    assert set(found) == {
        (model, name, target)
        for model in "ab"
        for name in dimensions
        for target in dimensions[name]
    }
    row = found["a", "eve", "valence"]
    assert (row["metric"], row["num_segments"], row["num_speakers"]) == (METRIC, 400, 1)


@pytest.mark.parametrize("model", ["a", "b"])
def test_the_figure_is_the_mean_of_audmetrics_of_the_draws(joined, model):
    rows = [
        row
        for row in joined.to_pylist()
        if (row["model_version"], row["speaker_id"]) == (model, "ann")
    ]
    truth, said = (
        np.array([row[f"{side}_arousal"] for row in rows]) for side in ("truth", "prediction")
    )
    values = [audmetric.concordance_cc(truth[at], said[at]) for at in draws("ann", 250, 0)]
    row = drawn(joined)[model, "ann", "arousal"]
    assert row["value"] == pytest.approx(np.mean(values), abs=1e-9)


def test_the_order_of_the_rows_does_not_matter_but_the_seed_does(joined):
    shuffled = joined.take(pa.array(np.random.default_rng(1).permutation(joined.num_rows)))
    assert drawn(shuffled) == drawn(joined)
    at = ("a", "eve", "valence")
    assert drawn(joined, seed=1)[at]["value"] != drawn(joined)[at]["value"]


def test_draws_are_with_replacement_and_even():
    at = draws("ann", 250, 0)
    assert at.shape == (NUM_DRAWS, SEGMENTS_PER_DRAW)
    counts = np.bincount(at.ravel(), minlength=250)
    assert counts.size == 250
    expected = NUM_DRAWS * SEGMENTS_PER_DRAW / 250
    assert abs(counts - expected).max() < 5 * np.sqrt(expected)
    assert max(np.bincount(row).max() for row in at) > 1
