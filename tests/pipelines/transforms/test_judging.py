"""Three verdicts, the margins that they rest on, and what is corrected for."""

import pyarrow as pa
import pytest
from scipy import stats

from pipelines.audit_config import AuditConfig
from pipelines.transforms.judging import judge_gaps, permuted_verdict, verdict
from pipelines.transforms.tables import PERMUTATION_ROWS
from ser_model.metrics.intervals import Estimate
from ser_model.schema import STATISTICS, ConfigError

FREEDOM = 20.0


def statistic(metric="concordance_cc_gap", value=0.0, error=0.01, **columns):
    p_value = None if value is None else 2 * stats.t.sf(abs(value / error), FREEDOM)
    row = dict.fromkeys(STATISTICS.names)
    row |= {"model_version": "m", "condition": "clean", "slice_by": "sex", "slice": "a-b"}
    row |= {"target": "arousal", "metric": metric, "num_segments": 1, "value": value}
    row |= {"standard_error": error, "degrees_of_freedom": FREEDOM, "p_value": p_value}
    return row | columns


def judge(rows, permutations=None, **config):
    table = pa.Table.from_pylist(rows, schema=STATISTICS)
    return judge_gaps(table, AuditConfig(**config), permutations).to_pylist()


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.01, 0.02, "pass"),
        (-0.01, 0.02, "pass"),
        (0.05, 0.02, "inconclusive"),
        (0.01, 0.2, "inconclusive"),
        (0.09, 0.02, "inconclusive"),
        (0.2, 0.02, "fail"),
        (-0.2, 0.02, "fail"),
        (0.2, 0.08, "inconclusive"),
    ],
)
def test_the_verdict_is_where_the_interval_of_two_one_sided_tests_lies(value, error, expected):
    """The interval of two one-sided tests at 5 % is the 90 % one."""
    (row,) = judge([statistic(value=value, error=error)])
    low, high = stats.t.interval(0.9, FREEDOM, value, error)
    within, beyond = low > -0.075 and high < 0.075, low > 0.075 or high < -0.075
    assert row["verdict"] == ("pass" if within else "fail" if beyond else "inconclusive")
    assert row["verdict"] == expected
    assert row["margin"] == 0.075


def test_a_gap_fails_only_where_it_survives_the_correction():
    """Its interval lies beyond the margin, but one of forty such is to be expected."""
    gap = statistic(value=0.15, error=0.04)
    assert 0.05 / 40 < gap["p_value"] < 0.05
    assert judge([gap])[0]["verdict"] == "fail"
    others = [statistic(slice=f"c-{number}", error=0.1) for number in range(39)]
    assert judge([gap, *others])[0]["verdict"] == "inconclusive"


def test_without_a_margin_what_differs_from_0_fails_and_nothing_passes():
    rows = [statistic("bias_gap", value, 0.01, slice=str(value)) for value in (0.0, 0.03)]
    judged = judge(rows, margins={"bias": None})
    assert [row["verdict"] for row in judged] == ["inconclusive", "fail"]
    assert {row["margin"] for row in judged} == {None}


def test_the_family_is_what_has_a_margin():
    rows = [
        statistic(value=0.02, slice="a-b"),
        statistic(value=0.03, slice="a-c"),
        statistic(p_value=None, slice="a-d"),
        statistic("bias_gap", 0.05),
        statistic("recall[joy]_gap", 0.05),
        statistic("concordance_cc", 0.05),
    ]
    tested = judge(rows, margins={"concordance_cc": 0.1})
    p = [row["p_value"] for row in rows]
    assert [row["p_adjusted"] for row in tested[:2]] == pytest.approx([p[0], 2 * p[1]])
    assert [row["p_adjusted_fdr"] for row in tested[:2]] == pytest.approx(
        stats.false_discovery_control(p[:2])
    )
    for row in tested[2:]:
        assert (row["p_adjusted"], row["verdict"], row["margin"]) == (None, None, None)
    wider = judge(rows, margins={"recall": 0.1, "recall[joy]": 0.2, "bias": 0.01})
    assert [row["margin"] for row in wider] == [None, None, None, 0.01, 0.2, None]


def test_the_minimum_detectable_effect_would_be_found_four_times_in_five():
    (row,) = judge([statistic(error=0.03)])
    effect, critical = row["minimum_detectable_effect"], stats.t.ppf(0.975, FREEDOM)
    assert effect > critical * 0.03
    found = stats.t.sf(critical - effect / 0.03, FREEDOM)
    assert found == pytest.approx(0.8, abs=1e-6)


def test_suppressed_slices_stay_suppressed():
    suppressed = {"value": None, "verdict": "suppressed", "reason": "few"}
    (row,) = judge([statistic(**suppressed)])
    assert (row["verdict"], row["reason"], row["margin"]) == ("suppressed", "few", None)


def test_permutations_decide_what_fails_and_the_given_margin_what_passes():
    rows = [statistic(value=value, slice=str(value)) for value in (0.2, 0.01, 0.07)]
    rows.append(statistic(value=0.01, slice="not shuffled"))
    at = {"slice_by": "sex", "target": "arousal", "metric": "concordance_cc_gap"}
    found = [
        {**at, "slice": "0.2", "margin": 0.3, "p_adjusted": 0.4},
        {**at, "slice": "0.01", "margin": 0.3, "p_adjusted": 1.0},
        {**at, "slice": "0.07", "margin": 0.05, "p_adjusted": 0.01},
    ]
    judged = judge(rows, pa.Table.from_pylist(found, schema=PERMUTATION_ROWS))
    assert [row["verdict"] for row in judged] == ["inconclusive", "pass", "fail", "pass"]
    assert [row["margin"] for row in judged] == [0.3, 0.3, 0.05, 0.075]
    assert [row["p_adjusted"] for row in judged[:3]] == [0.4, 1.0, 0.01]


def test_a_wide_margin_by_permutation_lets_nothing_pass():
    """Few speakers make wide margins; that must not look fair."""
    gap = Estimate(value=0.01, standard_error=0.2, degrees_of_freedom=3)
    assert permuted_verdict(gap, 0.075, 1.0) == "inconclusive"
    assert permuted_verdict(gap, None, 1.0) == "inconclusive"
    assert verdict(gap, 10.0, 1.0) == "pass"


@pytest.mark.parametrize("margin", [0.0, -0.1, float("nan")])
def test_a_margin_is_more_than_0(margin):
    with pytest.raises(ConfigError, match="the margin of bias is"):
        AuditConfig(margins={"bias": margin})
