"""Keeps which segments were scored, as sketches of fixed size: `sketches.parquet`.

Two audits can be compared only as far as they are of the same segments, and a model that rejects
what it finds hard looks better for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import PCollection
from numpy.typing import NDArray

from pipelines.transforms.tables import array, floats, group_rows, hash_strings
from ser_model.metrics.segment_sketch import SegmentSketch
from ser_model.schema import DIMENSIONS

SKETCH_ROWS = pa.schema(
    [
        pa.field("model_version", pa.string()),
        pa.field("condition", pa.string()),
        pa.field("target", pa.string()),
        pa.field("num_segments", pa.int64()),
        pa.field("fingerprint", pa.uint64()),
        pa.field("smallest", pa.list_(pa.uint64())),
    ]
)
"""Which segments have both a prediction and a truth of a target; see `SegmentSketch`."""

SketchKey = tuple[str, str, str]
"""Model version, condition, target."""


class SketchSegments(beam.PTransform[Any, Any]):
    """Turns joined partitions into SKETCH_ROWS."""

    def expand(self, joined: PCollection[Any]) -> PCollection[Any]:
        """Sketch each partition, and merge."""
        sketched: PCollection[Any] = (
            joined
            | "SketchPartitions" >> beam.FlatMap(sketch_partition)
            | "GatherSketches" >> beam.GroupByKey()
            | "MergeSketches" >> beam.Map(merge_sketches)
        )
        return sketched


def sketch_partition(element: tuple[int, pa.Table]) -> Iterator[tuple[SketchKey, SegmentSketch]]:
    """Yield what was scored of each model, condition and target.

    Args:
        element: the number of the partition, and its joined segments.
    """
    _, joined = element
    hashes = hash_strings(array(joined, "segment_id"))
    is_scored = {
        **{dimension: _has_numbers(joined, dimension) for dimension in DIMENSIONS},
        "emotion": _has_emotions(joined),
    }
    first_rows, groups = group_rows(joined, ("model_version", "condition"))
    for group, first in enumerate(first_rows.tolist()):
        model_version, condition = (
            joined[name][first].as_py() for name in ("model_version", "condition")
        )
        for target, mask in is_scored.items():
            found = hashes[mask & (groups == group)]
            if found.size:
                yield (model_version, condition, target), SegmentSketch.from_hashes(found)


def merge_sketches(element: tuple[SketchKey, Iterable[SegmentSketch]]) -> pa.RecordBatch:
    """Return the row of all partitions together; their order does not matter."""
    (model_version, condition, target), parts = element
    whole = reduce(SegmentSketch.merge, parts)
    row = {
        "model_version": model_version,
        "condition": condition,
        "target": target,
        "num_segments": whole.num_segments,
        "fingerprint": whole.fingerprint,
        "smallest": whole.smallest,
    }
    return pa.RecordBatch.from_pylist([row], schema=SKETCH_ROWS)


def _has_numbers(joined: pa.Table, dimension: str) -> NDArray[np.bool_]:
    sides = [floats(joined, f"{side}_{dimension}") for side in ("truth", "prediction")]
    return np.asarray(np.isfinite(sides).all(axis=0))


def _has_emotions(joined: pa.Table) -> NDArray[np.bool_]:
    truth, said = (array(joined, f"{side}_emotion") for side in ("truth", "prediction"))
    both = pc.and_(pc.is_valid(truth), pc.is_valid(said))
    return np.asarray(both.to_numpy(zero_copy_only=False), dtype=bool)
