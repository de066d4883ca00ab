"""A sample of the kept embeddings: which segments, and what is known of them.

Embeddings are some kilobytes a segment, so they do not pass through the join. The sample is drawn
from the joined rows, where it is known what counts, and then only its embeddings are read: of each
file the ids, and of the row groups that hold a sampled segment the column `embedding`.

The sampled segments of a model are those with the smallest hash of seed and segment_id: neither the
order of rows nor the number of workers plays a role, and of models that scored the same segments
the same ones are taken. Only segments as they were recorded (the condition "clean") are sampled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.pvalue import AsList, PCollection, TaggedOutput
from numpy.typing import NDArray

from pipelines.audit_config import AuditConfig
from pipelines.transforms.projecting import (
    ATTRIBUTES,
    EMBEDDINGS_SIDE,
    NEIGHBOURS,
    SAMPLE_SIDE,
    SAMPLED_EMBEDDINGS,
    project_model,
)
from pipelines.transforms.reading import (
    ERROR,
    LEDGER,
    TARGETS,
    PredictionFile,
    ledger_row,
    name_rows,
)
from pipelines.transforms.tables import array, group_rows, hash_strings, to_batch, to_table
from ser_model import storage
from ser_model.manifest import metadata_parts
from ser_model.metrics.bootstrap import mix_bits, speaker_keys
from ser_model.schema import CLEAN, EMBEDDING
from ser_model.table_files import one_line

MAX_SEGMENTS = 2000
"""Sampled segments of a model: t-SNE takes some seconds for them, and no picture shows more."""

KNOWN_COLUMNS = ("sex", "corpus", "language")
"""Metadata columns that a sample carries along where they exist, beside those that are sliced by:
the ones that embeddings should not depend on (Wagner et al. 2023, Fig. 10)."""

_SAMPLED = (
    "model_version",
    "condition",
    "segment_id",
    "speaker_id",
    *(f"{side}_{target}" for side in ("truth", "prediction") for target in TARGETS),
)
_NAMES = frozenset({"segment_id", "condition", "model_version"})


class SampleEmbeddings(beam.PTransform[Any, Any]):
    """Projects sampled embeddings; the output has EMBEDDED_ROWS "rows", NEIGHBOURS and LEDGER."""

    def __init__(
        self, predictions: Sequence[PredictionFile], metadata: str, config: AuditConfig
    ) -> None:
        """Look for embeddings in the files that have some, and for columns in the metadata."""
        super().__init__()
        self._files = [file for file in predictions if file.has_embeddings]
        self._metadata = metadata
        self._config = config

    def expand(self, joined: PCollection[Any]) -> dict[str, PCollection[Any]]:
        """Turn joined partitions into a picture and statistics of each model's embeddings."""
        config = self._config
        sample = (
            joined
            | "SamplePartition" >> beam.FlatMap(sample_partition, config.seed)
            | "GatherSample" >> beam.GroupByKey()
            | "Sample" >> beam.Map(merge_samples, config.seed)
        )
        rows = AsList(sample | "SampledRows" >> beam.Values())
        found = (
            joined.pipeline
            | "EmbeddingFiles" >> beam.Create(self._files)
            | "SpreadEmbeddingFiles" >> beam.Reshuffle()
            | "ReadEmbeddings"
            >> beam.FlatMap(read_embeddings, rows).with_outputs(LEDGER, main="found")
        )
        columns = dict.fromkeys((*KNOWN_COLUMNS, *sum((*config.slices, *config.strata), ())))
        columns.pop("speaker_id", None)  # a column of its own already
        attributes = (
            joined.pipeline
            | "MetadataOfSample" >> beam.Create([self._metadata])
            | "ReadAttributes" >> beam.Map(read_attributes, rows, tuple(columns))
        )
        projected = (
            {SAMPLE_SIDE: sample, EMBEDDINGS_SIDE: found.found}
            | "GatherEmbeddings" >> beam.CoGroupByKey()
            | "Project"
            >> beam.FlatMap(project_model, AsList(attributes), config).with_outputs(
                NEIGHBOURS, LEDGER, main="rows"
            )
        )
        ledger = (found[LEDGER], projected[LEDGER]) | "EmbeddingErrors" >> beam.Flatten()
        return {"rows": projected.rows, NEIGHBOURS: projected[NEIGHBOURS], LEDGER: ledger}


def sample_partition(
    element: tuple[int, pa.Table], seed: int
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yield, by model version, the rows of a partition that may be in the sample."""
    _, joined = element
    is_clean = pc.equal(joined["condition"], CLEAN).to_numpy()
    ids = array(joined, "segment_id")
    first_rows, groups = group_rows(joined, ["model_version"])
    for group, first in enumerate(first_rows.tolist()):
        rows = np.flatnonzero(is_clean & (groups == group))
        chosen = rows[_smallest_hashes(ids.take(pa.array(rows)), seed)]
        if chosen.size:
            sampled = joined.select(list(_SAMPLED)).take(pa.array(chosen))
            yield joined["model_version"][first].as_py(), to_batch(sampled)


def merge_samples(
    element: tuple[str, Iterable[pa.RecordBatch]], seed: int
) -> tuple[str, pa.RecordBatch]:
    """Return the sample of one model, in the order of segment_id."""
    model_version, batches = element
    rows = to_table(batches)
    chosen = rows.take(pa.array(_smallest_hashes(array(rows, "segment_id"), seed)))
    return model_version, to_batch(chosen.sort_by("segment_id").combine_chunks())


def read_embeddings(
    file: PredictionFile, sample: Sequence[pa.RecordBatch]
) -> Iterator[tuple[str, pa.RecordBatch] | TaggedOutput[Any, Any]]:
    """Yield, by model version, SAMPLED_EMBEDDINGS of the sampled segments of a file.

    Args:
        file: Parquet with the column `embedding`.
        sample: what was sampled of all models.
    """
    wanted = {}
    for batch in sample:
        wanted[batch["model_version"][0].as_py()] = batch["segment_id"]
    try:
        with storage.open_binary(file.uri) as stream:
            parquet = pq.ParquetFile(stream)
            first_row = 0
            for group in range(parquet.num_row_groups):
                yield from _read_group(parquet, group, file, first_row, wanted)
                first_row += parquet.metadata.row_group(group).num_rows
    except (OSError, pa.ArrowException) as error:
        problem = f"{file.uri}: the column 'embedding' cannot be read: {one_line(error)}"
        yield TaggedOutput(LEDGER, ledger_row(ERROR, 1, problem))


def read_attributes(
    uri: str, sample: Sequence[pa.RecordBatch], columns: Sequence[str]
) -> pa.RecordBatch:
    """Return what the metadata say of the sampled segments.

    Args:
        uri: the metadata; their truth is not looked at.
        sample: what was sampled of all models.
        columns: those wanted; the ones that the metadata lack are left out.

    Returns:
        `segment_id` and ATTRIBUTES, a map from column to value without what is missing.
    """
    ids = pa.concat_arrays([batch["segment_id"].cast(pa.string()) for batch in sample] or [_NO_IDS])
    rows = pa.concat_tables(
        part.filter(pc.is_in(part["segment_id"], value_set=ids))
        for part in metadata_parts(uri, columns, truth_range=None)
    )
    present = [column for column in columns if column in rows.column_names]
    values = [rows[column].cast(pa.string()).to_pylist() for column in present]
    maps = [
        [(name, value) for name, value in zip(present, row, strict=True) if value]
        for row in (zip(*values, strict=True) if values else [()] * rows.num_rows)
    ]
    found = pa.table(
        {"segment_id": rows["segment_id"], ATTRIBUTES.name: pa.array(maps, ATTRIBUTES.type)}
    )
    return to_batch(found)


def _smallest_hashes(segment_ids: pa.Array, seed: int) -> NDArray[np.intp]:
    """The MAX_SEGMENTS positions with the smallest hash of seed and segment."""
    purpose = speaker_keys([f"embeddings of seed {seed}"])
    hashes = mix_bits(hash_strings(segment_ids) ^ purpose)
    return np.argsort(hashes, kind="stable")[:MAX_SEGMENTS]


def _read_group(
    parquet: pq.ParquetFile,
    group: int,
    file: PredictionFile,
    first_row: int,
    wanted: Mapping[str, pa.Array],
) -> Iterator[tuple[str, pa.RecordBatch]]:
    present = [name for name in parquet.schema_arrow.names if name in _NAMES]
    table = parquet.read_row_group(group, columns=present)
    names = {
        name: table[name].cast(pa.string())
        if name in present
        else pa.nulls(table.num_rows, pa.string())
        for name in _NAMES
    }
    names = name_rows(names, file)
    is_clean = pc.equal(names["condition"], CLEAN)
    for model_version, ids in wanted.items():
        is_of_model = pc.and_(is_clean, pc.equal(names["model_version"], model_version))
        is_wanted = pc.and_(is_of_model, pc.is_in(names["segment_id"], value_set=ids))
        rows = np.flatnonzero(is_wanted.to_numpy(zero_copy_only=False))
        if not rows.size:
            continue
        embeddings = parquet.read_row_group(group, columns=[EMBEDDING.name])[EMBEDDING.name]
        taken = {
            "segment_id": names["segment_id"].take(pa.array(rows)),
            "file": pa.repeat(file.uri, rows.size),
            "row": pa.array(first_row + rows),
            EMBEDDING.name: embeddings.take(pa.array(rows)).cast(EMBEDDING.type),
        }
        yield model_version, to_batch(pa.table(taken, schema=SAMPLED_EMBEDDINGS).combine_chunks())


_NO_IDS = pa.array([], pa.string())
