"""The figure of the papers on speakers: the mean CCC of 1000 draws of 200 segments.

Wagner et al., "Dawn of the Transformer Era in Speech Emotion Recognition" (2023), IV-J and Fig. 8:
speakers with 200 segments at least; from each 200 are drawn with replacement, 1000 times, and the
mean of their CCC is reported. Unlike all else here it needs the segments of each speaker in one
place, so it is computed only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.transforms.tables import MISSING, floats, group_rows, split_by_hash, to_table
from ser_model.metrics.bootstrap import random_bits
from ser_model.metrics.concordance import concordance_cc_of
from ser_model.metrics.moments import CoMoments, Floats
from ser_model.schema import DIMENSIONS, SPEAKERS

NUM_DRAWS = 1000
SEGMENTS_PER_DRAW = 200

METRIC = "concordance_cc_of_draws"

_KEY = ("model_version", "condition", "speaker_id")


def spread_speakers(
    element: tuple[int, pa.Table], num_partitions: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield (partition of speakers, rows) of a joined partition: keys and dimensions alone."""
    _, joined = element
    values = [f"{side}_{name}" for side in ("truth", "prediction") for name in DIMENSIONS]
    yield from split_by_hash(
        joined.select([*_KEY, "segment_id", *values]), "speaker_id", num_partitions
    )


def draw_speakers(
    element: tuple[int, Iterable[pa.RecordBatch]], seed: int
) -> Iterator[pa.RecordBatch]:
    """Yield rows of schema.SPEAKERS for each speaker of a partition with enough segments.

    Args:
        element: the number of the partition, and what `spread_speakers` yields of its speakers.
        seed: of the draws; models and conditions share them where they have the same segments.
    """
    _, batches = element
    order = [(name, "ascending") for name in (*_KEY, "segment_id")]
    table = to_table(batches).sort_by(order).combine_chunks()
    first_rows, groups = group_rows(table, _KEY)
    heads = table.select(_KEY).take(pa.array(first_rows)).to_pylist()
    rows_of = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
    rows: list[dict[str, Any]] = []
    for dimension in DIMENSIONS:
        truth, prediction = (floats(table, f"{s}_{dimension}") for s in ("truth", "prediction"))
        is_scored = np.isfinite(truth) & np.isfinite(prediction)
        for head, of_speaker in zip(heads, rows_of, strict=True):
            at = of_speaker[is_scored[of_speaker]]
            if at.size < SEGMENTS_PER_DRAW or head["speaker_id"] == MISSING:
                continue
            drawn = at[draws(head["speaker_id"], at.size, seed)]
            values = concordance_cc_of(_moments_of_draws(truth[drawn], prediction[drawn]))
            row = {**head, "target": dimension, "metric": METRIC, "num_speakers": 1}
            has_value = np.isfinite(values).any()
            row |= {"num_segments": at.size, "reason": None if has_value else "no variance"}
            rows.append({**row, "value": float(np.nanmean(values)) if has_value else None})
    yield pa.RecordBatch.from_pylist(rows, schema=SPEAKERS)


def draws(speaker_id: str, num_segments: int, seed: int) -> NDArray[np.intp]:
    """Return [NUM_DRAWS, SEGMENTS_PER_DRAW] which of a speaker's segments are drawn."""
    bits = random_bits(
        np.arange(SEGMENTS_PER_DRAW, dtype=np.uint64),
        purpose=f"draws of speaker {speaker_id} with seed {seed}",
        num_replicates=NUM_DRAWS,
    )
    return ((bits >> np.uint64(11)) * 2.0**-53 * num_segments).astype(np.intp)


def _moments_of_draws(truth: Floats, prediction: Floats) -> CoMoments:
    """Return [NUM_DRAWS] the moments of pairs [NUM_DRAWS, SEGMENTS_PER_DRAW]."""
    num_draws, size = truth.shape
    draw = np.repeat(np.arange(num_draws), size)
    return CoMoments.from_groups(truth.ravel(), prediction.ravel(), draw, num_draws)
