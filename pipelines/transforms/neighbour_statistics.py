"""Rows of statistics on the neighbourhoods of a model's sampled embeddings, with intervals.

Intervals are over speakers, as all others are; the neighbours stay the same in every replicate.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.audit_config import AuditConfig
from pipelines.transforms.comparing import FEW_REPLICATES, FEW_SPEAKERS, MIN_SPEAKERS
from pipelines.transforms.tables import MISSING, array, floats
from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.concordance import pearson_cc_of
from ser_model.metrics.intervals import (
    Scale,
    effective_speakers,
    speaker_error,
    speaker_interval,
)
from ser_model.metrics.moments import CoMoments, Floats
from ser_model.metrics.neighbours import (
    nearest_neighbours,
    same_value_shares,
    squared_distances,
)
from ser_model.schema import DIMENSIONS, STATISTICS

EMBEDDING_TARGET = "embedding"
"""Target of what is said of the embeddings themselves."""

SHARE, SHARE_BY_CHANCE = "neighbour_share", "neighbour_share_by_chance"
TRUTH_CORRELATION = "neighbour_pearson_cc"

Codes = NDArray[np.int64]


class _Speakers:
    """The speakers of the segments, and how often they count in which replicate."""

    def __init__(self, speaker_ids: list[str], config: AuditConfig) -> None:
        names, self.codes_N = np.unique(speaker_ids, return_inverse=True)
        self.num = len(names)
        weights_BS = poisson_weights(
            speaker_keys(names.tolist()), seed=config.seed, num_replicates=config.num_replicates
        )
        self.weights_B1S = np.concatenate([np.ones((1, self.num)), weights_BS])

    def row(self, values_B1: Floats, counted_N: NDArray[np.bool_], scale: Scale) -> dict[str, Any]:
        """Return a value with its interval, and of how many segments and speakers it is."""
        counts_S = np.bincount(self.codes_N[counted_N], minlength=self.num)
        num_speakers = int(np.count_nonzero(counts_S))
        row: dict[str, Any] = {
            "value": float(values_B1[0]) if np.isfinite(values_B1[0]) else None,
            "num_segments": int(counts_S.sum()),
            "num_speakers": num_speakers,
        }
        if row["value"] is None:
            return {**row, "reason": "truth or neighbours have no variance"}
        if num_speakers < MIN_SPEAKERS:
            return {**row, "reason": FEW_SPEAKERS}
        effective = effective_speakers(self.weights_B1S @ counts_S, num_speakers)
        low, high = speaker_interval(values_B1, effective, scale)
        if not np.isfinite(low):
            return {**row, "reason": FEW_REPLICATES}
        return {
            **row,
            "ci_low": low,
            "ci_high": high,
            "standard_error": speaker_error(values_B1, effective),
            "degrees_of_freedom": max(effective - 1.0, 1.0),
        }

    def means(self, values_N: Floats) -> Floats:
        """Return [B1] the mean of the values that are there, and its replicates."""
        has_value = np.isfinite(values_N)
        codes = self.codes_N[has_value]
        counts_B1, totals_B1 = (
            self.weights_B1S @ np.bincount(codes, weights, minlength=self.num)
            for weights in (None, values_N[has_value])
        )
        means_B1 = np.full(counts_B1.shape, np.nan)
        np.divide(totals_B1, counts_B1, out=means_B1, where=counts_B1 > 0)
        return means_B1


def neighbour_rows(rows: pa.Table, embeddings_ND: Floats, config: AuditConfig) -> pa.RecordBatch:
    """Return schema.STATISTICS of one model's sample.

    Args:
        rows: EMBEDDED_ROWS of the sample.
        embeddings_ND: [N, D] their embeddings.
        config: seed and number of replicates.
    """
    found = [] if rows.num_rows < 2 else [*_rows(rows, embeddings_ND, config)]
    nothing = dict.fromkeys(STATISTICS.names)
    head = {
        "model_version": rows["model_version"][0].as_py() if found else "",
        "condition": rows["condition"][0].as_py() if found else "",
        "slice_by": "",
        "slice": "",
    }
    return pa.RecordBatch.from_pylist(
        [{**nothing, **head, **row} for row in found], schema=STATISTICS
    )


def _rows(rows: pa.Table, embeddings_ND: Floats, config: AuditConfig) -> Iterator[dict[str, Any]]:
    speaker_ids = array(rows, "speaker_id").to_pylist()
    speakers = _Speakers(speaker_ids, config)
    distances_NN = squared_distances(embeddings_ND)
    alone_N = np.arange(rows.num_rows)
    named = [None if name == MISSING else name for name in speaker_ids]
    yield from _share_rows("speaker_id", named, distances_NN, alone_N, speakers)
    attributes = [dict(pairs) for pairs in array(rows, "attributes").to_pylist()]
    for column in sorted({name for of_segment in attributes for name in of_segment}):
        values = [of_segment.get(column) for of_segment in attributes]
        yield from _share_rows(column, values, distances_NN, speakers.codes_N, speakers)
    for dimension in DIMENSIONS:
        truth_N = floats(rows, f"truth_{dimension}")
        yield from _truth_rows(dimension, truth_N, distances_NN, speakers)


def _share_rows(
    column: str,
    values: list[str | None],
    distances_NN: Floats,
    apart_N: Codes,
    speakers: _Speakers,
) -> Iterator[dict[str, Any]]:
    """The share of neighbours with the same value; nothing where all values are the same."""
    names = sorted({value for value in values if value is not None})
    if len(names) < 2:
        return
    numbers = {name: number for number, name in enumerate(names)}
    values_N = np.array([-1 if value is None else numbers[value] for value in values])
    neighbours_NK = nearest_neighbours(distances_NN, apart_N, values_N >= 0)
    shares_N, chances_N = same_value_shares(neighbours_NK, values_N, apart_N)
    counted_N = np.isfinite(shares_N)
    if not counted_N.any():
        return
    for metric, each_N in ((SHARE, shares_N), (SHARE_BY_CHANCE, chances_N)):
        found = speakers.row(speakers.means(each_N), counted_N, Scale.SHARE)
        yield {"target": EMBEDDING_TARGET, "metric": f"{metric}[{column}]", **found}


def _truth_rows(
    dimension: str, truth_N: Floats, distances_NN: Floats, speakers: _Speakers
) -> Iterator[dict[str, Any]]:
    """The correlation of the truth with the mean truth of the neighbours."""
    neighbours_NK = nearest_neighbours(distances_NN, speakers.codes_N, np.isfinite(truth_N))
    counted_N = neighbours_NK[:, 0] >= 0
    if not counted_N.any():
        return
    means = truth_N[neighbours_NK[counted_N]].mean(axis=1)
    moments_S = CoMoments.from_groups(
        truth_N[counted_N], means, speakers.codes_N[counted_N], speakers.num
    )
    values_B1 = pearson_cc_of(moments_S.weighted_totals(speakers.weights_B1S))
    found = speakers.row(values_B1, counted_N, Scale.CORRELATION)
    yield {"target": dimension, "metric": TRUTH_CORRELATION, **found}
