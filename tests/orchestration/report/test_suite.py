"""The section on a suite of tests."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.report.render import render_report
from pipelines.suites.judging import judge_suite
from ser_model import storage
from ser_model.schema import TESTS, RunError


@pytest.fixture
def audited(make_audit):
    """An audit with the tests of ser-tests, and what was judged."""
    folder = make_audit()
    statistics = pq.read_table(f"{folder}/statistics.parquet")
    result = judge_suite("ser-tests", statistics, ("accent", "sex"))
    pq.write_table(result.tests, f"{folder}/tests.parquet")
    audit = storage.read_json(f"{folder}/audit.json")
    audit["suite"] = {"name": "ser-tests", "models": list(result.models)}
    storage.write_json(f"{folder}/audit.json", audit)
    return folder, result


def render(folder):
    render_report(folder, f"{folder}/report.html")
    return Path(folder, "report.html").read_text()


def test_the_counts_of_the_table_are_those_of_the_tests(audited):
    folder, result = audited
    page = render(folder)
    section = page[page.index('<h2 id="suite">') : page.index('<h2 id="ledger">')]
    outcomes = result.tests.column("outcome").to_pylist()
    (totals,) = re.findall('<tr><th scope="row">All</th>(.*?)</tr>', section)
    counted = [int(number) for number in re.findall(r">(\d+)<", totals)]
    expected = ("pass", "fail", "inconclusive", "not admissible", "skipped")
    assert counted == [outcomes.count(outcome) for outcome in expected]
    assert sum(counted) == len(outcomes)
    assert "Tests of ser-tests" in page


def test_what_does_not_pass_is_listed_and_what_is_skipped_is_not(audited):
    folder, result = audited
    page = render(folder)
    listed = [r for r in result.tests.to_pylist() if r["outcome"] in ("fail", "inconclusive")]
    assert listed
    for row in listed[:5]:
        assert row["test"] in page
    assert "Percentage Unchanged Predictions Clip" not in page


def test_reasons_against_admission_are_told(make_audit, audited):
    folder, result = audited
    refused = [t["reason"] for t in result.models[0]["targets"].values() if t["reason"]]
    page = render(folder)
    for reason in refused:
        assert reason in page
    rate = result.models[0]["pass_rate"]
    assert ("No pass rate is given." in page) == (rate is None)


def test_tests_of_an_earlier_attempt_are_not_shown(make_audit):
    folder = make_audit()
    pq.write_table(pa.table({"outcome": ["pass"]}), f"{folder}/tests.parquet")
    assert 'id="suite"' not in render(folder)


def test_tests_that_are_gone_are_missed(audited):
    folder, _ = audited
    pq.write_table(TESTS.empty_table().drop_columns(["reason"]), f"{folder}/tests.parquet")
    with pytest.raises(RunError, match=r"tests\.parquet has no column reason"):
        render(folder)
