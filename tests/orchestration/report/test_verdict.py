"""From statistics to words: who passes, who fails, and what is only not known."""

import pytest

from orchestration.report.audit_folder import Statistic
from orchestration.report.gaps import describe, gaps_of, split_comparison, worst_first
from orchestration.report.provenance import data_light
from orchestration.report.verdict import Status, judge, status_of


def statistic(metric: str = "concordance_cc", value: float | None = 0.7, **columns) -> Statistic:
    has_interval = value is not None
    defaults = {
        "model_version": "1",
        "condition": "clean",
        "slice_by": "",
        "slice": "",
        "target": "arousal",
        "metric": metric,
        "value": value,
        "ci_low": value - 0.1 if has_interval else None,
        "ci_high": value + 0.1 if has_interval else None,
        "num_segments": 100,
        "num_speakers": 10,
        "p_value": None,
        "p_adjusted": None,
        "margin": None,
        "verdict": None,
        "reason": None,
    }
    return Statistic(**(defaults | columns))


def gap(comparison: str, value: float | None, *, verdict: str | None = "fail", **columns):
    by = comparison.partition("=")[0]
    at = {"slice_by": by, "slice": comparison, "verdict": verdict} | columns
    return statistic(at.pop("metric", "concordance_cc_gap"), value, **at)


@pytest.mark.parametrize(
    ("row", "status"),
    [
        (statistic(value=0.7), Status.PASS),
        (statistic(value=0.55), Status.INCONCLUSIVE),
        (statistic(value=0.6, ci_low=0.5), Status.INCONCLUSIVE),
        (statistic(value=0.4), Status.FAIL),
        (statistic(value=0.4, ci_high=0.501), Status.INCONCLUSIVE),
        (statistic(value=0.9, ci_low=None, ci_high=None), Status.INCONCLUSIVE),
        (statistic(value=None), Status.NOT_JUDGED),
        (statistic(value=0.9, verdict="fail"), Status.FAIL),
        (statistic(value=0.9, verdict="suppressed"), Status.NOT_JUDGED),
    ],
)
def test_the_interval_decides_unless_the_audit_has_decided(row, status: Status) -> None:
    assert status_of(row) is status


def test_all_pass_in_one_sentence() -> None:
    rows = [statistic(target=target) for target in ("valence", "arousal", "dominance")]
    verdict = judge([*rows, gap("sex=female-sex=male", 0.01, verdict="pass")])
    assert verdict.status is Status.PASS
    assert verdict.sentence == (
        "The model predicts arousal, dominance and valence well enough (CCC above .5); "
        "every gap between groups lies within its margin."
    )


def test_what_is_not_significant_is_not_called_fair() -> None:
    verdict = judge([statistic(), gap("sex=female-sex=male", 0.01, verdict="inconclusive")])
    assert verdict.status is Status.INCONCLUSIVE
    assert "which does not prove that it is fair" in verdict.sentence
    assert "but only 0 of 1 to be small enough" in verdict.lights[-1].answer


def test_without_gaps_fairness_is_not_judged() -> None:
    assert judge([statistic()]).sentence.endswith("; gaps between groups were not judged.")


def test_each_kind_of_correctness_is_named() -> None:
    rows = [
        statistic(target="arousal", value=0.8),
        statistic(target="dominance", value=0.3),
        statistic(target="valence", value=0.5),
    ]
    verdict = judge(rows)
    assert verdict.status is Status.FAIL
    assert verdict.sentence.startswith(
        "The model predicts arousal well enough (CCC above .5), dominance not well enough "
        "(CCC below .5) and valence too uncertainly to tell whether it is good enough"
    )


def test_the_worst_group_is_named_before_those_that_mirror_it() -> None:
    rows = [
        gap("accent=american-rest", 0.4),
        gap("accent=scottish-rest", -0.3),
        gap("accent=american-accent=scottish", 0.5),
        gap("accent=english-rest", None, verdict=None),
    ]
    slices = [statistic(slice_by="accent", slice=f"accent={a}") for a in ("american", "scottish")]
    ranked = worst_first(gaps_of([*rows, *slices]))
    assert [one.statistic.slice for one in ranked] == [
        "accent=scottish-rest",
        "accent=american-accent=scottish",
        "accent=american-rest",
    ]
    verdict = judge([*rows, *slices])
    assert verdict.status is Status.FAIL
    assert "accent=scottish is predicted worse than the rest on arousal by .300" in verdict.sentence
    assert len(verdict.findings) == 3


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            gap("accent=scottish-rest", -0.31, ci_low=-0.4, ci_high=-0.2),
            "accent=scottish is predicted worse than the rest on arousal by .310 CCC "
            "(95% interval .200 to .400)",
        ),
        (
            gap("sex=female-sex=male", 0.2, ci_low=-0.05, ci_high=0.3),
            "sex=male is predicted worse than sex=female on arousal by .200 CCC "
            "(95% interval \N{MINUS SIGN}.050 to .300)",
        ),
        (
            gap("sex=female-sex=male", 0.02, metric="mean_absolute_error_gap", ci_low=None),
            "sex=female is predicted worse than sex=male on arousal by .020 MAE",
        ),
        (
            gap("accent=english-rest", 0.1, ci_low=None),
            "accent=english is predicted better than the rest on arousal by .100 CCC",
        ),
        (
            gap("sex=female-sex=male", -0.05, metric="bias_gap", ci_low=-0.08, ci_high=-0.02),
            "arousal is predicted lower for sex=female than for sex=male by .050 "
            "(95% interval .020 to .080)",
        ),
        (
            gap("sex=a-sex=b", -0.1, metric="recall[joy]_gap", target="emotion", ci_low=None),
            "sex=a is predicted worse than sex=b on emotion by .100 recall of joy",
        ),
    ],
)
def test_a_gap_in_words(row, words: str) -> None:
    assert describe(gaps_of([row])[0]) == words


@pytest.mark.parametrize(
    ("comparison", "slices", "parts"),
    [
        ("a=x-y-a=z", ["a=x-y", "a=z"], ("a=x-y", "a=z")),
        ("a=x-a=x-rest", ["a=x", "a=x-rest"], ("a=x", "a=x-rest")),
        ("a=x-rest-rest", ["a=x", "a=x-rest"], ("a=x-rest", "the rest")),
        ("a=1,b=2-a=1,b=-2", ["a=1,b=2", "a=1,b=-2"], ("a=1,b=2", "a=1,b=-2")),
        ("a=x-a=y", [], ("a=x", "a=y")),
    ],
)
def test_a_comparison_is_split_where_slices_meet(comparison, slices, parts) -> None:
    assert split_comparison(comparison, slices) == parts


def test_a_gap_of_too_few_speakers_is_not_judged() -> None:
    row = gap("sex=female-sex=male", None, verdict=None, reason="fewer than 2 speakers")
    light = judge([statistic(), row]).lights[-1]
    assert light.status is Status.NOT_JUDGED
    assert light.answer == "No gap could be computed: fewer than 2 speakers"


def test_lost_rows_are_told() -> None:
    counts = {
        "predictions": 1200,
        "matched": 1190,
        "unmatched_predictions": 10,
        "arousal_scored": 1185,
        "arousal_truth_missing": 5,
        "emotion_prediction_missing": 1190,
    }
    light = data_light(counts)
    assert light.status is Status.INCONCLUSIVE
    assert light.answer == (
        "1,190 of 1,200 predictions matched; 10 are not in the metadata; "
        "5 without a truth of arousal"
    )
    complete = {"predictions": 3, "matched": 3, "arousal_scored": 3}
    assert data_light(complete).status is Status.PASS
    assert data_light(None).status is Status.NOT_JUDGED


def test_across_corpora_the_verdict_rests_on_pcc() -> None:
    rows = [statistic(value=0.3), statistic("pearson_cc", 0.8)]
    assert judge(rows).status is Status.FAIL
    verdict = judge(rows, is_cross_corpus=True)
    assert verdict.status is Status.PASS
    assert "PCC" in verdict.lights[0].answer
    assert judge(rows[:1], is_cross_corpus=True).status is Status.FAIL


def test_speakers_of_the_training_are_a_flaw_of_the_data() -> None:
    counts = {"predictions": 9, "matched": 9, "arousal_scored": 9, "training_speakers": 2}
    light = data_light({**counts, "matched_of_training_speakers": 4})
    assert light.status is Status.INCONCLUSIVE
    assert light.answer.endswith("; 4 segments are of speakers in the training")
    assert data_light({**counts, "matched_of_training_speakers": 0}).status is Status.PASS
