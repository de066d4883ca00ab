"""The audit's statistics, without intervals, by DuckDB and numpy on one machine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import duckdb
import numpy as np
import pandas as pd
from audit_data import Corpus

from ser_model.schema import DIMENSIONS

SLICES = ((), ("sex",), ("accent",), ("sex", "accent"))
NUM_FINE_BINS = 20

Statistics = dict[tuple[str, str, str], float]
"""Value by slice, dimension and metric."""


def audit_with_duckdb(corpus: Corpus) -> Statistics:
    """Join, group by speaker and by bin in SQL, and derive the metrics from the groups."""
    with duckdb.connect() as database:
        database.execute("SET threads = 2")
        sides = [f"m.{d} AS truth_{d}, p.{d} AS prediction_{d}" for d in DIMENSIONS]
        database.execute(
            f"CREATE TEMP TABLE joined AS SELECT m.speaker_id, m.sex, m.accent, {', '.join(sides)} "
            f"FROM '{corpus.predictions}' p JOIN '{corpus.metadata}' m USING (segment_id)"
        )
        speakers = database.execute(
            "SELECT speaker_id, sex, accent, count(*) AS n, "
            f"{', '.join(itertools.chain(*map(_moments, DIMENSIONS)))} "
            "FROM joined GROUP BY speaker_id, sex, accent"
        ).df()
        bins = {d: database.execute(_bins(d)).df() for d in DIMENSIONS}
    statistics: Statistics = {}
    for dimension in DIMENSIONS:
        for name, of_slice in _groups(speakers):
            sums = _merged(_sums(of_slice, dimension), of_slice["n"].to_numpy(np.float64))
            for metric, value in _metrics_of_sums(sums):
                statistics[name, dimension, metric] = float(value)
        for name, of_slice in _groups(bins[dimension]):
            for metric, value in _metrics_of_bins(of_slice):
                statistics[name, dimension, metric] = value
        for metric, values in _metrics_of_sums(_sums(speakers, dimension)):
            names = zip(speakers["speaker_id"], values.tolist(), strict=True)
            statistics.update({(name, dimension, metric): value for name, value in names})
    return statistics


def _moments(dimension: str) -> Iterator[str]:
    truth, prediction = f"truth_{dimension}::DOUBLE", f"prediction_{dimension}::DOUBLE"
    yield f"avg({truth}) AS mean_truth_{dimension}"
    yield f"avg({prediction}) AS mean_prediction_{dimension}"
    yield f"var_pop({truth}) AS var_truth_{dimension}"
    yield f"var_pop({prediction}) AS var_prediction_{dimension}"
    yield f"covar_pop({truth}, {prediction}) AS covariance_{dimension}"
    yield f"avg(abs({prediction} - {truth})) AS mae_{dimension}"


def _bins(dimension: str) -> str:
    def fine(side: str) -> str:
        last = NUM_FINE_BINS - 1
        return f"greatest(least(floor({side}_{dimension} * {NUM_FINE_BINS}), {last}), 0)::INT"

    return (
        f"SELECT sex, accent, {fine('truth')} AS truth_bin, "
        f"{fine('prediction')} AS prediction_bin, count(*) AS n FROM joined GROUP BY ALL"
    )


def _groups(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for columns in SLICES:
        if not columns:
            yield "", rows
            continue
        for values, of_slice in rows.groupby(list(columns)):
            yield ",".join(f"{c}={v}" for c, v in zip(columns, values, strict=True)), of_slice


def _sums(rows: pd.DataFrame, dimension: str) -> dict[str, np.ndarray]:
    names = ("mean_truth", "mean_prediction", "var_truth", "var_prediction", "covariance", "mae")
    return {name: rows[f"{name}_{dimension}"].to_numpy(np.float64) for name in names}


def _merged(sums: dict[str, np.ndarray], n: np.ndarray) -> dict[str, np.ndarray]:
    """Merge the sums of speakers into those of all of them."""
    share = n / n.sum()
    means = {side: share @ sums[f"mean_{side}"] for side in ("truth", "prediction")}
    d_truth, d_prediction = (sums[f"mean_{side}"] - mean for side, mean in means.items())
    return {
        **{f"mean_{side}": mean for side, mean in means.items()},
        "var_truth": share @ (sums["var_truth"] + d_truth**2),
        "var_prediction": share @ (sums["var_prediction"] + d_prediction**2),
        "covariance": share @ (sums["covariance"] + d_truth * d_prediction),
        "mae": share @ sums["mae"],
    }


def _metrics_of_sums(sums: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    bias = sums["mean_prediction"] - sums["mean_truth"]
    both = sums["var_truth"] + sums["var_prediction"]
    covariance = sums["covariance"]
    yield "concordance_cc", 2 * covariance / (both + bias**2)
    yield "pearson_cc", covariance / np.sqrt(sums["var_truth"] * sums["var_prediction"])
    yield "mean_squared_error", both - 2 * covariance + bias**2
    yield "mean_absolute_error", sums["mae"]
    yield "bias", bias


def _metrics_of_bins(rows: pd.DataFrame) -> Iterator[tuple[str, float]]:
    grid = np.zeros((NUM_FINE_BINS, NUM_FINE_BINS))
    np.add.at(grid, (rows["truth_bin"], rows["prediction_bin"]), rows["n"])
    shares = [grid.sum(axis=axis).reshape(10, 2).sum(axis=1) / grid.sum() for axis in (1, 0)]
    middle = (shares[0] + shares[1]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(side > 0, side * np.log2(side / middle), 0.0) for side in shares]
        yield "jensen_shannon_distance", float(np.sqrt(sum(t.sum() for t in terms) / 2))
        quarters = grid.reshape(4, 5, 4, 5).sum(axis=(1, 3))
        hits = np.diag(quarters)
        for kind, totals in (("recall", quarters.sum(axis=1)), ("precision", quarters.sum(axis=0))):
            for index, value in enumerate(hits / totals):
                yield f"{kind}[{index}]", float(value)
