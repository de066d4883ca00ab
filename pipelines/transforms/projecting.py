"""A model's sampled embeddings in two dimensions, with what can be read from their neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput

from pipelines.audit_config import AuditConfig
from pipelines.transforms.neighbour_statistics import neighbour_rows
from pipelines.transforms.reading import ERROR, LEDGER, ledger_row
from pipelines.transforms.tables import array, group_rows, to_batch, to_table
from ser_model.metrics.moments import Floats
from ser_model.schema import DIMENSIONS, EMBEDDING

SAMPLE_SIDE = "sample"
EMBEDDINGS_SIDE = "embeddings"

NEIGHBOURS = "neighbours"
"""Name of the side output that carries schema.STATISTICS."""

ATTRIBUTES = pa.field("attributes", pa.map_(pa.string(), pa.string()))
"""Metadata columns and their values."""

SAMPLED_EMBEDDINGS = pa.schema(
    [
        pa.field("segment_id", pa.string()),
        pa.field("file", pa.string()),
        pa.field("row", pa.int64()),
        EMBEDDING,
    ]
)
"""The embedding of a sampled segment, with the file and the row that it comes from."""

EMBEDDED_ROWS = pa.schema(
    [
        *(
            pa.field(name, pa.string())
            for name in ("model_version", "condition", "segment_id", "speaker_id")
        ),
        pa.field("x", pa.float32()),
        pa.field("y", pa.float32()),
        *(pa.field(f"truth_{dimension}", pa.float64()) for dimension in DIMENSIONS),
        pa.field("truth_emotion", pa.string()),
        *(pa.field(f"prediction_{dimension}", pa.float64()) for dimension in DIMENSIONS),
        pa.field("prediction_emotion", pa.string()),
        ATTRIBUTES,
    ]
)
"""A sampled segment where t-SNE puts its embedding; x and y are null where there is nothing to
project."""

MIN_PROJECTED = 10
"""Of fewer segments no picture is made."""

PERPLEXITY = 30.0
"""About how many neighbours a segment is drawn to: the middle of what van der Maaten & Hinton
recommend, and scikit-learn's default; less for small samples."""

NUM_ITERATIONS = 500
"""Of t-SNE: half of scikit-learn's default, which takes twice as long and changes the picture of
2000 segments little (a divergence of 2.83 instead of 2.84)."""


def project_model(
    element: tuple[str, Mapping[str, Iterable[pa.RecordBatch]]],
    attributes: Sequence[pa.RecordBatch],
    config: AuditConfig,
) -> Iterator[pa.RecordBatch | TaggedOutput[Any, Any]]:
    """Yield EMBEDDED_ROWS of one model, and for NEIGHBOURS its statistics.

    Args:
        element: model version; its sample, and the embeddings that were found.
        attributes: `segment_id` and ATTRIBUTES of the sampled segments.
        config: seed and number of replicates.
    """
    model_version, sides = element
    found = _first_of_each(to_table(sides[EMBEDDINGS_SIDE], SAMPLED_EMBEDDINGS))
    lengths = np.unique(array(found, EMBEDDING.name).value_lengths().to_numpy())
    if lengths.size > 1:
        problem = (
            f"the embeddings of model {model_version} have {lengths[0]} numbers here and "
            f"{lengths[-1]} there; audit runs of one model together only"
        )
        yield TaggedOutput(LEDGER, ledger_row(ERROR, 1, problem))
        return
    if not found.num_rows:
        return
    values = array(found, EMBEDDING.name).flatten().to_numpy()
    embeddings_ND = values.reshape(found.num_rows, -1).astype(np.float64)
    is_finite = np.isfinite(embeddings_ND).all(axis=1)
    ids = found["segment_id"].filter(pa.array(is_finite))
    rows = _described(to_table(sides[SAMPLE_SIDE]), ids, attributes)
    positions_N2 = project(embeddings_ND[is_finite], seed=config.seed)
    for name, column in zip(("x", "y"), positions_N2.T, strict=True):
        position = pa.array(column.astype(np.float32), from_pandas=True)
        rows = rows.append_column(name, position)
    rows = rows.select(EMBEDDED_ROWS.names).cast(EMBEDDED_ROWS)
    yield to_batch(rows.combine_chunks())
    yield TaggedOutput(NEIGHBOURS, neighbour_rows(rows, embeddings_ND[is_finite], config))


def project(embeddings_ND: Floats, *, seed: int) -> Floats:
    """Return [N, 2] where t-SNE puts the embeddings; NaN where there is nothing to project.

    Van der Maaten & Hinton, "Visualizing Data using t-SNE" (JMLR 9, 2008), started from the first
    two principal components, so that large distances mean something too (Kobak & Berens 2019,
    Nature Communications 10). On one thread, because sums in another order end elsewhere; another
    processor may still draw another picture.

    Args:
        embeddings_ND: [N, D] finite.
        seed: any integer.
    """
    num_segments, length = embeddings_ND.shape
    if num_segments < MIN_PROJECTED or length < 2 or not np.ptp(embeddings_ND, axis=0).any():
        return np.full((num_segments, 2), np.nan)
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    tsne = TSNE(
        init="pca",
        perplexity=min(PERPLEXITY, (num_segments - 1) / 3.0),
        max_iter=NUM_ITERATIONS,
        random_state=seed % 2**32,
        n_jobs=1,
    )
    with threadpool_limits(limits=1):
        return np.asarray(tsne.fit_transform(embeddings_ND), dtype=np.float64)


def _first_of_each(found: pa.Table) -> pa.Table:
    """Each segment once, as the join counts it: the first in the order of file and row."""
    order = [(name, "ascending") for name in ("segment_id", "file", "row")]
    found = found.filter(found[EMBEDDING.name].is_valid()).sort_by(order).combine_chunks()
    first_rows, _ = group_rows(found, ["segment_id"])
    return found.take(pa.array(np.sort(first_rows))).combine_chunks()


def _described(sample: pa.Table, ids: pa.Array, attributes: Sequence[pa.RecordBatch]) -> pa.Table:
    """What is known of the segments with an embedding, in their order."""
    rows = sample.take(_rows_of(sample, ids))
    known = to_table(attributes)
    return rows.append_column(ATTRIBUTES, known[ATTRIBUTES.name].take(_rows_of(known, ids)))


def _rows_of(table: pa.Table, ids: pa.Array) -> pa.Array:
    return pc.index_in(ids, array(table, "segment_id"))
