"""Compares systems, each of them several trainings with other seeds, as the papers' tables do.

A system is a way to train; its runs are its sample. The test is over runs, not over speakers: it
says whether another training of the one would again beat another training of the other on these
segments, and nothing of other segments. That is what `METRIC_difference` says of two single models.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.transforms.judging import correct
from pipelines.transforms.sharing import MAX_MODELS_IN_PAIRS
from ser_model.metrics.two_samples import independent_t_test
from ser_model.schema import ConfigError

SYSTEM_ROWS = pa.schema(
    [
        pa.field("system", pa.string(), nullable=False),
        pa.field("other_system", pa.string()),
        pa.field("condition", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("standard_deviation", pa.float64()),
        pa.field("num_runs", pa.int64(), nullable=False),
        pa.field("ci_low", pa.float64()),
        pa.field("ci_high", pa.float64()),
        pa.field("standard_error", pa.float64()),
        pa.field("degrees_of_freedom", pa.float64()),
        pa.field("p_value", pa.float64()),
        pa.field("p_adjusted", pa.float64()),
        pa.field("p_adjusted_fdr", pa.float64()),
        pa.field("reason", pa.string()),
    ]
)
"""Mean and standard deviation of a metric over the runs of a system; where `other_system` stands,
the difference of both means, with its test."""

NO_SPREAD = "no spread between runs"
NO_VALUE = "a run has no value"

Systems = Mapping[str, tuple[str, ...]]
"""Model versions by the name of the system."""

Row = dict[str, Any]


def check_systems(systems: Systems, model_versions: Iterable[str]) -> None:
    """Refuse systems of models that were not audited.

    Raises:
        ConfigError: a system names a version that no run has.
    """
    known = sorted(set(model_versions))
    for name, versions in systems.items():
        for version in versions:
            if version not in known:
                raise ConfigError(
                    f"--system {name}: no run has the model version {version!r}; they have "
                    f"{', '.join(known)}"
                )


def system_rows(statistics: pa.Table, systems: Systems) -> pa.Table:
    """Return SYSTEM_ROWS of every metric of all segments.

    Args:
        statistics: schema.STATISTICS of a whole audit.
        systems: 2 versions or more each, in the order in which they are compared: the first minus
            the second.
    """
    overall = statistics.filter(pc.equal(statistics["slice_by"], "")).to_pylist()
    values: dict[tuple[str, str, str], dict[str, float | None]] = {}
    for row in overall:
        key = (row["condition"], row["target"], row["metric"])
        values.setdefault(key, {})[row["model_version"]] = row["value"]
    families: dict[tuple[str, str], list[Row]] = {}
    rows: list[Row] = []
    for (condition, target, metric), by_version in sorted(values.items()):
        head = {"condition": condition, "target": target, "metric": metric}
        found = [{**_EMPTY, **head, **row} for row in _compare(by_version, systems)]
        rows += found
        tested = [row for row in found if row["p_value"] is not None]
        families.setdefault((condition, metric), []).extend(tested)
    for family in families.values():
        correct(family)
    return pa.Table.from_pylist(rows, schema=SYSTEM_ROWS)


def headlines_of(systems: pa.Table) -> list[Row]:
    """Return the rows that audit.json holds: of the metrics that models are known by."""
    wanted = pa.array(["concordance_cc", "pearson_cc", "unweighted_average_recall"])
    rows: list[Row] = systems.filter(pc.is_in(systems["metric"], wanted)).to_pylist()
    return rows


def _compare(by_version: Mapping[str, float | None], systems: Systems) -> Iterator[Row]:
    samples = {
        name: [by_version[version] for version in versions]
        for name, versions in systems.items()
        if all(version in by_version for version in versions)
    }
    for name, sample in samples.items():
        yield {"system": name, "num_runs": len(sample), **_mean(sample)}
    for first, second in _pairs(list(samples)):
        num_runs = len(samples[first]) + len(samples[second])
        head = {"system": first, "other_system": second, "num_runs": num_runs}
        yield {**head, **_test(samples[first], samples[second])}


def _pairs(names: Sequence[str]) -> Iterable[tuple[str, str]]:
    if len(names) <= MAX_MODELS_IN_PAIRS:
        return itertools.combinations(names, 2)
    return ((names[0], other) for other in names[1:])


def _mean(sample: Sequence[float | None]) -> Row:
    present = [value for value in sample if value is not None]
    if len(present) < len(sample):
        return {"reason": NO_VALUE}
    return {"value": float(np.mean(present)), "standard_deviation": float(np.std(present, ddof=1))}


def _test(first: Sequence[float | None], second: Sequence[float | None]) -> Row:
    present = [[value for value in sample if value is not None] for sample in (first, second)]
    if [len(sample) for sample in present] != [len(first), len(second)]:
        return {"reason": NO_VALUE}
    estimate = independent_t_test(*present)
    if estimate is None:
        value = float(np.mean(present[0]) - np.mean(present[1]))
        return {"value": value, "reason": NO_SPREAD}
    return {"value": estimate.value, "p_value": estimate.p_value, **estimate.as_columns()}


_EMPTY = dict.fromkeys(SYSTEM_ROWS.names)
