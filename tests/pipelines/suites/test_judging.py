"""The tests of ser-tests on statistics that are made up: outcomes, reasons, denominators."""

import pyarrow as pa
import pytest

from pipelines.suites.judging import judge_suite
from pipelines.suites.suite_test import Comparison, outcome_of_interval, outcome_of_value
from ser_model.augment import known_names
from ser_model.schema import DIMENSIONS, STATISTICS, TESTS

EMOTIONS = ("anger", "happiness", "neutral", "sadness")
GROUPINGS = ("accent", "language", "sex", "pitch_group", "language,sentiment")


def statistic(metric, value, low=None, high=None, **columns):
    row = {"model_version": "m", "condition": "clean", "slice_by": "", "slice": ""}
    row |= {"target": "arousal", "metric": metric, "value": value, "ci_low": low, "ci_high": high}
    return {**row, "num_segments": 100, "num_speakers": 10, **columns}


def good(model="m", targets=DIMENSIONS):
    """What makes a model admissible."""
    return [
        statistic(
            "unweighted_average_recall" if target == "emotion" else "concordance_cc",
            0.7,
            0.6,
            0.8,
            model_version=model,
            target=target,
        )
        for target in targets
    ]


def judge(rows, groupings=()):
    return judge_suite("ser-tests", pa.Table.from_pylist(rows, schema=STATISTICS), groupings)


def judged_of(result, **wanted):
    rows = result.tests.to_pylist()
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


@pytest.mark.parametrize(
    ("comparison", "low", "high", "expected"),
    [
        (Comparison.ABOVE, 0.51, 0.6, "pass"),
        (Comparison.ABOVE, 0.5, 0.6, "inconclusive"),
        (Comparison.ABOVE, 0.3, 0.5, "fail"),
        (Comparison.BELOW, 0.1, 0.49, "pass"),
        (Comparison.BELOW, 0.1, 0.5, "inconclusive"),
        (Comparison.BELOW, 0.5, 0.6, "fail"),
        (Comparison.WITHIN, -0.49, 0.49, "pass"),
        (Comparison.WITHIN, -0.2, 0.6, "inconclusive"),
        (Comparison.WITHIN, -0.6, 0.7, "inconclusive"),
        (Comparison.WITHIN, 0.5, 0.7, "fail"),
        (Comparison.WITHIN, -0.7, -0.6, "fail"),
    ],
)
def test_an_interval_against_a_threshold_of_a_half(comparison, low, high, expected):
    assert outcome_of_interval(low, high, comparison, 0.5) == expected


def test_numbers_are_not_rounded_and_signs_count():
    assert outcome_of_value(0.0499999, Comparison.BELOW, 0.05) == "pass"
    assert outcome_of_value(0.05, Comparison.BELOW, 0.05) == "fail"
    assert outcome_of_value(-0.8, Comparison.ABOVE, 0.7) == "fail"  # a ranking upside down


THRESHOLDS = {
    ("correctness regression", "Concordance Correlation Coeff", "arousal"): (">", 0.5),
    ("correctness regression", "Pearson Correlation Coeff", "valence"): (">", 0.5),
    ("correctness regression", "Mean Absolute Error", "dominance"): ("<", 0.1),
    ("correctness distribution", "Jensen Shannon Distance", "arousal"): ("<", 0.2),
    ("correctness distribution", "Relative Difference Per Class", "emotion"): ("|x|<", 0.15),
    ("correctness consistency", "Samples in Expected High Range", "valence"): (">", 0.75),
    ("correctness consistency", "Samples in Expected Low Range", "arousal"): (">", 0.75),
    ("correctness consistency", "Samples in Expected Neutral Range", "dominance"): (">", 0.75),
    ("correctness classification", "Unweighted Average Recall", "emotion"): (">", 0.5),
    ("correctness classification", "Unweighted Average Precision", "emotion"): (">", 0.5),
    ("correctness classification", "Recall Per Class", "emotion"): (">", 0.5),
    ("correctness classification", "Precision Per Class", "emotion"): (">", 0.5),
    ("correctness speaker average", "Mean Absolute Error", "arousal"): ("<", 0.1),
    ("correctness speaker average", "Class Proportion Mean Absolute Error", "emotion"): ("<", 0.1),
    ("correctness speaker ranking", "Spearmans Rho", "arousal"): (">", 0.7),
    ("correctness speaker ranking", "Spearmans Rho", "emotion"): (">", 0.7),
    ("fairness accent", "Mean Value", "arousal"): ("|x|<", 0.075),
    ("fairness accent", "Relative Difference Per Bin", "arousal"): ("|x|<", 0.225),
    ("fairness accent", "Relative Difference Per Class", "emotion"): ("|x|<", 0.225),
    ("fairness language", "Mean Value", "arousal"): ("|x|<", 0.03),
    ("fairness language", "Relative Difference Per Bin", "arousal"): ("|x|<", 0.1),
    ("fairness language", "Relative Difference Per Class", "emotion"): ("|x|<", 0.1),
    (
        "fairness linguistic sentiment",
        "Mean Shift Difference Positive Sentiment",
        "valence",
    ): ("|x|<", 0.025),
    (
        "fairness linguistic sentiment",
        "Bin Proportion Shift Difference Negative Sentiment",
        "valence",
    ): ("|x|<", 0.075),
    (
        "fairness linguistic sentiment",
        "Class Proportion Shift Difference Neutral Sentiment",
        "emotion",
    ): ("|x|<", 0.075),
    ("fairness sex", "Concordance Correlation Coeff Female", "arousal"): ("|x|<", 0.075),
    ("fairness sex", "Precision Per Bin Male", "arousal"): ("|x|<", 0.1),
    ("fairness sex", "Recall Per Bin Female", "arousal"): ("|x|<", 0.1),
    ("fairness sex", "Unweighted Average Recall Male", "emotion"): ("|x|<", 0.075),
    ("fairness sex", "Precision Per Class Female", "emotion"): ("|x|<", 0.075),
    ("fairness sex", "Recall Per Class Female", "emotion"): ("|x|<", 0.175),
    ("fairness pitch", "Concordance Correlation Coeff Low Pitch", "arousal"): ("|x|<", 0.1),
    ("fairness pitch", "Precision Per Bin Medium Pitch", "arousal"): ("|x|<", 0.125),
    ("fairness pitch", "Recall Per Bin High Pitch", "arousal"): ("|x|<", 0.125),
    ("fairness pitch", "Unweighted Average Recall Low Pitch", "emotion"): ("|x|<", 0.075),
    ("fairness pitch", "Precision Per Class Low Pitch", "emotion"): ("|x|<", 0.1),
    ("fairness pitch", "Recall Per Class Low Pitch", "emotion"): ("|x|<", 0.225),
    ("robustness small changes", "Percentage Unchanged Predictions Clip", "arousal"): (">", 0.95),
    ("robustness background noise", "Change CCC Babble Noise", "arousal"): (">", -0.05),
    ("robustness background noise", "Change UAR Coughing", "emotion"): (">", -0.05),
    (
        "robustness background noise",
        "Percentage Unchanged Predictions Sneezing",
        "emotion",
    ): (">", 0.9),
    ("robustness low quality phone", "Change CCC Low Quality Phone", "arousal"): (">", -0.05),
    (
        "robustness low quality phone",
        "Percentage Unchanged Predictions Low Quality Phone",
        "arousal",
    ): (">", 0.5),
    ("robustness spectral tilt", "Change CCC Upward Tilt", "arousal"): (">", -0.05),
    ("robustness spectral tilt", "Change UAR Downward Tilt", "emotion"): (">", -0.02),
    (
        "robustness spectral tilt",
        "Percentage Unchanged Predictions Upward Tilt",
        "arousal",
    ): (">", 0.8),
    (
        "robustness recording condition",
        "Percentage Unchanged Predictions Recording Condition",
        "arousal",
    ): (">", 0.8),
    (
        "robustness simulated recording condition",
        "Percentage Unchanged Predictions Simulated Room",
        "arousal",
    ): (">", 0.8),
}
"""Every kind of test once, copied by hand from the published tables."""


@pytest.fixture(scope="module")
def everything():
    rows = [*good(targets=(*DIMENSIONS, "emotion"))]
    rows += [statistic(f"recall[{e}]", 0.7, 0.6, 0.8, target="emotion") for e in EMOTIONS]
    for sentiment in ("negative", "neutral", "positive"):
        by = {"slice_by": "language,sentiment", "slice": f"language=de,sentiment={sentiment}-rest"}
        rows.append(statistic("matched_mean_prediction_shift_gap", 0.01, 0.0, 0.02, **by))
    return judge(rows, GROUPINGS)


@pytest.mark.parametrize("key", THRESHOLDS, ids=" ".join)
def test_names_and_thresholds_are_those_published(everything, key):
    family, name, target = key
    found = judged_of(everything, family=family, test=name, target=target)
    assert found
    assert {(row["comparison"], row["threshold"]) for row in found} == {THRESHOLDS[key]}


def test_no_kind_of_test_is_missing_from_the_table_above(everything):
    families = {family for family, _, _ in THRESHOLDS}
    assert families == {row["family"] for row in everything.tests.to_pylist()}


def test_how_many_there_are_of_each_emotion_and_part(everything):
    counts = {
        ("correctness consistency", "arousal"): 6,
        ("correctness consistency", "dominance"): 6,
        ("correctness consistency", "valence"): 8,
        ("correctness classification", "emotion"): 2 + 2 * len(EMOTIONS),
        ("fairness sex", "arousal"): 2 * (1 + 4 + 4),
        ("fairness pitch", "emotion"): 3 * (1 + 2 * len(EMOTIONS)),
        ("robustness small changes", "valence"): 10,
        ("robustness background noise", "emotion"): 12,
    }
    for (family, target), number in counts.items():
        assert len(judged_of(everything, family=family, target=target)) == number


def test_a_test_passes_where_its_interval_holds_and_the_plain_reading_stands_beside_it():
    rows = good()
    rows[0] |= {"value": 0.55, "ci_low": 0.45, "ci_high": 0.62}
    rows.append(statistic("mean_absolute_error", 0.08, 0.07, 0.09))
    rows.append(statistic("speaker_ranking", -0.9, -0.95, -0.8))
    rows.append(statistic("jensen_shannon_distance", 0.1, reason="fewer than 2 speakers"))
    result = judge(rows)
    (ccc,) = judged_of(result, metric="concordance_cc", target="arousal")
    assert (ccc["outcome"], ccc["point_outcome"], ccc["value"]) == ("inconclusive", "pass", 0.55)
    (mae,) = judged_of(result, metric="mean_absolute_error", target="arousal")
    assert (mae["outcome"], mae["point_outcome"]) == ("pass", "pass")
    (ranking,) = judged_of(result, metric="speaker_ranking", target="arousal")
    assert ranking["outcome"] == "fail"
    (distance,) = judged_of(result, metric="jensen_shannon_distance", target="arousal")
    assert distance["outcome"] == "inconclusive"
    assert distance["reason"] == "there is no interval: fewer than 2 speakers"
    assert result.tests.schema == TESTS


def test_a_gap_is_judged_against_the_rest_and_its_plain_reading_is_against_all():
    name = "matched_concordance_cc_gap"
    rows = good()
    rows.append(statistic(name, 0.12, 0.09, 0.15, slice_by="sex", slice="sex=female-rest"))
    rows.append(statistic(name, 0.06, slice_by="sex", slice="sex=female-all"))
    found = judged_of(judge(rows, ("sex",)), metric=name, target="arousal")
    female = next(row for row in found if row["test"].endswith("Female"))
    assert (female["outcome"], female["value"]) == ("fail", 0.12)
    assert (female["point_outcome"], female["point_value"]) == ("pass", 0.06)
    male = next(row for row in found if row["test"].endswith("Male"))
    assert (male["outcome"], male["reason"]) == ("skipped", "there are no two groups")


@pytest.mark.parametrize(
    ("wanted", "groupings", "reason"),
    [
        ({"family": "fairness sex"}, (), "the metadata has no column sex"),
        ({"family": "fairness sex"}, ("sex",), "there are no two groups"),
        ({"family": "fairness pitch"}, (), "the metadata has no column pitch_hz or pitch"),
        (
            {"family": "fairness linguistic sentiment"},
            ("language",),
            "the metadata has no column language or no column sentiment",
        ),
        ({"slice": "emotion=boredom"}, (), "the truth has no emotion 'boredom'"),
        (
            {"test": "Change CCC Babble Noise"},
            (),
            "there is no concordance_cc_change of the condition babble-20db against clean",
        ),
        (
            {"test": "Percentage Unchanged Predictions Simulated Room"},
            (),
            "there is no unchanged_share of the condition room-office against room-booth",
        ),
    ],
)
def test_what_cannot_be_tested_is_skipped_and_says_why(wanted, groupings, reason):
    found = judged_of(judge(good(), groupings), **wanted)
    assert found
    assert {(row["outcome"], row["reason"]) for row in found} == {("skipped", reason)}


def test_a_suppressed_group_is_skipped_with_its_reason():
    row = statistic(
        "matched_mean_prediction_gap",
        None,
        slice_by="accent",
        slice="accent=welsh-rest",
        verdict="suppressed",
        reason="fewer than 3 speakers",
    )
    found = judged_of(judge([*good(), row], ("accent",)), slice="accent=welsh-rest")
    assert {row["outcome"] for row in found} == {"skipped"}
    assert "fewer than 3 speakers" in {row["reason"] for row in found}


def test_conditions_are_judged_as_soon_as_they_are_scored():
    by = {"condition": "babble-20db", "slice_by": "condition"}
    by["slice"] = "condition=babble-20db-condition=clean"
    rows = [
        *good(),
        statistic("concordance_cc_change", -0.02, -0.03, -0.01, **by),
        statistic("unchanged_share", 0.7, 0.6, 0.8, **by),
    ]
    found = judged_of(judge(rows), condition="babble-20db", target="arousal")
    outcomes = {row["test"]: row["outcome"] for row in found}
    assert outcomes == {
        "Change CCC Babble Noise": "pass",
        "Percentage Unchanged Predictions Babble Noise": "fail",
    }


def test_the_denominator_is_the_same_for_all_models():
    """One lacks valence altogether, another has groups and an emotion that the first lacks."""
    rows = [*good("one", DIMENSIONS[:2]), *good("two")]
    by = {"slice_by": "accent", "slice": "accent=welsh-rest", "model_version": "two"}
    rows.append(statistic("matched_mean_prediction_gap", 0.0, -0.01, 0.01, **by))
    one, two = judge(rows, ("accent",)).models
    assert one["num_tests"] == two["num_tests"]
    assert sum(one["outcomes"].values()) == one["num_tests"]
    assert not one["is_admissible"]
    assert one["pass_rate"] is None
    assert one["targets"]["valence"]["reason"].startswith("there is no prediction of valence")
    assert one["targets"]["arousal"]["pass_rate"] == pytest.approx(
        one["targets"]["arousal"]["outcomes"]["pass"] / one["targets"]["arousal"]["num_tests"]
    )
    assert two["pass_rate"] == two["outcomes"]["pass"] / two["num_tests"]
    assert two["outcomes"]["skipped"] > two["outcomes"]["pass"]


def test_models_of_emotions_and_of_dimensions_have_their_own_tests():
    rows = [*good("dims"), *good("cats", ("emotion",))]
    rows += [
        statistic(f"recall[{e}]", 0.7, 0.6, 0.8, target="emotion", model_version="cats")
        for e in EMOTIONS
    ]
    cats, dims = judge(rows).models
    assert set(cats["targets"]) == {"emotion"}
    assert set(dims["targets"]) == set(DIMENSIONS)
    assert cats["targets"]["emotion"]["floor"] == pytest.approx(0.25 + 0.1 * 0.75)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"ci_low": 0.05},
            "CCC of arousal is not shown to be above 0.100: its interval begins at 0.050",
        ),
        (
            {"ci_low": None, "ci_high": None, "reason": "fewer than 2 speakers"},
            "CCC of arousal has no interval: fewer than 2 speakers",
        ),
        (
            {"value": None, "ci_low": None, "ci_high": None, "reason": "no variance"},
            "CCC of arousal has no value: no variance",
        ),
    ],
)
def test_tests_of_a_target_without_admission_are_not_judged(changes, reason):
    rows = good()
    rows[0] |= changes
    rows.append(statistic("mean_absolute_error", 0.01, 0.005, 0.02))
    result = judge(rows)
    arousal = judged_of(result, target="arousal")
    assert {(row["outcome"], row["reason"]) for row in arousal} == {("not admissible", reason)}
    assert "not admissible" not in {row["outcome"] for row in judged_of(result, target="valence")}
    (model,) = result.models
    assert model["pass_rate"] is None
    assert model["targets"]["valence"]["pass_rate"] is not None


def test_conditions_go_by_the_names_under_which_they_are_scored(everything):
    families = [row for row in everything.tests.to_pylist() if row["slice_by"] == "condition"]
    named = {part for row in families for part in row["slice"].split("condition=")[1:]}
    assert {name.removesuffix("-") for name in named} <= set(known_names())
    assert {row["condition"] for row in families} <= set(known_names())


def test_without_clean_audio_nothing_is_judged_and_the_reason_is_told():
    rows = [row | {"condition": "babble-20db"} for row in good()]
    (model,) = judge(rows).models
    assert model["outcomes"] == {"not admissible": model["num_tests"]}
    assert model["num_tests"] > 100
    reason = "there is no prediction of arousal on clean audio with a truth"
    assert model["targets"]["arousal"]["reason"] == reason
