"""Holds the statistics of an audit against the tests of a suite.

A pure function of the statistics: nothing is computed from segments here. All models have the same
list of tests, whatever they predict, so that none gains by what it lacks: what cannot be tested is
skipped, says why, and counts in the denominator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.suites.admission import Admission, admission_of
from pipelines.suites.corpus import Corpus
from pipelines.suites.correctness import correctness_tests
from pipelines.suites.fairness import fairness_tests
from pipelines.suites.robustness import robustness_tests
from pipelines.suites.suite_test import (
    Outcome,
    Row,
    SuiteTest,
    outcome_of_interval,
    outcome_of_value,
)
from ser_model.schema import CLEAN, DIMENSIONS, TESTS

StatisticKey = tuple[str, str, str, str, str]
"""Condition, slice_by, slice, target and metric."""

_TARGETS = (*DIMENSIONS, "emotion")
_COPIED = ("value", "ci_low", "ci_high", "num_segments", "num_speakers")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteResult:
    """What a suite found.

    Attributes:
        tests: schema.TESTS.
        models: a summary of each model, as it stands in audit.json.
    """

    tests: pa.Table
    models: tuple[Mapping[str, Any], ...]


def judge_suite(suite: str, statistics: pa.Table, groupings: Sequence[str]) -> SuiteResult:
    """Judge every test of a suite for every model.

    Args:
        suite: its name.
        statistics: schema.STATISTICS.
        groupings: for which the metadata has columns.
    """
    rows = statistics.to_pylist()
    corpus = Corpus.from_statistics(rows, groupings)
    by_model: dict[str, dict[StatisticKey, Row]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("condition", "slice_by", "slice", "target", "metric"))
        by_model.setdefault(row["model_version"], {})[key] = row
    tests: list[dict[str, Any]] = []
    models = []
    for model_version, found in sorted(by_model.items()):
        admissions = _admissions(found, corpus)
        judged = [
            {"model_version": model_version, "suite": suite, **_judge(test, found, admission)}
            for target, admission in admissions.items()
            for test in suite_tests(target, corpus)
        ]
        tests += judged
        models.append({"model_version": model_version, **_summary(admissions, judged)})
    order = ("model_version", "family", "test", "target", "slice_by", "slice", "metric")
    table = pa.Table.from_pylist(tests, schema=TESTS).sort_by([(n, "ascending") for n in order])
    return SuiteResult(tests=table.combine_chunks(), models=tuple(models))


def suite_tests(target: str, corpus: Corpus) -> Iterator[SuiteTest]:
    """Yield all tests of a target."""
    yield from correctness_tests(target, corpus)
    yield from fairness_tests(target, corpus)
    yield from robustness_tests(target)


def _admissions(found: Mapping[StatisticKey, Row], corpus: Corpus) -> dict[str, Admission]:
    """By target; a model of dimensions is tested on all that any model of the audit predicts."""
    overall = {
        (target, metric): row
        for (condition, slice_by, _, target, metric), row in found.items()
        if condition == CLEAN and slice_by == ""
    }
    predicted = {key[3] for key in found}
    targets = [target for target in _TARGETS if target in corpus.targets]
    if not predicted & set(DIMENSIONS):
        targets = [target for target in targets if target not in DIMENSIONS]
    if "emotion" not in predicted:
        targets = [target for target in targets if target != "emotion"]
    return {target: admission_of(target, overall, len(corpus.emotions)) for target in targets}


def _judge(
    test: SuiteTest, found: Mapping[StatisticKey, Row], admission: Admission
) -> dict[str, Any]:
    head = {
        "condition": test.condition,
        "family": test.family,
        "test": test.name,
        "target": test.target,
        "slice_by": test.slice_by,
        "slice": test.slice,
        "metric": test.metric,
        "threshold": test.threshold,
        "comparison": str(test.comparison),
    }
    row = _find(test, test.slice, found)
    if row is not None:
        head |= {name: row[name] for name in _COPIED}
        point = row if test.point_slice is None else _find(test, test.point_slice, found)
        if point is not None and point["value"] is not None:
            plain = outcome_of_value(point["value"], test.comparison, test.threshold)
            head |= {"point_value": point["value"], "point_outcome": str(plain)}
    outcome, reason = _outcome(test, row)
    if admission.reason is not None:
        outcome, reason = Outcome.NOT_ADMISSIBLE, admission.reason
    return {**head, "outcome": str(outcome), "reason": reason}


def _find(test: SuiteTest, slice_name: str, found: Mapping[StatisticKey, Row]) -> Row | None:
    return found.get((test.condition, test.slice_by, slice_name, test.target, test.metric))


def _outcome(test: SuiteTest, row: Row | None) -> tuple[Outcome, str | None]:
    if row is None:
        return Outcome.SKIPPED, test.if_absent
    if row["value"] is None:
        return Outcome.SKIPPED, row["reason"]
    if row["ci_low"] is None:
        return Outcome.INCONCLUSIVE, f"there is no interval: {row['reason']}"
    ends = (row["ci_low"], row["ci_high"])
    return outcome_of_interval(*ends, test.comparison, test.threshold), None


def _summary(
    admissions: Mapping[str, Admission], judged: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Count outcomes; a share of passed tests only where the model is admissible in all targets."""
    targets = {}
    for target, admission in admissions.items():
        of_target = [test for test in judged if test["target"] == target]
        targets[target] = {
            "is_admissible": admission.is_admissible,
            "reason": admission.reason,
            "floor": admission.floor,
            **_rate(of_target, is_admissible=admission.is_admissible),
        }
    is_admissible = bool(admissions) and all(one.is_admissible for one in admissions.values())
    families = sorted({test["family"] for test in judged})
    return {
        "is_admissible": is_admissible,
        **_rate(judged, is_admissible=is_admissible),
        "targets": targets,
        "families": {
            family: _count(test for test in judged if test["family"] == family)
            for family in families
        },
    }


def _rate(tests: Sequence[Mapping[str, Any]], *, is_admissible: bool) -> dict[str, Any]:
    outcomes = _count(tests)
    passed = outcomes.get(str(Outcome.PASS), 0)
    return {
        "num_tests": len(tests),
        "outcomes": outcomes,
        "pass_rate": passed / len(tests) if is_admissible and tests else None,
    }


def _count(tests: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    counts = Counter(test["outcome"] for test in tests)
    return {str(outcome): counts[str(outcome)] for outcome in Outcome if counts[str(outcome)]}
