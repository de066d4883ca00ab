"""Which slices are compared, what small ones say, and what Holm corrects over."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from pipelines.transforms.comparing import (
    FEW_REPLICATES,
    FEW_SPEAKERS,
    NO_SPREAD,
    Slice,
    gap_rows,
    pairs_to_compare,
    slice_rows,
)
from pipelines.transforms.writing import judge_gaps
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.dimension_sums import DimensionSums
from ser_model.metrics.recall import Confusion
from ser_model.schema import STATISTICS

NUM_REPLICATES = 200


def make_slice(name, num_speakers=8, noise=0.1, seed=0):
    random = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(num_speakers), 20)
    truth = random.uniform(0, 1, speaker.size)
    prediction = truth + random.normal(0, noise, speaker.size) if noise else truth
    keys = speaker_keys([f"{name} {number}" for number in range(num_speakers)])
    weights = poisson_weights(keys, seed=0, num_replicates=NUM_REPLICATES)
    sums = DimensionSums.from_groups(truth, prediction, speaker, num_speakers)
    weights = np.vstack([np.ones((1, num_speakers)), weights])
    return Slice(name=name, num_speakers=num_speakers, state=sums.weighted_totals(weights))


def by_metric(rows):
    return {row["metric"]: row for row in rows}


def test_two_slices_are_one_pair_and_three_are_compared_with_the_rest_too():
    slices = [make_slice(name) for name in "abc"]

    def names(some):
        return [(first.name, second.name) for first, second in pairs_to_compare(some)]

    assert names(slices[:1]) == []
    assert names(slices[:2]) == [("a", "b")]
    assert names(slices) == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
        ("a", "rest"),
        ("b", "rest"),
        ("c", "rest"),
    ]


def test_many_slices_are_compared_with_the_rest_only():
    slices = [make_slice(f"slice {number:02}", num_speakers=1) for number in range(11)]
    pairs = list(pairs_to_compare(slices))
    assert [second.name for _, second in pairs] == ["rest"] * 11
    assert pairs[0][1].num_segments == 10 * 20


def test_one_speaker_has_a_value_but_no_interval():
    row = by_metric(slice_rows(make_slice("a", num_speakers=1)))["concordance_cc"]
    assert row["value"] > 0.8
    assert (row["ci_low"], row["ci_high"], row["reason"]) == (None, None, FEW_SPEAKERS)


def test_two_speakers_have_an_interval_but_two_against_two_too_few_replicates():
    """Both of two are drawn zero times in .14 of the replicates; on either side in .25."""
    few = make_slice("a", num_speakers=2)
    row = by_metric(slice_rows(few))["concordance_cc"]
    assert row["ci_low"] <= row["value"] <= row["ci_high"]
    gap = by_metric(gap_rows(few, make_slice("b", num_speakers=2), 4))["concordance_cc_gap"]
    assert (gap["ci_low"], gap["reason"]) == (None, FEW_REPLICATES)


def test_a_gap_with_one_speaker_on_a_side_is_not_tested():
    row = by_metric(gap_rows(make_slice("a"), make_slice("b", num_speakers=1), 9))["bias_gap"]
    assert row["value"] is not None
    assert row["reason"] == FEW_SPEAKERS
    assert "p_value" not in row


def test_a_gap_without_spread_is_not_tested():
    row = by_metric(gap_rows(make_slice("a", noise=0), make_slice("b", noise=0, seed=1), 16))
    assert row["mean_absolute_error_gap"]["value"] == 0
    assert row["mean_absolute_error_gap"]["reason"] == NO_SPREAD


def test_the_p_value_of_a_gap():
    first, second = make_slice("a", num_speakers=5), make_slice("b", noise=0.2, seed=1)
    row = by_metric(gap_rows(first, second, 13))["mean_absolute_error_gap"]
    moments = (first.state.moments, second.state.moments)
    gap = np.subtract(*(state.sum_absolute_error / state.n for state in moments))
    error = np.std(gap[1:]) * np.sqrt(5 / 4)
    assert row["value"] == pytest.approx(gap[0])
    assert row["p_value"] == pytest.approx(2 * stats.t.sf(abs(gap[0]) / error, 13 - 2))
    assert (row["num_speakers"], row["num_segments"]) == (13, 260)


def test_speakers_in_both_slices_count_once():
    row = by_metric(gap_rows(make_slice("a"), make_slice("a"), 8))["bias_gap"]
    assert row["num_speakers"] == 8
    assert row["value"] == 0


def test_slices_with_other_emotions_are_compared_over_all_of_them():
    def confusion(name, emotion):
        one = Confusion.from_values([emotion, emotion, "joy"], [emotion, "joy", "joy"])
        counts = np.repeat(one.counts[None], NUM_REPLICATES + 1, axis=0)
        return Slice(name=name, num_speakers=4, state=Confusion(classes=one.classes, counts=counts))

    rows = by_metric(gap_rows(confusion("a", "anger"), confusion("b", "sadness"), 8))
    assert rows["accuracy_gap"]["value"] == 0
    assert rows["recall[joy]_gap"]["value"] == 0
    assert rows["recall[anger]_gap"]["value"] is None


def statistic(model, metric, p_value):
    row = dict.fromkeys(STATISTICS.names)
    row |= {"model_version": model, "condition": "clean", "slice_by": "sex", "slice": "a-b"}
    row |= {"target": "arousal", "metric": metric, "p_value": p_value, "num_segments": 1}
    return row


def test_holm_corrects_over_the_judged_gaps_of_one_model():
    rows = [
        statistic("m", "concordance_cc_gap", 0.02),
        statistic("m", "concordance_cc_gap", 0.03),
        statistic("m", "concordance_cc_gap", None),
        statistic("m", "bias_gap", 0.001),
        statistic("n", "unweighted_average_recall_gap", 0.04),
    ]
    judged = judge_gaps(pa.Table.from_pylist(rows, schema=STATISTICS)).to_pylist()
    found = {
        (row["model_version"], row["p_value"]): (row["p_adjusted"], row["verdict"])
        for row in judged
    }
    assert found == {
        ("m", 0.02): (0.04, "fail"),
        ("m", 0.03): (0.04, "fail"),
        ("m", None): (None, None),
        ("m", 0.001): (None, None),
        ("n", 0.04): (0.04, "fail"),
    }


def test_a_gap_that_is_not_significant_is_inconclusive():
    rows = [statistic("m", "concordance_cc_gap", p) for p in (0.03, 0.04)]
    judged = judge_gaps(pa.Table.from_pylist(rows, schema=STATISTICS)).to_pylist()
    assert {row["verdict"] for row in judged} == {"inconclusive"}
