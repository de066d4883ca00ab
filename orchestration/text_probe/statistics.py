"""The statistics of a probe: each side, their paired difference, and what the words alone explain.

Shape suffixes: B1 the estimate and the replicates of the bootstrap, S speakers, N segments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ser_model.metrics.bootstrap import poisson_weights, speaker_keys
from ser_model.metrics.concordance import concordance_cc_of, pearson_cc_of
from ser_model.metrics.intervals import Scale, effective_speakers, speaker_interval
from ser_model.metrics.moments import CoMoments, Floats
from ser_model.metrics.partial import partial_cc_of
from ser_model.schema import CLEAN, STATISTICS

SYNTHETIC = "synthetic"
DIFFERENCE = f"{SYNTHETIC}-{CLEAN}"
"""`condition` of a difference: synthetic minus original."""

SIDES = {CLEAN: "original", SYNTHETIC: "synthetic"}
"""`condition` in the statistics, and the columns of schema.PROBE_SEGMENTS that it is about."""

PARTIAL = "sentiment_partial_cc"
"""Correlation of predicted valence with the sentiment of the words, given the truth."""

REPORTED = ("valence", "arousal", "dominance")
"""The dimension that words carry comes first."""

METRICS: dict[str, Callable[[CoMoments], Floats]] = {
    "concordance_cc": concordance_cc_of,
    "pearson_cc": pearson_cc_of,
}
NO_VARIANCE = "no variance"
NOTHING_LEFT = "no variance that truth does not explain"

MIN_SPEAKERS = 2
"""One speaker says nothing of others: there is no interval."""

FEW_SPEAKERS = f"fewer than {MIN_SPEAKERS} speakers"
FEW_REPLICATES = "too few replicates have a value"

SPEAKERS_PER_BLOCK = 1024
"""Speakers whose weights are floats at a time: 8 MB at 1000 replicates."""

Mask = NDArray[np.bool_]


def probe_statistics(
    segments: pa.Table, *, model_version: str, seed: int, num_replicates: int
) -> pa.Table:
    """Compute every statistic of a probe with its speaker-level interval.

    A difference is taken over the segments that both sides have, replicate by replicate: the same
    draw of speakers weighs both.

    Args:
        segments: schema.PROBE_SEGMENTS. All segments without a speaker count as one speaker.
        model_version: whose predictions these are.
        seed: of the bootstrap.
        num_replicates: of it.

    Returns:
        Rows of schema.STATISTICS, valence first; PARTIAL only where there is a sentiment.
    """
    samples = _Samples.of(segments, seed=seed, num_replicates=num_replicates)
    rows = [
        row
        for dimension in REPORTED
        for row in (*_sides(samples, dimension), *_differences(samples, dimension))
    ]
    if segments["sentiment"].null_count < len(segments):
        rows += _partials(samples)
    head = {"model_version": model_version, "slice_by": "", "slice": ""}
    return pa.Table.from_pylist([{**head, **row} for row in rows], schema=STATISTICS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Samples:
    """Columns of segments as arrays.

    Attributes:
        values: [N] by the name of the column; NaN for null.
        speaker: [N] the index of each segment's speaker.
        weights: [B1, S] how often a speaker counts.
    """

    values: dict[str, Floats]
    speaker: NDArray[np.intp]
    weights: NDArray[np.uint8]

    @classmethod
    def of(cls, segments: pa.Table, *, seed: int, num_replicates: int) -> _Samples:
        names, speaker = np.unique(
            np.array([name or "" for name in segments["speaker_id"].to_pylist()], dtype=object),
            return_inverse=True,
        )
        weights_BS = poisson_weights(
            speaker_keys(names.tolist()), seed=seed, num_replicates=num_replicates
        )
        numeric = [field.name for field in segments.schema if pa.types.is_float64(field.type)]
        return cls(
            values={name: segments[name].to_numpy() for name in numeric},
            speaker=speaker,
            weights=np.vstack([np.ones_like(weights_BS[:1]), weights_BS]),
        )

    def all_known(self, *names: str) -> Mask:
        """Tell where all of these have a value."""
        return np.asarray(np.isfinite([self.values[name] for name in names]).all(axis=0))

    def totals(self, first: str, second: str, mask: Mask) -> CoMoments:
        """Return [B1] the moments of two columns over some segments."""
        num_speakers = self.weights.shape[1]
        moments_S = CoMoments.from_groups(
            self.values[first][mask], self.values[second][mask], self.speaker[mask], num_speakers
        )
        blocks = [
            slice(begin, begin + SPEAKERS_PER_BLOCK)
            for begin in range(0, num_speakers, SPEAKERS_PER_BLOCK)
        ]
        parts = (moments_S[b].weighted_totals(self.weights[:, b]) for b in blocks)
        return reduce(CoMoments.merge, parts, CoMoments.zeros((len(self.weights),)))

    def row(
        self,
        values_B1: Floats,
        mask: Mask,
        why_undefined: str,
        scale: Scale = Scale.CORRELATION,
    ) -> dict[str, Any]:
        """Return a statistic over some segments, as columns of schema.STATISTICS."""
        segments_of_speaker = np.bincount(self.speaker[mask], minlength=self.weights.shape[1])
        num_speakers = int(np.count_nonzero(segments_of_speaker))
        row = {
            "num_segments": int(mask.sum()),
            "num_speakers": num_speakers,
            **dict.fromkeys(("value", "ci_low", "ci_high", "reason")),
        }
        if not np.isfinite(values_B1[0]):
            return {**row, "reason": why_undefined}
        row["value"] = float(values_B1[0])
        if num_speakers < MIN_SPEAKERS:
            return {**row, "reason": FEW_SPEAKERS}
        num_segments_B1 = (self.weights @ segments_of_speaker).astype(np.float64)
        speakers = effective_speakers(num_segments_B1, num_speakers)
        low, high = speaker_interval(values_B1, speakers, scale)
        if not np.isfinite(low):
            return {**row, "reason": FEW_REPLICATES}
        return {**row, "ci_low": float(low), "ci_high": float(high)}


def _sides(samples: _Samples, dimension: str) -> Iterator[dict[str, Any]]:
    truth = f"truth_{dimension}"
    for condition, side in SIDES.items():
        prediction = f"{side}_{dimension}"
        mask = samples.all_known(truth, prediction)
        totals = samples.totals(truth, prediction, mask)
        for metric, compute in METRICS.items():
            yield {
                "condition": condition,
                "target": dimension,
                "metric": metric,
                **samples.row(compute(totals), mask, NO_VARIANCE),
            }


def _differences(samples: _Samples, dimension: str) -> Iterator[dict[str, Any]]:
    truth = f"truth_{dimension}"
    predictions = [f"{SIDES[condition]}_{dimension}" for condition in (SYNTHETIC, CLEAN)]
    mask = samples.all_known(truth, *predictions)
    synthetic, original = (samples.totals(truth, p, mask) for p in predictions)
    for metric, compute in METRICS.items():
        yield {
            "condition": DIFFERENCE,
            "target": dimension,
            "metric": f"{metric}_gap",
            **samples.row(compute(synthetic) - compute(original), mask, NO_VARIANCE, Scale.LINEAR),
        }


def _partials(samples: _Samples) -> Iterator[dict[str, Any]]:
    for condition, side in SIDES.items():
        prediction, truth, sentiment = f"{side}_valence", "truth_valence", "sentiment"
        mask = samples.all_known(prediction, truth, sentiment)
        partial = partial_cc_of(
            samples.totals(prediction, sentiment, mask),
            samples.totals(truth, prediction, mask),
            samples.totals(truth, sentiment, mask),
        )
        yield {
            "condition": condition,
            "target": "valence",
            "metric": PARTIAL,
            **samples.row(partial, mask, NOTHING_LEFT),
        }
