"""`serval audit` says what it found, for people and as JSON."""

import argparse
import json

import pyarrow as pa
import pytest

from orchestration.audit_text import audit_text
from orchestration.commands import audit as command
from pipelines.audit_config import DEFAULT_MARGINS, AuditSummary, Minimums
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
    "configuration": {"margins": {"concordance_cc": 0.075}},
}


def make_summary(rows=ROWS):
    statistics = pa.Table.from_pylist(rows, schema=STATISTICS)
    return AuditSummary(output="audits/a", audit=AUDIT, statistics=statistics)


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
