"""A suite of tests: how many came out how, and which did not pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from orchestration.report import wording
from orchestration.report.audit_folder import AuditFolder

OUTCOMES = ("pass", "fail", "inconclusive", "not admissible", "skipped")
LISTED = ("fail", "inconclusive")
MAX_MODELS = 8
MAX_TESTS = 24
"""Listed for each model; all of them are in tests.parquet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTest:
    """One test that did not pass, in words.

    Attributes:
        name: the suite's name of it, with family and target.
        what: the metric, of which group.
        value: of the statistic.
        ci_low: of its 95 % interval; None where there is none.
        ci_high: likewise.
        threshold: with its comparison, "> .5".
        outcome: by the interval.
        point_outcome: by the number alone, as the suite's authors read it.
    """

    name: str
    what: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    threshold: str
    outcome: str
    point_outcome: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTests:
    """The tests of one model.

    Attributes:
        title: the model.
        families: by family the number of each of OUTCOMES.
        totals: the same for all of them.
        num_tests: how many there are.
        pass_rate: passed of all; None where the model is not admissible in all targets.
        refused: why targets are not admissible.
        listed: tests that fail or are inconclusive, MAX_TESTS at most.
        num_listed: how many those are.
    """

    title: str
    families: tuple[tuple[str, tuple[int, ...]], ...]
    totals: tuple[int, ...]
    num_tests: int
    pass_rate: float | None
    refused: tuple[str, ...]
    listed: tuple[ListedTest, ...]
    num_listed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitePanel:
    """What a suite says of the models, MAX_MODELS at most.

    Attributes:
        name: of the suite.
        models: those that are shown.
        num_models: how many there are.
    """

    name: str
    models: tuple[ModelTests, ...]
    num_models: int


def suite_panel(folder: AuditFolder, names: Mapping[str, str]) -> SuitePanel | None:
    """Return what the suite says; None where none was asked for.

    Args:
        folder: the audit.
        names: the URI of a model version, where it has one.
    """
    suite = folder.audit.get("suite")
    if suite is None:
        return None
    rows = _listed_rows(folder.tests)
    models = []
    for model in suite["models"][:MAX_MODELS]:
        version = model["model_version"]
        of_model = [row for row in rows if row["model_version"] == version]
        of_model.sort(key=lambda row: LISTED.index(row["outcome"]))
        targets = model["targets"].values()
        models.append(
            ModelTests(
                title=names.get(version, version),
                families=tuple(
                    (family, _numbers(counts)) for family, counts in model["families"].items()
                ),
                totals=_numbers(model["outcomes"]),
                num_tests=model["num_tests"],
                pass_rate=model["pass_rate"],
                refused=tuple(one["reason"] for one in targets if one["reason"] is not None),
                listed=tuple(_listed_test(row) for row in of_model[:MAX_TESTS]),
                num_listed=len(of_model),
            )
        )
    return SuitePanel(name=suite["name"], models=tuple(models), num_models=len(suite["models"]))


def _listed_rows(tests: pa.Table) -> Sequence[dict[str, object]]:
    return [row for row in tests.to_pylist() if row["outcome"] in LISTED]


def _numbers(counts: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(counts.get(outcome, 0) for outcome in OUTCOMES)


def _listed_test(row: Mapping[str, object]) -> ListedTest:
    what = wording.metric_label(str(row["metric"])).replace("_", " ")
    where = f", {wording.name(str(row['slice']))}" if row["slice"] else ""
    return ListedTest(
        name=f"{row['family']}: {row['test']}, {row['target']}",
        what=f"{what}{where}",
        value=_number(row["value"]),
        ci_low=_number(row["ci_low"]),
        ci_high=_number(row["ci_high"]),
        threshold=f"{row['comparison']} {row['threshold']:g}",
        outcome=str(row["outcome"]),
        point_outcome=None if row["point_outcome"] is None else str(row["point_outcome"]),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, float) else None
