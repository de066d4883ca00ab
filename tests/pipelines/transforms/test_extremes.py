"""The largest residuals, against those of a plain sort of all rows."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.audit import audit
from pipelines.audit_config import Minimums
from pipelines.transforms import extremes
from pipelines.transforms.extremes import (
    EXTREME_ROWS,
    FOUND_SIDE,
    MAX_EXTREMES,
    SUPPRESSED_SIDE,
    largest_of_partition,
    merge_extremes,
    suppressed_slices,
)
from pipelines.transforms.reading import PredictionFile
from ser_model.schema import DIMENSIONS, STATISTICS


def joined_table(num_segments, seed=0):
    """Two models, two sexes; few residuals are alike, but those of dominance all are."""
    random = np.random.default_rng(seed)
    columns = {
        "segment_id": [f"segment {n:05}" for n in random.permutation(num_segments)],
        "model_version": random.choice(["a", "b"], num_segments),
        "condition": ["clean"] * num_segments,
        "speaker_id": [f"speaker {n}" for n in random.integers(0, 9, num_segments)],
        "slice_by:": [""] * num_segments,
        # A group that is always predicted well: none of its rows is near the top.
        "slice_by:sex": random.choice(["sex=female", "sex=male"], num_segments, p=[0.1, 0.9]),
    }
    is_female = columns["slice_by:sex"] == "sex=female"
    for dimension in DIMENSIONS:
        truth = random.uniform(0, 1, num_segments)
        error = random.normal(0, np.where(is_female, 1e-3, 0.3))
        columns[f"truth_{dimension}"] = truth
        columns[f"prediction_{dimension}"] = truth + error
    columns["truth_dominance"] = np.zeros(num_segments)
    columns["prediction_dominance"] = np.full(num_segments, 0.25)
    columns["prediction_valence"][:3] = np.nan
    return pa.table(columns)


def found_by_sorting(joined, model, name, target):
    """segment_id of the largest, by Python's sort over all rows."""
    column = "slice_by:sex" if name else "slice_by:"
    rows = [
        (-abs(row[f"truth_{target}"] - row[f"prediction_{target}"]), row["segment_id"])
        for row in joined.to_pylist()
        if row["model_version"] == model
        and row[column] == name
        and np.isfinite(row[f"prediction_{target}"])
    ]
    return [segment_id for _, segment_id in sorted(rows)[:MAX_EXTREMES]]


def merged(partitions, suppressed=()):
    by_model = {}
    for number, partition in enumerate(partitions):
        for key, batch in largest_of_partition((number, partition)):
            by_model.setdefault(key, []).append(batch)
    return {
        key: merge_extremes((key, {FOUND_SIDE: batches, SUPPRESSED_SIDE: suppressed}))
        for key, batches in by_model.items()
    }


@pytest.mark.parametrize("num_candidates", [30, 4096])
def test_the_largest_are_those_of_a_sort_of_all_rows(monkeypatch, num_candidates):
    monkeypatch.setattr(extremes, "_CANDIDATES", num_candidates)
    joined = joined_table(900)
    parts = [joined.slice(0, 350), joined.slice(350, 10), joined.slice(360)]
    found = merged(parts)
    assert set(found) == {("a", "clean"), ("b", "clean")}
    for (model, _), batch in found.items():
        for name in ("", "sex=female", "sex=male"):
            for target in DIMENSIONS:
                rows = [
                    row
                    for row in batch.to_pylist()
                    if (row["slice"], row["target"]) == (name, target)
                ]
                expected = found_by_sorting(joined, model, name, target)
                assert [row["segment_id"] for row in rows] == expected
                assert [row["rank"] for row in rows] == list(range(1, len(expected) + 1))


def test_neither_the_cut_into_partitions_nor_their_order_changes_anything():
    joined = joined_table(400)
    whole = merged([joined])
    parts = [joined.slice(start, 57) for start in range(0, 400, 57)]
    assert merged(parts) == whole
    assert merged(parts[::-1]) == whole


def test_a_partition_without_dimensions_has_none():
    joined = joined_table(5)
    for dimension in DIMENSIONS:
        nothing = pa.nulls(5, pa.float64())
        at = joined.column_names.index(f"prediction_{dimension}")
        joined = joined.set_column(at, f"prediction_{dimension}", nothing)
    assert list(largest_of_partition((0, joined))) == []


def test_suppressed_slices_have_none():
    row = dict.fromkeys(STATISTICS.names) | {
        "model_version": "a",
        "condition": "clean",
        "slice_by": "sex",
        "slice": "sex=female",
        "target": "arousal",
        "metric": "bias",
        "num_segments": 3,
        "verdict": "suppressed",
    }
    shown = row | {"slice": "sex=male", "verdict": None}
    statistics = pa.RecordBatch.from_pylist([row, shown], schema=STATISTICS)
    ((key, hidden),) = suppressed_slices(statistics)
    assert key == ("a", "clean")
    found = merged([joined_table(300)], [hidden])["a", "clean"]
    lists = {(row["slice"], row["target"]) for row in found.to_pylist()}
    assert ("sex=female", "arousal") not in lists
    assert ("sex=female", "valence") in lists
    assert ("sex=male", "arousal") in lists
    # A model of emotions has suppressed slices, and no residuals.
    nothing = merge_extremes((key, {FOUND_SIDE: [], SUPPRESSED_SIDE: [hidden]}))
    assert nothing.schema == EXTREME_ROWS
    assert nothing.num_rows == 0


def test_the_audit_writes_them_without_the_slices_that_it_suppresses(corpus, tmp_path):
    config = dataclasses.replace(corpus.config, minimums=Minimums(segments=120, speakers=3))
    audit(
        [PredictionFile(uri=uri) for uri in corpus.files],
        corpus.metadata,
        str(tmp_path),
        config=config,
        provenance={},
    )
    rows = pq.read_table(tmp_path / "extremes.parquet").to_pylist()
    shown = [row for row in rows if row["condition"] == "clean" and row["target"] == "arousal"]
    residuals = corpus.truth["arousal"][:380] - corpus.prediction["arousal"][:380]
    worst = np.argsort(-np.abs(residuals))[:MAX_EXTREMES]
    overall = [row for row in shown if row["slice_by"] == ""]
    assert [row["segment_id"] for row in overall] == corpus.ids[worst].tolist()
    assert [row["truth"] - row["prediction"] for row in overall] == pytest.approx(residuals[worst])
    statistics = pq.read_table(tmp_path / "statistics.parquet").to_pylist()
    suppressed = {list_of(row) for row in statistics if row["verdict"] == "suppressed"}
    assert ("w2v", "clean", "accent=scottish", "arousal") in {list_of(row) for row in rows}
    assert ("w2v", "clean", "sex=male,accent=scottish", "arousal") in suppressed
    assert not suppressed & {list_of(row) for row in rows}


def list_of(row):
    return row["model_version"], row["condition"], row["slice"], row["target"]
