"""The audit as most Beam pipelines do it: an element a row, a combiner a slice.

Rows are joined with CoGroupByKey, sent to each slice that they are in, and summed up there in plain
Python; an interval, where one is wanted, is a bootstrap of rows with one branch a replicate, as
TensorFlow Model Analysis has it (20 of them by default).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io.parquetio import ReadFromParquet
from audit_data import Corpus

from pipelines.runner import open_pipeline
from ser_model.schema import DIMENSIONS

Key = tuple[int, str, str]
"""Replicate (0 is the estimate), slice, dimension."""

Sums = tuple[float, float, float, float, float, float, float]
"""n, mean truth, mean prediction, their centred squares and product, absolute error."""


class CombineMoments(beam.CombineFn):
    """Welford's updates, and Chan's merges, of one pair at a time."""

    def create_accumulator(self) -> Sums:
        """Start from nothing."""
        return (0.0,) * 7

    def add_input(self, sums: Sums, pair: tuple[float, float]) -> Sums:
        """Add a truth and a prediction."""
        n, mean_t, mean_p, m2_t, m2_p, c_tp, absolute = sums
        truth, prediction = pair
        n += 1
        d_truth, d_prediction = truth - mean_t, prediction - mean_p
        mean_t += d_truth / n
        mean_p += d_prediction / n
        m2_t += d_truth * (truth - mean_t)
        m2_p += d_prediction * (prediction - mean_p)
        c_tp += d_truth * (prediction - mean_p)
        return n, mean_t, mean_p, m2_t, m2_p, c_tp, absolute + abs(prediction - truth)

    def merge_accumulators(self, accumulators: Iterable[Sums]) -> Sums:
        """Merge in any order."""
        total = self.create_accumulator()
        for part in accumulators:
            n = total[0] + part[0]
            if not n:
                continue
            d_truth, d_prediction = part[1] - total[1], part[2] - total[2]
            share = part[0] / n
            total = (
                n,
                total[1] + d_truth * share,
                total[2] + d_prediction * share,
                total[3] + part[3] + d_truth**2 * total[0] * share,
                total[4] + part[4] + d_prediction**2 * total[0] * share,
                total[5] + part[5] + d_truth * d_prediction * total[0] * share,
                total[6] + part[6],
            )
        return total

    def extract_output(self, sums: Sums) -> dict[str, float]:
        """Return the metrics."""
        n, mean_t, mean_p, m2_t, m2_p, c_tp, absolute = sums
        bias = mean_p - mean_t
        return {
            "concordance_cc": 2 * c_tp / (m2_t + m2_p + n * bias**2),
            "pearson_cc": c_tp / (m2_t * m2_p) ** 0.5,
            "mean_squared_error": (m2_t + m2_p - 2 * c_tp) / n + bias**2,
            "mean_absolute_error": absolute / n,
            "bias": bias,
        }


def audit_rowwise(corpus: Corpus, output: str, *, num_replicates: int = 0) -> None:
    """Write the metrics of every slice and speaker, as JSON lines.

    Args:
        corpus: what to audit.
        output: file to write.
        num_replicates: of the bootstrap of rows; 0 for none.
    """
    with open_pipeline([]) as pipeline:
        sides = {
            name: pipeline
            | f"Read {name}" >> ReadFromParquet(str(path))
            | f"Key {name}" >> beam.Map(lambda row: (row["segment_id"], row))
            for name, path in (("truth", corpus.metadata), ("prediction", corpus.predictions))
        }
        joined = sides | beam.CoGroupByKey() | beam.FlatMap(_pairs)
        branches = [joined | "Estimate" >> beam.FlatMap(_of_slices, 0)]
        branches += [
            joined | f"Replicate {number}" >> beam.ParDo(DrawRows(number))
            for number in range(1, num_replicates + 1)
        ]
        _ = (
            branches
            | beam.Flatten()
            | beam.CombinePerKey(CombineMoments())
            | beam.Map(json.dumps)
            | beam.io.WriteToText(output)
        )


def _pairs(element: tuple[str, Any]) -> Iterator[dict[str, Any]]:
    _, sides = element
    for truth, prediction in zip(sides["truth"], sides["prediction"], strict=True):
        yield {**truth, "predictions": [prediction[dimension] for dimension in DIMENSIONS]}


def _of_slices(row: dict[str, Any], replicate: int) -> Iterator[tuple[Key, tuple[float, float]]]:
    sex, accent = f"sex={row['sex']}", f"accent={row['accent']}"
    slices = ["", sex, accent, f"{sex},{accent}"]
    if not replicate:
        slices.append(f"speaker_id={row['speaker_id']}")
    for dimension, prediction in zip(DIMENSIONS, row["predictions"], strict=True):
        for name in slices:
            yield (replicate, name, dimension), (row[dimension], prediction)


class DrawRows(beam.DoFn):
    """Yields a row as often as a Poisson draw says: rows, not speakers."""

    def __init__(self, replicate: int) -> None:
        """Draw for one replicate."""
        self._replicate = replicate

    def setup(self) -> None:
        """Seed a generator; what it draws depends on how rows are spread over workers."""
        self._random = np.random.default_rng(self._replicate)

    def process(self, row: dict[str, Any]) -> Iterator[tuple[Key, tuple[float, float]]]:
        """Yield the row's pairs."""
        for _ in range(self._random.poisson(1.0)):
            yield from _of_slices(row, self._replicate)
