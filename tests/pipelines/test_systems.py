"""Systems of several runs, against scipy."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from pipelines.systems import NO_SPREAD, NO_VALUE, SYSTEM_ROWS, check_systems, system_rows
from ser_model.schema import DIMENSIONS, STATISTICS, ConfigError

SYSTEMS = {"fusion": ("f1", "f2", "f3"), "audio": ("a1", "a2", "a3"), "text": ("t1", "t2")}


def make_values(seed=0):
    random = np.random.default_rng(seed)
    return {
        (version, dimension): random.normal(0.6 + 0.03 * (name == "fusion"), 0.02)
        for name, versions in SYSTEMS.items()
        for version in versions
        for dimension in DIMENSIONS
    }


def make_statistics(values, **changes):
    empty = dict.fromkeys(STATISTICS.names)
    rows = [
        {
            **empty,
            "model_version": version,
            "condition": "clean",
            "slice_by": slice_by,
            "slice": slice_by,
            "target": target,
            "metric": "concordance_cc",
            "value": value if not slice_by else 9.0,
            "num_segments": 10,
        }
        for (version, target), value in values.items()
        for slice_by in ("", "sex")
    ]
    return pa.Table.from_pylist([{**row, **changes} for row in rows], schema=STATISTICS)


def row_of(table, **wanted):
    (row,) = [r for r in table.to_pylist() if all(r[k] == v for k, v in wanted.items())]
    return row


def test_means_deviations_and_tests_equal_scipy():
    values = make_values()
    table = system_rows(make_statistics(values), SYSTEMS)
    assert table.schema == SYSTEM_ROWS
    samples = {
        (name, d): [values[version, d] for version in versions]
        for name, versions in SYSTEMS.items()
        for d in DIMENSIONS
    }
    p_values = []
    for dimension in DIMENSIONS:
        for name in SYSTEMS:
            row = row_of(table, system=name, other_system=None, target=dimension)
            assert row["value"] == pytest.approx(np.mean(samples[name, dimension]))
            expected = np.std(samples[name, dimension], ddof=1)
            assert row["standard_deviation"] == pytest.approx(expected)
            assert row["num_runs"] == len(SYSTEMS[name])
        for first, second in (("fusion", "audio"), ("fusion", "text"), ("audio", "text")):
            row = row_of(table, system=first, other_system=second, target=dimension)
            expected = stats.ttest_ind(samples[first, dimension], samples[second, dimension])
            assert row["p_value"] == pytest.approx(expected.pvalue, rel=1e-9)
            p_values.append(row["p_value"])
    tested = [row for row in table.to_pylist() if row["p_value"] is not None]
    assert sorted(row["p_value"] for row in tested) == sorted(p_values)
    smallest = min(tested, key=lambda row: row["p_value"])
    assert smallest["p_adjusted"] == pytest.approx(min(smallest["p_value"] * 9, 1))
    by_rank = stats.false_discovery_control([row["p_value"] for row in tested])
    assert [row["p_adjusted_fdr"] for row in tested] == pytest.approx(by_rank.tolist())


def test_what_cannot_be_tested_says_why():
    values = make_values() | {("a2", "valence"): None}
    values |= {(version, "arousal"): 0.5 for version in ("t1", "t2", "a1", "a2", "a3")}
    table = system_rows(make_statistics(values), SYSTEMS)
    row = row_of(table, system="audio", other_system="text", target="arousal")
    assert (row["value"], row["p_value"], row["reason"]) == (0, None, NO_SPREAD)
    for other in (None, "text"):
        row = row_of(table, system="audio", other_system=other, target="valence")
        assert (row["value"], row["reason"]) == (None, NO_VALUE)


def test_a_system_whose_runs_were_not_all_scored_is_left_out():
    values = {key: value for key, value in make_values().items() if key[0] != "t2"}
    found = system_rows(make_statistics(values), SYSTEMS).to_pylist()
    assert {row["system"] for row in found} == {"fusion", "audio"}


def test_without_systems_there_are_no_rows():
    table = system_rows(make_statistics(make_values()), {})
    assert (table.num_rows, table.schema) == (0, SYSTEM_ROWS)


def test_an_unknown_version_lists_the_known():
    check_systems({"audio": ("a1", "a2")}, ["a2", "a1", "a1"])
    with pytest.raises(ConfigError, match=r"--system audio: no run has .* 'a3'; they have a1, a2"):
        check_systems({"audio": ("a1", "a3")}, ["a2", "a1"])
