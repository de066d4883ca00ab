"""`serval audit` says what it found, for people and as JSON."""

import argparse
import json

import pyarrow as pa
import pytest

from orchestration.audit_text import audit_text
from orchestration.commands import audit as command
from pipelines.audit_config import CROSS_CORPUS_MARGINS, DEFAULT_MARGINS, AuditSummary, Minimums
from ser_model.schema import STATISTICS, ConfigError


def statistic(metric, value, slice_by="", slice_name="", target="arousal", **more):
    row = dict.fromkeys(STATISTICS.names)
    row |= {"model_version": "1", "condition": "clean", "num_segments": 9, "target": target}
    row |= {"metric": metric, "value": value, "slice_by": slice_by, "slice": slice_name}
    return row | more


TOO_SMALL = {"verdict": "suppressed", "reason": "fewer than 3 speakers"}
ROWS = [
    statistic("concordance_cc", 0.75, ci_low=0.7, ci_high=0.8),
    statistic("concordance_cc", None, target="valence", reason="no variance"),
    statistic("bias", 0.1),
    statistic("unweighted_average_recall", 0.6, target="emotion", reason="fewer than 2 speakers"),
    statistic(
        "concordance_cc_gap",
        0.04,
        "sex",
        "sex=female-sex=male",
        ci_low=-0.1,
        ci_high=0.2,
        p_adjusted=0.4,
        margin=0.075,
        minimum_detectable_effect=0.21,
        verdict="inconclusive",
    ),
    statistic(
        "concordance_cc_gap",
        -0.3,
        "accent",
        "accent=scottish-rest",
        ci_low=-0.4,
        ci_high=-0.2,
        p_adjusted=0.0002,
        minimum_detectable_effect=0.14,
        verdict="fail",
    ),
    statistic("gender_fairness_score", 0.04, "sex", "sex=female-sex=male"),
    statistic("concordance_cc", None, "accent", "accent=welsh", **TOO_SMALL),
    statistic("concordance_cc_gap", None, "accent", "accent=welsh-rest", **TOO_SMALL),
    *(
        statistic(f"speaker_concordance_cc_{label}", value, num_speakers=7)
        for label, value in (("p05", 0.2), ("p50", 0.6), ("p95", 0.9))
    ),
    statistic("residual_slope", 0.3),
    statistic("residual_mean", 0.1, "accent", "accent=scottish", p_adjusted=0.01),
    statistic("residual_mean", 0.0, "accent", "accent=english", p_adjusted=0.8),
]
COUNTS = {"model_version": "1", "condition": "clean", "matched": 90, "unmatched_predictions": 2}
COUNTS |= {"unmatched_metadata": 10, "duplicate_predictions": 1}
AUDIT = {
    "ledger": {"models": [COUNTS]},
    "notes": ["7 segments have no speaker_id"],
    "verdicts": {"fail": 1, "inconclusive": 1},
    "configuration": {"margins": {"concordance_cc": 0.075}, "cross_corpus": False},
    "systems": [],
}


def make_summary(rows=ROWS, **changes):
    statistics = pa.Table.from_pylist(rows, schema=STATISTICS)
    return AuditSummary(output="audits/a", audit={**AUDIT, **changes}, statistics=statistics)


def test_the_summary_for_people():
    assert audit_text(make_summary()).splitlines() == [
        "model 1, clean: 90 segments audited",
        "  CCC  arousal     0.750  [ 0.700,  0.800]",
        "  CCC  valence    no value: no variance",
        "  UAR  emotion     0.600  no interval: fewer than 2 speakers",
        "  gaps between groups (first minus second; p adjusted for looking at many)",
        "  CCC  arousal    accent=scottish-rest -0.300  [-0.400, -0.200]  p < .001"
        ", smallest gap to be seen 0.140: fail",
        "  CCC  arousal    sex=female-sex=male   0.040  [-0.100,  0.200]  p = 0.400"
        ", margin 0.075, smallest gap to be seen 0.210: inconclusive",
        "  2 of 3 gaps are shown: 1 fail, 1 inconclusive, 1 suppressed",
        "  gender fairness score (CCC of female minus CCC of male speakers): arousal 0.040",
        "  not shown: accent=welsh, fewer than 3 speakers",
        "  speakers' CCC of arousal: middle 0.600, 5 % below 0.200, 5 % above 0.900 (7 speakers)",
        "  slope of truth minus prediction on the truth (1: predictions do not follow): "
        "arousal 0.300",
        "  mean residual differs from 0 in 1 of 2 groups and dimensions",
        "  join: 90 matched, 2 predictions and 10 rows of metadata unmatched, 1 duplicates",
        "note: 7 segments have no speaker_id",
        "statistics: audits/a/statistics.parquet",
        "next: serval report audits/a",
    ]


def test_no_groups_and_many_groups():
    assert "  no groups to compare" in audit_text(make_summary(ROWS[:1]))
    many = [statistic("concordance_cc_gap", n / 100, "a", f"a={n}-rest") for n in range(15)]
    assert "  12 of 15 gaps are shown: 15 not tested" in audit_text(make_summary(many))


def test_across_corpora_pcc_stands_in_the_place_of_ccc():
    rows = [*ROWS, statistic("pearson_cc", 0.8, ci_low=0.7, ci_high=0.9)]
    configuration = {"margins": {"pearson_cc": 0.075}, "cross_corpus": True}
    lines = audit_text(make_summary(rows, configuration=configuration)).splitlines()
    assert lines[1:3] == [
        "  UAR  emotion     0.600  no interval: fewer than 2 speakers",
        "  PCC  arousal     0.800  [ 0.700,  0.900]",
    ]
    assert not any(line.startswith("  CCC") for line in lines)


COMPARED = [
    statistic(
        "concordance_cc_difference",
        0.05,
        "model_version",
        "model_version=1-model_version=2",
        ci_low=0.01,
        ci_high=0.09,
        p_adjusted=0.02,
    ),
    statistic("bias_difference", 0.05, "model_version", "model_version=1-model_version=2"),
    statistic("concordance_cc_difference", 0.1, "model_version,sex", "..."),
    statistic(
        "concordance_cc_change",
        0.0,
        "condition",
        "condition=noise-condition=clean",
        ci_low=0.0,
        ci_high=0.0,
        reason="no spread between replicates",
        condition="noise",
    ),
]


def test_models_and_conditions_are_shown_side_by_side():
    lines = audit_text(make_summary([*ROWS, *COMPARED])).splitlines()
    first = lines.index(
        "differences between models (first minus second; the same segments and draws of speakers)"
    )
    assert lines[first + 1 : first + 4] == [
        "  CCC  arousal    1-2, clean: 0.050  [0.010, 0.090]  p = 0.020",
        "changes from clean audio (first minus second; the same segments and draws of speakers)",
        "  CCC  arousal    noise-clean, model 1: 0.000  [0.000, 0.000]",
    ]
    many = audit_text(make_summary([*ROWS, *COMPARED[:1] * 15]))
    assert "  3 more are in statistics.parquet" in many


def test_break_points_are_shown_or_why_there_is_none():
    metric = "concordance_cc_break_point"
    rows = [
        statistic(metric, 10.0, "condition", "condition=noise-*db", margin=0.05),
        statistic(metric, None, "condition", "condition=gaps-*pct", reason="inconclusive: why"),
        statistic(metric, 5.0, "condition,sex", "condition=noise-*db,sex=female"),
    ]
    lines = audit_text(make_summary([*ROWS, *rows])).splitlines()
    first = lines.index(
        "break points (mildest level from which on all are shown to cost more than 0.05)"
    )
    assert lines[first + 1 : first + 3] == [
        "  CCC  arousal    noise-*db, model 1: 10",
        "  CCC  arousal    gaps-*pct, model 1: none, inconclusive: why",
    ]
    assert "sex=female" not in "".join(lines[first:])


def test_systems_are_shown_with_their_tests():
    head = {"condition": "clean", "target": "arousal", "metric": "concordance_cc", "reason": None}
    means = [
        {**head, "system": name, "other_system": None, "value": value, "standard_deviation": 0.01}
        for name, value in (("fusion", 0.66), ("audio", 0.6))
    ]
    test = {**head, "system": "fusion", "other_system": "audio", "value": 0.06}
    none = {**head, "system": "text", "other_system": None, "value": None}
    rows = [*means, {**test, "p_adjusted": 0.0004}, {**none, "reason": "a run has no value"}]
    lines = audit_text(make_summary(systems=rows)).splitlines()
    first = lines.index("systems over their runs (t-test between means of runs)")
    assert lines[first + 1 : first + 5] == [
        "  CCC  arousal    clean fusion: 0.660 (standard deviation 0.010)",
        "  CCC  arousal    clean audio: 0.600 (standard deviation 0.010)",
        "  CCC  arousal    clean fusion-audio: 0.060  p < .001",
        "  CCC  arousal    clean text: no value: a run has no value",
    ]


@pytest.fixture
def run_command(monkeypatch):
    calls = []

    def record(*args, **options):
        calls.append((args, options))
        return make_summary()

    monkeypatch.setattr("orchestration.auditing.audit_runs", record)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)

    def call(*words):
        args = parser.parse_args(words)
        args.beam_options = ("--direct_num_workers=2",)
        return command.run(args), calls[-1]

    return call


def test_the_options_reach_the_audit(run_command):
    words = ["r1", "r2", "--metadata", "m.csv", "--output", "out", "--slice", "sex,accent"]
    words += ["--margin", "bias=.1", "--margins", "permutation", "--min-segments", "5"]
    words += ["--min-speakers", "4", "--stratum", "act", "--speaker-draws"]
    words += ["--suite", "ser-tests"]
    words += ["--prediction-range=-3:3", "--system", "cnn14=1,2", "--training", "t.csv"]
    words += ["--keep-dimension-order"]
    words += ["--slice", "sex", "--seed", "3", "--truth-range", "1:7", "--replicates", "50"]
    _, (args, options) = run_command(*words)
    assert args == (["r1", "r2"], "m.csv", "out")
    assert options == {
        "slices": [("sex", "accent"), ("sex",)],
        "strata": [("act",)],
        "seed": 3,
        "truth_range": (1.0, 7.0),
        "num_replicates": 50,
        "margins": {**DEFAULT_MARGINS, "bias": 0.1},
        "margins_from": "permutation",
        "minimums": Minimums(segments=5, speakers=4),
        "speaker_draws": True,
        "suite": "ser-tests",
        "prediction_range": (-3.0, 3.0),
        "cross_corpus": False,
        "systems": {"cnn14": ("1", "2")},
        "training": "t.csv",
        "keep_dimension_order": True,
        "beam_options": ("--direct_num_workers=2",),
    }


def test_without_slices_the_audit_chooses(run_command):
    _, (_, options) = run_command("r", "--metadata", "m.csv", "--output", "out")
    assert options["slices"] is None


def test_the_json(run_command):
    summary, _ = run_command("r", "--metadata", "m.csv", "--output", "out")
    data = json.loads(json.dumps(summary.data))
    assert data["output"] == "audits/a"
    assert [row["metric"] for row in data["statistics"]] == [
        "concordance_cc",
        "concordance_cc",
        "unweighted_average_recall",
    ]
    assert [row["verdict"] for row in data["gaps"]] == ["inconclusive", "fail", "suppressed"]
    assert data["ledger"]["models"][0]["matched"] == 90


def test_a_bad_slice(run_command):
    with pytest.raises(ConfigError, match="--slice"):
        run_command("r", "--metadata", "m.csv", "--output", "out", "--slice", "sex,,accent")


@pytest.mark.parametrize("margin", ["bias", "bias=", "bias=small"])
def test_a_bad_margin(run_command, margin):
    with pytest.raises(ConfigError, match="--margin"):
        run_command("r", "--metadata", "m.csv", "--output", "out", "--margin", margin)


@pytest.mark.parametrize("scale", ["7:1", "1", "a:b"])
def test_a_bad_range_of_predictions(run_command, scale):
    with pytest.raises(ConfigError, match="--prediction-range"):
        run_command("r", "--metadata", "m.csv", "--output", "out", "--prediction-range", scale)


def test_across_corpora_other_margins_are_the_default(run_command):
    words = ["r", "--metadata", "m.csv", "--output", "out", "--cross-corpus"]
    _, (_, options) = run_command(*words, "--margin", "bias=.1")
    assert options["margins"] == {**CROSS_CORPUS_MARGINS, "bias": 0.1}
