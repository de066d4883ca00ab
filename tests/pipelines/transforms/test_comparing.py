"""Which slices are compared, and what small ones say."""

import numpy as np
import pytest
from scipy import stats

from pipelines.audit_config import Minimums
from pipelines.transforms.comparing import (
    FEW_REPLICATES,
    FEW_SPEAKERS,
    NO_SPREAD,
    gap_rows,
    pairs_to_compare,
    slice_rows,
)
from pipelines.transforms.slices import Slice
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.dimension_sums import DimensionSums
from ser_model.metrics.recall import Confusion

NUM_REPLICATES = 200
ALL = Minimums(segments=1, speakers=1)


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
    row = by_metric(slice_rows(make_slice("a", num_speakers=1), ALL))["concordance_cc"]
    assert row["value"] > 0.8
    assert (row["ci_low"], row["ci_high"], row["reason"]) == (None, None, FEW_SPEAKERS)


def test_two_speakers_have_an_interval_but_two_against_two_too_few_replicates():
    """Both of two are drawn zero times in .14 of the replicates; on either side in .25."""
    few = make_slice("a", num_speakers=2)
    row = by_metric(slice_rows(few, ALL))["concordance_cc"]
    assert row["ci_low"] <= row["value"] <= row["ci_high"]
    gap = by_metric(gap_rows(few, make_slice("b", num_speakers=2), 4, ALL))["concordance_cc_gap"]
    assert (gap["ci_low"], gap["reason"]) == (None, FEW_REPLICATES)


def test_a_gap_with_one_speaker_on_a_side_is_not_tested():
    row = by_metric(gap_rows(make_slice("a"), make_slice("b", num_speakers=1), 9, ALL))["bias_gap"]
    assert row["value"] is not None
    assert row["reason"] == FEW_SPEAKERS
    assert row["p_value"] is None


def test_a_gap_without_spread_is_not_tested():
    row = by_metric(gap_rows(make_slice("a", noise=0), make_slice("b", noise=0, seed=1), 16, ALL))
    assert row["mean_absolute_error_gap"]["value"] == 0
    assert row["mean_absolute_error_gap"]["reason"] == NO_SPREAD


def test_a_gap_is_tested_as_welch_does():
    """Against scipy's test from summary statistics, with each side's own standard error."""
    first, second = make_slice("a", num_speakers=5), make_slice("b", noise=0.2, seed=1)
    row = by_metric(gap_rows(first, second, 13, ALL))["mean_absolute_error_gap"]
    values = [s.state.moments.sum_absolute_error / s.state.moments.n for s in (first, second)]
    sizes = [one.effective_speakers for one in (first, second)]
    errors = [
        np.std(side[1:]) * np.sqrt(size / (size - 1))
        for side, size in zip(values, sizes, strict=True)
    ]
    # The draws of the two sides are independent, but not to the last digit.
    joint = np.std(values[0][1:] - values[1][1:])
    apart = np.sqrt(np.var(values[0][1:]) + np.var(values[1][1:]))
    assert joint == pytest.approx(apart, rel=0.1)
    errors = [error * joint / apart for error in errors]
    welch = stats.ttest_ind_from_stats(
        *(
            part
            for v, e, n in zip(values, errors, sizes, strict=True)
            for part in (v[0], e * n**0.5, n)
        ),
        equal_var=False,
    )
    assert row["value"] == pytest.approx(values[0][0] - values[1][0])
    assert row["p_value"] == pytest.approx(welch.pvalue, rel=1e-6)
    assert row["standard_error"] == pytest.approx(np.hypot(*errors))
    reach = stats.t.ppf(0.975, row["degrees_of_freedom"]) * row["standard_error"]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(
        (row["value"] - reach, row["value"] + reach)
    )
    assert (row["num_speakers"], row["num_segments"]) == (13, 260)


def test_a_slice_that_is_too_small_is_named_and_counted_but_not_shown():
    small, large = make_slice("a", num_speakers=3), make_slice("b")
    for minimums, why in (
        (Minimums(segments=1, speakers=4), "fewer than 4 speakers"),
        (Minimums(segments=61, speakers=1), "fewer than 61 segments"),
    ):
        rows = [*slice_rows(small, minimums), *gap_rows(small, large, 11, minimums)]
        shown = {row["metric"] for row in gap_rows(small, large, 11, ALL)}
        assert {row["metric"] for row in rows if row["metric"].endswith("_gap")} == shown
        assert {f"{row['metric']}_gap" for row in slice_rows(small, minimums)} == shown
        for row in rows:
            assert (row["verdict"], row["reason"]) == ("suppressed", why)
            assert {row[name] for name in ("value", "ci_low", "ci_high", "p_value")} == {None}
        assert (rows[0]["num_segments"], rows[0]["num_speakers"]) == (60, 3)
        assert by_metric(slice_rows(large, minimums))["bias"]["value"] is not None


def test_all_segments_are_always_shown():
    row = by_metric(slice_rows(make_slice("", num_speakers=2), Minimums(segments=999, speakers=9)))
    assert row["concordance_cc"]["value"] > 0.8


def test_the_gender_score_of_the_papers_is_the_gap_between_the_sexes():
    female, male = make_slice("sex=female"), make_slice("sex=male", noise=0.2, seed=1)
    rows = by_metric(gap_rows(female, male, 16, ALL))
    score, gap = rows["gender_fairness_score"], rows["concordance_cc_gap"]
    assert score["value"] > 0, "positive where female speakers are predicted better"
    assert {**score, "metric": ""} == {**gap, "metric": ""}
    assert "gender_fairness_score" not in by_metric(gap_rows(make_slice("a"), male, 16, ALL))


def test_speakers_in_both_slices_count_once():
    row = by_metric(gap_rows(make_slice("a"), make_slice("a"), 8, ALL))["bias_gap"]
    assert row["num_speakers"] == 8
    assert row["value"] == 0


def test_slices_with_other_emotions_are_compared_over_all_of_them():
    def confusion(name, emotion):
        one = Confusion.from_values([emotion, emotion, "joy"], [emotion, "joy", "joy"])
        counts = np.repeat(one.counts[None], NUM_REPLICATES + 1, axis=0)
        return Slice(name=name, num_speakers=4, state=Confusion(classes=one.classes, counts=counts))

    rows = by_metric(gap_rows(confusion("a", "anger"), confusion("b", "sadness"), 8, ALL))
    assert rows["accuracy_gap"]["value"] == 0
    assert rows["recall[joy]_gap"]["value"] == 0
    assert rows["recall[anger]_gap"]["value"] is None
