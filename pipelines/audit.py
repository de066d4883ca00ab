"""Audit predictions: join them with metadata, and compute every statistic with its interval.

    predictions --+
                  +-- JoinMetadata -- sum_up_speakers -- bootstrap_speakers -- compare_slices
    metadata -----+        |                |               |         |             |
                        ledger          densities      confusion  summarise    judge_family
                      FindExtremes                                 _speakers        |
                           |                                          |         statistics
                       extremes                                    speakers

Rows are read once. What follows the join is the size of speakers and slices, not of segments. The
number of partitions is fixed, and whatever is summed is summed in the order of the partitions, so
the tables are the same bytes on one worker and on a hundred.

The folder holds `statistics.parquet`, `speakers.parquet`, `densities.parquet`, `residuals.parquet`,
`confusion.parquet`, `extremes.parquet`, `systems.parquet`, `ledger.parquet`, for `serval gate`
`replicates.parquet` and `sketches.parquet`, and `audit.json`, written last: where it is, the audit
is complete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import PCollection

from pipelines.audit_config import (
    AUDIT_FILE,
    GATE_TABLES,
    NUM_PARTITIONS,
    AuditConfig,
    AuditSummary,
)
from pipelines.coverage_notes import coverage_notes
from pipelines.join_ledger import JoinLedger
from pipelines.runner import open_pipeline
from pipelines.suites.writing import write_suite
from pipelines.systems import check_systems, headlines_of, system_rows
from pipelines.transforms.bootstrapping import (
    CONFUSIONS,
    LABELLED,
    WHOLE_SPEAKERS,
    bootstrap_speakers,
)
from pipelines.transforms.comparing import compare_slices
from pipelines.transforms.dimension_order import CheckDimensionOrder
from pipelines.transforms.embeddings import SampleEmbeddings
from pipelines.transforms.extremes import FindExtremes
from pipelines.transforms.joining import JoinMetadata
from pipelines.transforms.judging import PERMUTATIONS_SIDE, STATISTICS_SIDE, judge_family
from pipelines.transforms.pairs import ComparePairs, GatherCells, list_sides, share
from pipelines.transforms.permuting import permute_speakers
from pipelines.transforms.projecting import NEIGHBOURS
from pipelines.transforms.reading import (
    LEDGER,
    PredictionFile,
    read_metadata_rows,
    read_predictions,
)
from pipelines.transforms.replicates import keep_replicates
from pipelines.transforms.residual_counts import RESIDUALS, DescribeResiduals
from pipelines.transforms.sharing import CELLS_SIDE, SHARED, SHARED_SIDE
from pipelines.transforms.sketching import SketchSegments
from pipelines.transforms.slices import MergeParts
from pipelines.transforms.speaker_draws import draw_speakers, spread_speakers
from pipelines.transforms.speaker_statistics import SUMMARIES, summarise_speakers
from pipelines.transforms.speakers import DENSITIES, sum_up_speakers
from pipelines.transforms.spilling import Spill, spill_folder
from pipelines.transforms.suite_statistics import CompareGroups
from pipelines.transforms.tables import PREDICTION_ROWS, pack
from pipelines.transforms.training_speakers import CountTrainingSpeakers
from pipelines.transforms.writing import TABLES, write_kind
from ser_model import storage
from ser_model.schema import SCHEMA_VERSION


def audit(
    predictions: Sequence[PredictionFile],
    metadata: str,
    output: str,
    *,
    config: AuditConfig,
    beam_options: Sequence[str] = (),
    provenance: Mapping[str, object],
) -> AuditSummary:
    """Audit predictions.

    Args:
        predictions: files of any models and conditions.
        metadata: manifest or table with `segment_id`, truth, `speaker_id`, columns to slice by.
        output: folder to write.
        config: what is computed.
        beam_options: options of Beam, as on its command line; without a runner: in this process.
        provenance: what audit.json says beside the results: hashes, runs, notes.

    Raises:
        RunError: a file cannot be read, the join leaves nothing to audit or does not add up, or
            dimensions seem permuted.
        ManifestError: the metadata cannot be used.
        ConfigError: Beam does not know the runner, or a system has a model that was not audited.
    """
    with spill_folder(output, beam_options) as spill, open_pipeline(beam_options) as pipeline:
        _build(pipeline, predictions, metadata, output, config, spill)
    ledger = JoinLedger.from_table(storage.read_table(storage.join(output, "ledger.parquet")))
    ledger.check(metadata, keep_dimension_order=config.keep_dimension_order)
    check_systems(config.systems, [version for version, _ in ledger.by_model])
    confusion = storage.read_table(storage.join(output, "confusion.parquet"))
    ledger.check_emotions(confusion)
    statistics = storage.read_table(storage.join(output, "statistics.parquet"))
    systems = system_rows(statistics, config.systems)
    storage.write_table(storage.join(output, "systems.parquet"), systems)
    content = {
        **provenance,
        "schema_version": SCHEMA_VERSION,
        "configuration": config.to_json(),
        "seed": config.seed,
        "num_replicates": config.num_replicates,
        "ledger": ledger.to_json(),
        "notes": [*ledger.notes(), *coverage_notes(statistics)],
        "verdicts": _count_verdicts(statistics),
        **write_suite(config.suite, statistics, config.groupings, output),
        "systems": headlines_of(systems),
        "tables_sha256": {table: _sha256(output, table) for table in GATE_TABLES},
    }
    storage.write_json(storage.join(output, AUDIT_FILE), content)
    return AuditSummary(output=output, audit=content, statistics=statistics)


def _build(
    pipeline: beam.Pipeline,
    predictions: Sequence[PredictionFile],
    metadata: str,
    output: str,
    config: AuditConfig,
    spill: str,
) -> None:
    read = (
        pipeline
        | "Predictions" >> beam.Create(list(predictions))
        | "SpreadFiles" >> beam.Reshuffle()
        | "ReadPredictions"
        >> beam.FlatMap(read_predictions, PREDICTION_ROWS, config.prediction_range).with_outputs(
            LEDGER, main="rows"
        )
    )
    metadata_rows = (
        pipeline
        | "Metadata" >> beam.Create([metadata])
        | "ReadMetadata"
        >> beam.FlatMap(
            read_metadata_rows,
            (*config.slices, *config.strata),
            config.truth_range,
            config.groupings,
        )
    )
    join = {"predictions": read.rows, "metadata": metadata_rows} | JoinMetadata(
        NUM_PARTITIONS, spill
    )
    sums = join.joined | "SumUpSpeakers" >> beam.FlatMap(
        sum_up_speakers, NUM_PARTITIONS
    ).with_outputs(DENSITIES, main="sums")
    sides = list_sides(read.rows)
    shared = share(join.joined, sides)
    cells = sums.sums | "SpillCells" >> beam.ParDo(Spill(spill))
    gathered = {CELLS_SIDE: cells, SHARED_SIDE: shared} | GatherCells()
    totals = gathered.cells | "BootstrapSpeakers" >> beam.FlatMap(
        bootstrap_speakers, config
    ).with_outputs(WHOLE_SPEAKERS, CONFUSIONS, LABELLED, main="totals")
    slices = totals.totals | "MergeParts" >> MergeParts(config)
    compared = slices | "CompareSlices" >> beam.FlatMap(compare_slices, config)
    pairs = {
        "slices": slices,
        "shared_cells": gathered[SHARED],
        "shared": shared,
        "sides": sides,
        "joined": join.joined,
    } | ComparePairs(config)
    speakers = (
        totals[WHOLE_SPEAKERS]
        | "GatherTargets" >> beam.GroupByKey()
        | "SummariseSpeakers"
        >> beam.FlatMap(summarise_speakers).with_outputs(SUMMARIES, main="rows")
    )
    found = (compared, speakers[SUMMARIES]) | "AllStatistics" >> beam.Flatten()
    statistics = (
        {STATISTICS_SIDE: found, PERMUTATIONS_SIDE: _permute(totals[LABELLED], config)}
        | "GatherFamilies" >> beam.CoGroupByKey()
        | "JudgeGaps" >> beam.Map(judge_family, config)
    )
    residuals = {"joined": join.joined, "statistics": compared} | DescribeResiduals()
    tables = {
        "statistics": [statistics, pairs, residuals.rows],
        "speakers": [speakers.rows, *_draw(join.joined, config)],
        "confusion": [totals[CONFUSIONS]],
        "densities": [sums[DENSITIES]],
        "residuals": [residuals[RESIDUALS]],
        "extremes": [{"joined": join.joined, "statistics": statistics} | FindExtremes()],
        "ledger": [read[LEDGER], join[LEDGER], *_check_join(join.joined, config)],
        "replicates": [slices | "KeepReplicates" >> beam.FlatMap(keep_replicates, config)],
        "sketches": [join.joined | SketchSegments()],
    }
    if any(file.has_embeddings for file in predictions):
        embedded = join.joined | SampleEmbeddings(predictions, metadata, config)
        tables["embeddings"] = [embedded["rows"]]
        tables["statistics"].append(embedded[NEIGHBOURS])
        tables["ledger"].append(embedded[LEDGER])
    if config.suite is not None:
        tables["statistics"].append(join.joined | "CompareSuiteGroups" >> CompareGroups(config))
    # An empty batch of each kind, so that each file is written, if with no rows: what an earlier
    # attempt left in the folder must not pass for this one's.
    nothing = [(kind, pack(_empty(schema))) for kind, (schema, _) in TABLES.items()]
    batches = [pipeline | "Nothing" >> beam.Create(nothing)]
    for kind, sources in tables.items():
        for number, source in enumerate(sources):
            batches.append(source | f"Tag {kind} {number}" >> beam.Map(partial(_tag, kind)))
    _ = (
        batches
        | "AllTables" >> beam.Flatten()
        | "GatherTables" >> beam.GroupByKey()
        | "WriteTables" >> beam.Map(write_kind, output)
    )


def _check_join(joined: PCollection[Any], config: AuditConfig) -> list[PCollection[Any]]:
    """Look whether dimensions are permuted, and whether the training had the same speakers."""
    found = [joined | CheckDimensionOrder()]
    if config.training_speakers is not None:
        found.append(joined | CountTrainingSpeakers(config.training_speakers))
    return found


def _permute(labelled: PCollection[Any], config: AuditConfig) -> PCollection[Any]:
    """Hold the gaps against those of shuffled groups; nothing comes in where margins are given."""
    gathered = labelled | "GatherLabelled" >> beam.GroupByKey()
    permuted: PCollection[Any] = gathered | "PermuteSpeakers" >> beam.Map(permute_speakers, config)
    return permuted


def _draw(joined: PCollection[Any], config: AuditConfig) -> list[PCollection[Any]]:
    if not config.speaker_draws:
        return []
    rows = joined | "SpreadSpeakers" >> beam.FlatMap(spread_speakers, NUM_PARTITIONS)
    gathered = rows | "GatherSegments" >> beam.GroupByKey()
    return [gathered | "DrawSpeakers" >> beam.FlatMap(draw_speakers, config.seed)]


def _tag(kind: str, batch: pa.RecordBatch) -> tuple[str, bytes]:
    return kind, pack(batch)


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)


def _sha256(output: str, table: str) -> str:
    """Hash a table that another audit will be held against: it must still be this audit's."""
    return hashlib.sha256(storage.read_bytes(storage.join(output, table))).hexdigest()


def _count_verdicts(statistics: pa.Table) -> dict[str, int]:
    counts = statistics.column("verdict").drop_null().value_counts().to_pylist()
    return {count["values"]: count["counts"] for count in counts}
