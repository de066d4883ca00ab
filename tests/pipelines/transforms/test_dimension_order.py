"""What is looked at of a partition of the join to tell the order of dimensions."""

import numpy as np
import pyarrow as pa

from pipelines.transforms.dimension_order import GROUPS, LIKELY_ORDER, cross_moments, decide_order
from pipelines.transforms.tables import MISSING
from ser_model.schema import DIMENSIONS


def make_joined(num_segments=600, columns=DIMENSIONS, **changes):
    """A good model, whose columns hold the predictions of `columns`; noise first, then clean."""
    random = np.random.default_rng(0)
    speaker = np.arange(num_segments) % 30
    truth = {d: random.normal(0, 1, num_segments) for d in DIMENSIONS}
    said = {d: truth[d] + random.normal(0, 0.5, num_segments) for d in DIMENSIONS}
    clean = {
        "segment_id": [f"segment {n}" for n in range(num_segments)],
        "model_version": ["w2v"] * num_segments,
        "condition": ["clean"] * num_segments,
        "speaker_id": [f"speaker {n}" for n in speaker],
        **{f"truth_{d}": truth[d] for d in DIMENSIONS},
        **{f"prediction_{d}": said[c] for d, c in zip(DIMENSIONS, columns, strict=True)},
    }
    return pa.table({**clean, **changes})


def order_of(*tables):
    found = [part for element in enumerate(tables) for part in cross_moments(element)]
    (model,) = {model for model, _ in found}
    parts = [part for _, part in found]
    return [row for batch in decide_order((model, parts)) for row in batch.to_pylist()]


def test_a_permuted_model_is_named_with_its_likely_order():
    (row,) = order_of(make_joined(columns=("valence", "arousal", "dominance")))
    assert (row["model_version"], row["condition"], row["name"]) == ("w2v", "clean", LIKELY_ORDER)
    assert (row["num_segments"], row["detail"]) == (600, "dominance,valence,arousal")
    assert order_of(make_joined()) == []


def test_parts_may_come_in_any_order():
    tables = [
        make_joined(columns=("valence", "arousal", "dominance")).slice(n, 200)
        for n in (0, 200, 400)
    ]
    found = [part for element in enumerate(tables) for part in cross_moments(element)]
    parts = [part for _, part in found]
    whole, turned = (list(decide_order(("w2v", some))) for some in (parts, parts[::-1]))
    assert whole == turned
    assert len(whole) == 1


def test_other_conditions_and_rows_with_a_gap_are_not_looked_at():
    noise = make_joined(100, condition=["babble"] * 100)
    clean = make_joined(50)
    gap = clean["prediction_valence"].to_numpy().copy()
    gap[:7] = np.nan
    clean = clean.set_column(
        clean.column_names.index("prediction_valence"), "prediction_valence", pa.array(gap)
    )
    ((model, (partition, sums)),) = cross_moments((3, pa.concat_tables([noise, clean])))
    assert (model, partition) == ("w2v", 3)
    assert sums.n.shape == (GROUPS, 3, 3)
    assert (sums.n[:, 0, 0].sum(), sums.n[:, 2, 1].sum()) == (43, 43)
    wanted = np.cov(clean["truth_arousal"].to_numpy()[7:], gap[7:], bias=True)[0, 1]
    merged = sums[:, 0, 2].merge_groups(np.zeros(GROUPS, dtype=int), 1)
    np.testing.assert_allclose(merged.c_truth_prediction / 43, wanted)
    assert list(cross_moments((0, noise))) == []


def test_many_rows_are_sampled_evenly(monkeypatch):
    monkeypatch.setattr("pipelines.transforms.dimension_order.SAMPLE", 100)
    ((_, (_, sums)),) = cross_moments((0, make_joined(600)))
    assert sums.n[:, 0, 0].sum() == 100
    assert (sums.n[:, 0, 0] > 0).sum() >= 4, "every sixth of 30 speakers in turn are five"


def test_segments_without_a_speaker_do_not_count_as_one_speaker():
    (row,) = order_of(
        make_joined(columns=("valence", "arousal", "dominance"), speaker_id=[MISSING] * 600)
    )
    assert row["detail"] == "dominance,valence,arousal"
