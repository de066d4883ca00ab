from pathlib import Path

import pyarrow as pa
import pytest

from orchestration.demo.findings import read_findings
from ser_model import storage
from ser_model.schema import DIMENSIONS, STATISTICS


def statistic(target: str, metric: str, slice_name: str = "", **values: object) -> dict:
    return {
        "model_version": "demo/1",
        "condition": "clean",
        "slice_by": slice_name.partition("=")[0],
        "slice": slice_name,
        "target": target,
        "metric": metric,
        "value": 0.5,
        "ci_low": 0.4,
        "ci_high": 0.6,
        "num_segments": 10,
        "num_speakers": 4,
        **values,
    }


def overall() -> list[dict]:
    return [statistic(dimension, "concordance_cc") for dimension in DIMENSIONS]


def planted(target: str, value: float, verdict: str) -> dict:
    return statistic(
        target,
        "concordance_cc_gap",
        "accent=scottish-rest",
        value=value,
        verdict=verdict,
        p_adjusted=0.0004 if verdict == "fail" else 0.21,
        margin=0.075,
    )


def findings_of(rows: list[dict], folder: Path):
    table = pa.Table.from_pylist(rows, schema=STATISTICS)
    storage.write_table(str(folder / "statistics.parquet"), table)
    return read_findings(str(folder), "accent=scottish-rest")


def test_the_planted_gap_is_found_where_the_audit_calls_it_unfair(tmp_path: Path) -> None:
    rows = [
        *overall(),
        planted("arousal", -0.6, "fail"),
        planted("dominance", -0.1, "inconclusive"),
        planted("valence", 0.4, "fail"),  # better than the rest is not what was planted
    ]
    findings = findings_of(rows, tmp_path)
    assert findings.found_in == ("arousal",)
    assert findings.as_data()["planted_gap"] == {
        "slice": "accent=scottish-rest",
        "found": True,
        "found_in": ["arousal"],
    }
    text = findings.as_text()
    assert "planted gap accent=scottish-rest: FOUND, in arousal" in text
    assert "p < .001  fail" in text
    assert "within .075 they pass" in text
    assert "p = .210" in text


@pytest.mark.parametrize(
    "rows",
    [
        [planted("arousal", -0.6, "inconclusive")],
        [statistic("arousal", "pearson_cc_gap", "accent=scottish-rest", value=-1, verdict="fail")],
        [statistic("arousal", "concordance_cc_gap", "accent=x-rest", value=-1, verdict="fail")],
        [],
    ],
)
def test_nothing_else_counts_as_the_planted_gap(rows: list[dict], tmp_path: Path) -> None:
    findings = findings_of([*overall(), *rows], tmp_path)
    assert findings.found_in == ()
    assert "planted gap accent=scottish-rest: NOT FOUND" in findings.as_text()


def test_the_table_has_ccc_and_gaps_with_intervals_and_no_pairs_of_accents(tmp_path: Path) -> None:
    rows = [
        *overall(),
        statistic("arousal", "concordance_cc_gap", "sex=female-sex=male", value=-0.02),
        statistic("arousal", "concordance_cc_gap", "accent=american-accent=british"),
        statistic("valence", "mean_squared_error"),
    ]
    findings = findings_of(rows, tmp_path)
    assert [row["slice"] for row in findings.gaps] == ["sex=female-sex=male"]
    assert "arousal                    0.50  [ 0.40,  0.60]" in findings.as_text()


def test_a_missing_interval_says_why(tmp_path: Path) -> None:
    reason = {"ci_low": None, "ci_high": None, "reason": "fewer than 2 speakers"}
    gap = statistic("arousal", "concordance_cc_gap", "sex=female-sex=male", **reason)
    text = findings_of([*overall(), gap], tmp_path).as_text()
    assert "no interval: fewer than 2 speakers" in text
